"""The cache of outputs, in DVC's layout: `files/md5/AB/CDEF...`, each file once, by its MD5; a folder as the list of its files.

Files are copied in and out, on file systems that can by sharing blocks; they are read-only in the cache, as DVC has them. A file that no
longer holds what its name says is taken out when that is noticed, and counts as not kept."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.content.digests import CHUNK, FOLDER, ContentDigest, PathContent, folder_listing, md5_of
from lifecycle.pipeline.errors import ContentError

_FICLONE: Final = 0x40049409
_READ_ONLY: Final = 0o444
_EXECUTABLE: Final = 0o111


class OutputCache:
    """One cache. folder: DVC's `.dvc/cache`, or where its configuration says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, md5: str) -> Path:
        """Where the content of a digest is kept."""
        return self.folder / "files" / "md5" / md5[:2] / md5[2:]

    def keeps(self, digest: ContentDigest) -> bool:
        """Whether all of it is kept, as far as names and sizes tell."""
        if not digest.is_folder:
            return bool(digest.md5) and _size(self.place(digest.md5)) == digest.size
        entries = self.listing(digest.md5)
        return entries is not None and all(_size(self.place(md5)) is not None for md5 in entries.values())

    def listing(self, md5: str) -> Mapping[str, str] | None:
        """The files of a folder's digest, relative path -> MD5; None if they are not known."""
        try:
            body = self.place(md5).read_bytes()
        except OSError:
            return None
        if md5_of(body) + FOLDER != md5:
            self._drop(md5)
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(body)}

    def keep(self, path: Path, content: PathContent) -> None:
        """Copy what lies at a path into the cache. Raises ContentError if it is not what its digest says, OSError."""
        if not content.digest.is_folder:
            self._keep_file(path, content.digest)
            return
        for relative, entry in content.entries.items():
            self._keep_file(path / relative, entry)
        place = self.place(content.digest.md5)
        if not place.exists():
            body = folder_listing({relative: entry.md5 for relative, entry in content.entries.items()})
            with self._new(place) as part:
                part.write_bytes(body)

    def restore(self, digest: ContentDigest, path: Path) -> bool:
        """Put what is kept at a path, where nothing may lie; False, and nothing there, if it is not all kept. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".restored", dir=path.parent))
        try:
            whole = part / "content"
            if not self._restored(digest, whole):
                return False
            whole.rename(path)
            return True
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _restored(self, digest: ContentDigest, whole: Path) -> bool:
        if not digest.is_folder:
            return self._restore_file(digest.md5, whole, is_executable=digest.is_executable)
        entries = self.listing(digest.md5)
        if entries is None or any(_leads_out(relative) for relative in entries):
            return False
        whole.mkdir()
        for relative, md5 in entries.items():
            (whole / relative).parent.mkdir(parents=True, exist_ok=True)
            if not self._restore_file(md5, whole / relative, is_executable=False):
                return False
        return True

    def _keep_file(self, path: Path, digest: ContentDigest) -> None:
        place = self.place(digest.md5)
        if _size(place) == digest.size:
            return
        with self._new(place) as part:
            if _copy(path, part, most=digest.size) != digest.md5:
                raise ContentError(f"{path}: changed while it was kept; run again when nothing writes to it")

    def _restore_file(self, md5: str, path: Path, *, is_executable: bool) -> bool:
        try:
            found = _copy(self.place(md5), path)
        except FileNotFoundError:
            return False
        if found != md5:
            self._drop(md5)
            return False
        if is_executable:
            path.chmod(path.stat().st_mode | _EXECUTABLE)
        return True

    def _drop(self, md5: str) -> None:
        with contextlib.suppress(OSError):
            self.place(md5).unlink()

    @contextlib.contextmanager
    def _new(self, place: Path) -> Iterator[Path]:
        """A file that becomes `place` when it is whole.

        It is not synced, which would take minutes for thousands of files: what a power cut damages is noticed when it is brought back."""
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.{os.getpid()}.new")
        try:
            yield part
            part.chmod(_READ_ONLY)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)


def _copy(source: Path, target: Path, most: int | None = None) -> str:
    """Copy a file, by sharing its blocks where that can be; the MD5 of what the copy holds. Raises OSError.

    most: how many bytes it should have; one that goes on growing is not read without end."""
    state, read = hashlib.md5(usedforsecurity=False), 0
    with source.open("rb", buffering=0) as reading, target.open("xb+", buffering=0) as writing:
        is_shared = _share(reading.fileno(), writing.fileno())
        stream = writing if is_shared else reading
        while (most is None or read <= most) and (chunk := stream.read(CHUNK)):
            state.update(chunk)
            read += len(chunk)
            if not is_shared:
                _write_all(writing, chunk)
    return state.hexdigest()


def _write_all(writing: Any, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[writing.write(view) :]


def _share(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _leads_out(relative: str) -> bool:
    return relative.startswith("/") or ".." in relative.split("/")
