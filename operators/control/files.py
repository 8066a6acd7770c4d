"""Files that survive a crash: whole or as they were before, never half. And a lock that ends with its holder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: Path, body: str) -> None:
    """Replace a file in one step, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_folder(path.parent)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Try to hold a lock; yields whether it is ours. The kernel lets go of it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock now."""
    if not path.is_file():
        return False
    with held(path) as is_free:
        return not is_free


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
