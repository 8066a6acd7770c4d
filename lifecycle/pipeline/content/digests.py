"""Digests of files and folders, as DVC computes them: the MD5 of a file's bytes, of a folder the MD5 of a list of its files with `.dir`.

MD5 is DVC's choice. It tells whether something changed by accident or by work; it is no proof against an attacker, which the digests of
bundles and logs (SHA-256) are."""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lifecycle.pipeline.content.hash_memory import HashMemory, KnownHash
from lifecycle.pipeline.errors import ContentError

CHUNK: Final = 1 << 20
FOLDER: Final = ".dir"
"""Ends the digest of a folder."""
_PASSED_OVER: Final = frozenset({".git", ".hg"})
"""Folders that belong to Git and Mercurial."""
_EXECUTABLE: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH

HashProgress = Callable[[str, int], None]
"""(path that is read, bytes read of it since the last call)."""


@dataclass(frozen=True, slots=True)
class ContentDigest:
    """What dvc.lock says of a file or folder. size: bytes of all files. files: how many; None for a file."""

    md5: str
    size: int
    files: int | None = None
    is_executable: bool = False

    @property
    def is_folder(self) -> bool:
        """It is that of a folder."""
        return self.md5.endswith(FOLDER)


UNREADABLE: Final = ContentDigest("", 0)
"""Stands for what lies at a path and cannot be read; no content has this digest."""


@dataclass(frozen=True, slots=True)
class PathContent:
    """A file or folder as it was found. entries: of a folder its files, relative path -> digest."""

    digest: ContentDigest
    entries: Mapping[str, ContentDigest] = field(default_factory=dict)


def folder_listing(entries: Mapping[str, str]) -> bytes:
    """The list of a folder's files whose MD5 is the folder's digest. entries: relative path -> MD5."""
    listed = [{"md5": entries[path], "relpath": path} for path in sorted(entries)]
    return json.dumps(listed, sort_keys=True).encode()


def md5_of(body: bytes) -> str:
    """The MD5 of bytes."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class Hasher:
    """Reads files and folders. A file that the memory knows, unchanged since, is not read again."""

    def __init__(self, memory: HashMemory, progress: HashProgress = lambda path, count: None) -> None:
        self._memory, self._progress = memory, progress

    def content(self, path: Path) -> PathContent | None:
        """What lies at a path, links followed; None if nothing does. Raises ContentError."""
        try:
            info = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            if path.is_symlink():
                raise ContentError(f"{path}: is a link to nothing; mend or remove it") from None
            return None
        except OSError as problem:
            raise ContentError(f"{path}: cannot be read: {problem.strerror}") from problem
        _speakable(str(path))
        if stat.S_ISDIR(info.st_mode):
            return self._folder(path)
        return PathContent(self._file(str(path), info, self._memory.known(str(path))))

    def output_digest(self, path: Path) -> ContentDigest | None:
        """Like `digest`, of an output: what cannot be read is not what it should be, and a run may replace it."""
        try:
            return self.digest(path)
        except ContentError:
            return UNREADABLE

    def digest(self, path: Path) -> ContentDigest | None:
        """The digest of what lies at a path; None if nothing does. Raises ContentError."""
        found = self.content(path)
        return None if found is None else found.digest

    def _folder(self, path: Path) -> PathContent:
        known = self._memory.known_within(str(path))
        entries = {relative: self._file(place, info, known.get(place)) for relative, place, info in _files(str(path), "")}
        self._memory.forget(known.keys() - {f"{path}/{relative}" for relative in entries})
        listing = folder_listing({relative: entry.md5 for relative, entry in entries.items()})
        size = sum(entry.size for entry in entries.values())
        return PathContent(ContentDigest(md5_of(listing) + FOLDER, size, len(entries)), entries)

    def _file(self, place: str, info: os.stat_result, known: KnownHash | None) -> ContentDigest:
        if not stat.S_ISREG(info.st_mode):
            raise ContentError(f"{place}: is neither a file nor a folder; a pipeline keeps only those")
        md5 = self._memory.unchanged(known, info)
        if md5 is None:
            md5 = self._read(place, info)
            self._memory.learn(place, info, md5)
        return ContentDigest(md5, info.st_size, is_executable=bool(info.st_mode & _EXECUTABLE))

    def _read(self, place: str, info: os.stat_result) -> str:
        state, read = hashlib.md5(usedforsecurity=False), 0
        try:
            with open(place, "rb", buffering=0) as stream:
                while read <= info.st_size and (chunk := stream.read(CHUNK)):  # what grows has no end
                    state.update(chunk)
                    read += len(chunk)
                    self._progress(place, len(chunk))
                after = os.fstat(stream.fileno())
        except OSError as problem:
            raise ContentError(f"{place}: cannot be read: {problem.strerror}") from problem
        if (read, after.st_size, after.st_mtime_ns) != (info.st_size, info.st_size, info.st_mtime_ns):
            raise ContentError(f"{place}: changed while it was read; run again when nothing writes to it")
        return state.hexdigest()


def _files(folder: str, prefix: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Every file below a folder: path relative to it, path, and what it is. Raises ContentError."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as problem:
        raise ContentError(f"{folder}: cannot be read: {problem.strerror}") from problem
    for entry in found:
        place, relative = f"{folder}/{entry.name}", f"{prefix}{entry.name}"
        _speakable(place)
        if entry.name == ".dvcignore":
            raise ContentError(f"{place}: a folder that a pipeline reads or makes cannot have a .dvcignore within; remove it")
        if entry.is_dir(follow_symlinks=False):
            if entry.name == ".dvc":
                raise ContentError(
                    f"{folder}: is a DVC project of its own, which DVC passes over; name the files in it that are read"
                )
            if entry.name not in _PASSED_OVER:
                yield from _files(place, f"{relative}/")
            continue
        if entry.name == ".git":
            continue
        try:
            info = os.stat(place) if entry.is_symlink() else entry.stat()
        except FileNotFoundError:
            raise ContentError(
                f"{place}: is a link to nothing, or vanished while the folder was read; mend or remove it"
            ) from None
        except OSError as problem:
            raise ContentError(f"{place}: cannot be read: {problem.strerror}") from problem
        if stat.S_ISDIR(info.st_mode):
            raise ContentError(
                f"{place}: is a link to a folder, which DVC does not follow; name its target in the stage instead"
            )
        yield relative, place, info


def _speakable(place: str) -> None:
    try:
        place.encode()
    except UnicodeEncodeError:
        shown = place.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if _is_utf_8(os.fsencode(place)):
            words = (
                f"{shown}: this Python reads names as {sys.getfilesystemencoding()}; set PYTHONUTF8=1, or a locale with UTF-8"
            )
            raise ContentError(words) from None
        raise ContentError(f"{shown}: the name is not UTF-8, so dvc.lock cannot hold it; rename it") from None


def _is_utf_8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
