"""Durable removal of files, and a lock that ends with its holder. serving.files.whole_files writes."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from serving.files.folder_sync import sync_folder
from serving.files.whole_files import write_whole

__all__ = ["held", "is_held", "remove", "write_whole"]


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Try to hold a lock; yields whether it is ours. The kernel releases it when the process ends."""
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
