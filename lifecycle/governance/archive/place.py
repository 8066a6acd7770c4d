"""Where archived segments are: a folder, or anything that fsspec can write, such as S3.

    PLACE/segment-START-LOG-NUMBER.parquet             the records, see lifecycle.governance.archive.parquet
    PLACE/chain/segment-START-LOG-NUMBER.checkpoints   the segment's signed checkpoints, as they were beside its records
    PLACE/chain/segment-START-LOG-NUMBER.hashes        the records' leaf hashes
    PLACE/chain/segment-START-LOG-NUMBER.archived      a signed note: which file holds which segment

A file is complete or absent: in a folder it is written under another name first."""

import os
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from serving.files.folder_sync import sync_folder

SUFFIX: Final = ".parquet"


class ArchiveError(Exception):
    """The archive cannot be read or written; the message says what, where, and the way out."""


class ArchivePlace:
    """One archive. url: a folder's path, or a URL such as `s3://bucket/folder`. Raises ArchiveError for a URL that nothing can open."""

    def __init__(self, url: str, **options: Any) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            raise ArchiveError(f"{url}: cannot be opened ({error}); expected a folder or a URL that fsspec knows") from error
        self.url = url

    @property
    def folder(self) -> Path | None:
        """The archive's folder; None if the archive is not on this machine."""
        return Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def stems(self) -> list[str]:
        """Names of the archived segments, without their suffix, sorted."""
        self._files.invalidate_cache()
        try:
            found = [posixpath.basename(name) for name in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []
        return sorted(n.removesuffix(SUFFIX) for n in found if n.startswith("segment-") and n.endswith(SUFFIX))

    def path_of(self, name: str) -> str:
        """The path of a file within the file system."""
        return posixpath.join(self._root, name)

    @property
    def file_system(self) -> Any:
        """The fsspec file system, for a library that reads through fsspec itself."""
        return self._files

    def url_of(self, name: str) -> str:
        """The file as such a library names it: a path, or a URL if the archive is not on this machine."""
        return self.path_of(name) if self.folder is not None else str(self._files.unstrip_protocol(self.path_of(name)))

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        return bool(self._files.exists(self.path_of(name)))

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for reading. Raises ArchiveError if it cannot be read."""
        try:
            stream = self._files.open(self.path_of(name), "rb")
        except OSError as error:
            raise ArchiveError(f"{self.url}/{name}: cannot be read ({error.strerror or error})") from error
        with stream:
            yield stream

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine into the archive. In a local archive it is synced to disk. Raises OSError."""
        target = self.path_of(name)
        self._files.makedirs(posixpath.dirname(target), exist_ok=True)
        if self.folder is None:
            self._files.put_file(str(source), target)  # an object store shows an object when it is whole
            return
        draft = f"{posixpath.dirname(target)}/.{posixpath.basename(target)}.{secrets.token_hex(4)}"
        try:
            self._files.put_file(str(source), draft)
            with Path(draft).open("rb") as file:
                os.fsync(file.fileno())
            Path(draft).replace(target)
        finally:
            Path(draft).unlink(missing_ok=True)
        sync_folder(Path(target).parent)

    def remove(self, name: str) -> None:
        """Remove a file if it exists. Raises OSError."""
        if self.has(name):
            self._files.rm_file(self.path_of(name))
