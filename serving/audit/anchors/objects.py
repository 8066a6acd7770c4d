"""An anchor in an object store, by fsspec: S3 and what speaks its protocol, and every other store that fsspec has a package for.

Objects are only ever created. On S3 creating is conditional (If-None-Match), and `lock` asks for object lock: until the date nobody can
remove or replace that version, the account's owner included (COMPLIANCE). The one user of fsspec on the data plane."""

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import fsspec

from serving.audit.anchors.note_tree import NoteTree
from serving.audit.anchors.port import AnchorError, without_secrets

TIMEOUTS: Final = {"connect_timeout": 3, "read_timeout": 5, "retries": {"max_attempts": 1}}
"""Of one request to S3, seconds; the publisher tries again by itself."""
_YEAR: Final = timedelta(days=365.25)


class ObjectAnchor(NoteTree):
    """Port Anchor below a URL such as `s3://BUCKET/PREFIX`.

    options: of the fsspec file system. lock_years: how long each version is locked, on S3; 0 does not ask for it."""

    def __init__(
        self, url: str, *, lock_years: float = 0, lock_mode: str = "COMPLIANCE", options: dict[str, Any] | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self.label = without_secrets(self._url)
        self._lock_years, self._lock_mode, self._options = lock_years, lock_mode, options or {}

    def names_in(self, folder: str) -> list[str]:
        """See NoteTree."""
        try:
            found = self._files.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:  # each store has errors of its own
            raise AnchorError(self._words(error)) from error
        return [name.rstrip("/").rpartition("/")[2] for name in found]

    def content_of(self, path: str) -> bytes:
        """See NoteTree."""
        try:
            content: bytes = self._files.cat_file(self._path(path))
        except Exception as error:  # as above
            raise AnchorError(self._words(error)) from error
        return content

    def create(self, path: str, content: bytes) -> bool:
        """See NoteTree."""
        try:
            self._files.makedirs(self._path(path.rpartition("/")[0]), exist_ok=True)
            self._files.pipe_file(self._path(path), content, mode="create", **self._lock())
        except FileExistsError:
            return False
        except Exception as error:  # as above; some say in words of their own that the object exists
            if self._is_there(path):
                return False
            raise AnchorError(self._words(error)) from error
        return True

    def _is_there(self, path: str) -> bool:
        """Whether a refusal meant that the object exists. A store that cannot say is told of by the refusal itself."""
        try:
            return bool(self._files.exists(self._path(path)))
        except Exception:  # each store has errors of its own; the caller raises the first one
            return False

    def _lock(self) -> dict[str, Any]:
        if not self._lock_years:
            return {}
        until = datetime.now(UTC) + self._lock_years * _YEAR
        return {"ObjectLockMode": self._lock_mode, "ObjectLockRetainUntilDate": until}

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system, and the anchor's root in it."""
        files, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False, **self._options)
        return files, root

    @property
    def _files(self) -> Any:
        return self._place[0]

    def _path(self, path: str) -> str:
        return f"{self._place[1].rstrip('/')}/{path}".rstrip("/")

    def _words(self, error: Exception) -> str:
        return f"{self.label}: {type(error).__name__}: {error}"


def why_unknown(scheme: str) -> str | None:
    """Why fsspec has no store for a scheme: nobody wrote one, or its package is not installed. None if it has one."""
    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        return str(error)
    return None
