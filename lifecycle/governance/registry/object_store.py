"""Files under one address: a folder, or any store that fsspec supports (S3, GCS, Azure, memory). The one user of fsspec in this room.

Every kind keeps three promises: a file is complete or absent; `create` gives a name to one writer only; a listing shows every file
written before it. A folder keeps them by a rename, a hard link and fsync, S3 by atomic PUTs and `If-None-Match`. Listings are not
cached: a cached listing would miss a file that another thread wrote after it."""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lifecycle.governance.registry.errors import Damaged, RegistryError, Unreachable
from serving.files.folder_sync import sync_folder

_DRAFT: Final = ".draft-"
_DRAFT_AGE_S: Final = 3600.0
"""A draft that is older was left by a killed writer: writing takes seconds."""
_TAKEN: Final = frozenset({errno.EEXIST, errno.EINVAL})
"""Error numbers that mean a failed If-None-Match: s3fs turns S3's 412 into EINVAL."""


class ObjectStore:
    """Files by path, relative to the address, with `/` between the parts. Raises RegistryError if this kind of store is not installed."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            found: tuple[Any, str] = fsspec.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        except (ImportError, ValueError) as problem:
            raise RegistryError(
                f"{url}: this kind of store is not installed ({problem}); for s3:// install vedette[s3]"
            ) from problem
        self._fs, self._root = found[0], found[1].rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def read(self, path: str, limit: int | None = None) -> bytes:
        """The bytes of a file. limit: the largest accepted size, bytes. Raises FileNotFoundError, Damaged for a larger file,
        Unreachable."""
        with self._asked(path):
            if limit is not None and self._fs.size(self._at(path)) > limit:
                raise Damaged(f"{self.url}/{path}: is larger than {limit} bytes")
            return bytes(self._fs.cat_file(self._at(path)))

    def write(self, path: str, body: bytes) -> None:
        """Write a file, and replace one that exists. Raises Unreachable."""
        with self._asked(path, writes=True):
            if self._is_local:
                self._settle(path, body, os.replace)
            else:
                self._fs.pipe_file(self._at(path), body)

    def create(self, path: str, body: bytes) -> bool:
        """Write a file unless it exists; False if it does. Of several writers at once exactly one succeeds. Raises Unreachable."""
        with self._asked(path, writes=True):
            try:
                if self._is_local:
                    self._settle(path, body, os.link)
                else:
                    self._fs.pipe_file(self._at(path), body, mode="create")
            except OSError as problem:
                if not isinstance(problem, FileExistsError) and (self._is_local or problem.errno not in _TAKEN):
                    raise
                if not self.exists(path):  # EINVAL, and not for this reason
                    raise
                return False
            return True

    def upload(self, path: str, source: Path) -> None:
        """Copy a file of this machine into the store. Raises Unreachable."""
        with self._asked(path, writes=True):
            if self._is_local:
                self.write(path, source.read_bytes())
            else:
                self._fs.put_file(str(source), self._at(path))

    def download(self, path: str, target: Path) -> None:
        """Copy a file to this machine, and make its folder if needed. Raises FileNotFoundError, Unreachable."""
        with self._asked(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fs.get_file(self._at(path), str(target))

    def exists(self, path: str) -> bool:
        """Whether the file is there. Raises Unreachable."""
        with self._asked(path):
            self._fs.invalidate_cache()
            return bool(self._fs.isfile(self._at(path)))

    def sizes(self, folder: str) -> dict[str, int]:
        """Every file below a folder: path within the folder -> size in bytes, sorted by path. Drafts are left out.

        Raises Unreachable."""
        with self._asked(folder):
            self._fs.invalidate_cache()
            base = self._at(folder)
            try:
                found = self._fs.find(base, detail=True)
            except FileNotFoundError:
                return {}
        inside = {str(path)[len(base) :].lstrip("/"): int(about["size"] or 0) for path, about in found.items()}
        return {path: size for path, size in sorted(inside.items()) if not path.rpartition("/")[2].startswith(_DRAFT)}

    def read_all(self, folder: str) -> dict[str, bytes]:
        """Every file below a folder, read concurrently: path within the folder -> content, sorted by path. Raises Unreachable."""
        names = list(self.sizes(folder))
        with self._asked(folder):
            paths = [self._at(f"{folder}/{name}") for name in names]
            bodies = (
                self._fs.cat_ranges(paths, None, None) if names else []
            )  # `cat` would take a `[` in the address for a pattern
            for body in bodies:
                if isinstance(body, Exception):
                    raise body
            return dict(zip(names, map(bytes, bodies), strict=True))

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly within a folder, sorted. Raises Unreachable."""
        with self._asked(folder):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._at(folder), detail=True)
            except FileNotFoundError:
                return []
            return sorted({str(e["name"]).rstrip("/").rpartition("/")[2] for e in found if e["type"] == "directory"})

    def modified(self, path: str) -> datetime:
        """When a file was written, with its time zone. Raises FileNotFoundError, Unreachable."""
        with self._asked(path):
            at: datetime = self._fs.modified(self._at(path))
            return at if at.tzinfo else at.replace(tzinfo=UTC)

    def remove(self, path: str) -> None:
        """Remove a file if it exists. Raises Unreachable."""
        with self._asked(path):
            try:
                self._fs.rm_file(self._at(path))
            except FileNotFoundError:
                return

    def remove_empty(self, folder: str) -> None:
        """Remove a folder that holds no files, with its empty folders. Object stores have no empty folders.

        Old drafts of killed writers are removed too. A folder in which somebody writes stays. Raises Unreachable."""
        if not self._is_local:
            return
        with self._asked(folder):
            for at, _, names in os.walk(self._at(folder), topdown=False):
                for draft in (Path(at, name) for name in names if name.startswith(_DRAFT)):
                    if time.time() - draft.stat().st_mtime > _DRAFT_AGE_S:
                        draft.unlink(missing_ok=True)
                try:
                    Path(at).rmdir()
                except OSError as problem:
                    if problem.errno != errno.ENOTEMPTY:
                        raise

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _settle(self, path: str, body: bytes, take_place: Any) -> None:
        """Write and sync a draft beside the file, then put it in place in one step. take_place: called with the draft's path and the
        file's."""
        target = Path(self._at(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            take_place(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(target.parent)

    @contextmanager
    def _asked(self, path: str, *, writes: bool = False) -> Iterator[None]:
        try:
            yield
        except RegistryError:
            raise
        except FileNotFoundError as problem:
            if not writes:
                raise
            raise Unreachable(
                f"{self.url}/{path}: cannot be written: {problem}; check that the bucket or folder exists"
            ) from problem
        except Exception as problem:  # each kind of store has errors of its own
            raise Unreachable(f"{self.url}/{path}: {type(problem).__name__}: {problem}") from problem
