"""Where a batch job reads and writes: a folder, or an fsspec URL (s3://BUCKET/PREFIX). What is written appears whole or not at all.

On a file system: written under another name, synced, renamed, and the folder synced. In an object store an object appears when
its upload is complete."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Final

import fsspec

from serving.batch.errors import BatchInputError
from serving.files.folder_sync import sync_folder

_HASHED: Final = 1 << 20
_PART: Final = ".part"
_ENDINGS: Final = (".parquet", ".parq", ".pq")


class BatchFolder:
    """A folder, by path or URL; paths within it are relative and have slashes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self.is_local: bool = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def parquet_files(self) -> list[str]:
        """The Parquet files in it, sorted; `""` for a place that is itself a file. Hidden ones and `_vedette` are left out.

        Raises BatchInputError if there are none."""
        if self._fs.isfile(self._root):
            return [""]
        found = [self._within(path) for path in self._fs.find(self._root)] if self._fs.exists(self._root) else []
        files = sorted(p for p in found if p.endswith(_ENDINGS) and not any(s[:1] in "._" for s in PurePosixPath(p).parts))
        if not files:
            raise BatchInputError(f"{self.url}: no Parquet file there; give a .parquet file, or a folder that has some")
        return files

    def holds(self, other: "BatchFolder") -> bool:
        """Whether the other is this folder, or in it: what is written there would be found here."""
        if self.is_local != other.is_local:
            return False
        own, theirs = ((os.path.realpath(f._root) if f.is_local else str(f._root)).rstrip("/") + "/" for f in (self, other))
        return theirs.startswith(own)

    def path(self, name: str) -> str:
        """The full path or URL of something in it."""
        return f"{self._root}/{name}" if name else str(self._root)

    def open(self, name: str) -> IO[bytes]:
        """Read a file. Raises OSError."""
        opened: IO[bytes] = self._fs.open(self.path(name), "rb")
        return opened

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None if there is none. Raises OSError."""
        try:
            return bytes(self._fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """The files under a folder, at any depth, sorted."""
        self._fs.invalidate_cache()
        where = self.path(folder)
        return sorted(self._within(path) for path in self._fs.find(where)) if self._fs.exists(where) else []

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None if there is none."""
        try:
            return int(self._fs.info(self.path(name))["size"])
        except FileNotFoundError:
            return None

    def stamp(self, name: str) -> str:
        """Changes when the file may have changed: an object store's own tag, or size and time of a file."""
        info = self._fs.info(self.path(name))
        tag = info.get("ETag") or info.get("etag") or info.get("mtime")
        return f"{info['size']}/{tag}"

    def digest(self, name: str) -> str:
        """Of the content, as `sha256:...`. Raises OSError."""
        state = hashlib.sha256()
        with self.open(name) as stream:
            while part := stream.read(_HASHED):
                state.update(part)
        return f"sha256:{state.hexdigest()}"

    @contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file that takes the place of `name` when the block ends well. Raises OSError."""
        target = self.path(name)
        if not self.is_local:
            stream = self._fs.open(target, "wb")
            try:
                yield stream
            except BaseException:
                with suppress(Exception):
                    stream.discard()
                with suppress(AttributeError):
                    stream.closed = (
                        True  # else the collector closes it, which completes the upload where `discard` does nothing
                    )
                raise
            stream.close()
            return
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        part = os.path.join(folder, f".{os.path.basename(target)}.{secrets.token_hex(4)}{_PART}")
        try:
            with open(part, "wb") as file:
                yield file
                if not file.closed:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        sync_folder(Path(folder))

    def sweep(self) -> None:
        """Remove what killed writers left under other names. Only where nobody writes now."""
        if self.is_local:
            for name in self.names(""):
                file = PurePosixPath(name).name
                if file.startswith(".") and file.endswith(_PART):
                    self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises OSError."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self.path(name))

    def _within(self, path: str) -> str:
        return str(path)[len(str(self._root)) :].lstrip("/")
