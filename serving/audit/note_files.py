"""Files of signed notes: appending to one so that it stays readable after a full disk and a crash. Reading is in segment_files."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from serving.audit.segment_files import note_line, open_file
from serving.files.folder_sync import sync_folder

_BLOCK: Final = 64 * 1024


def append_note(path: Path, note: str, *, must_sync: bool = True) -> None:
    """Append a note to a file of notes, whole or not at all; a torn last line, which a crash has left, is cut off. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # tombstones and notes about keys have several writers
        size, line = cut_torn_line(fd), note_line(note)
        try:
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.ftruncate(fd, size)
            raise
        if must_sync:
            os.fsync(fd)
            if not size:
                sync_folder(path.parent)
    finally:
        os.close(fd)


def cut_torn_line(fd: int) -> int:
    """Cut off what follows the last whole line of a file, which a crash has left; the size of the file then, in bytes. Raises OSError."""
    size = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return size
    end = size
    while end:
        start = max(0, end - _BLOCK)
        whole = start + os.pread(fd, end - start, start).rfind(b"\n") + 1
        if whole > start:
            break
        end = start
    os.ftruncate(fd, whole)
    return whole
