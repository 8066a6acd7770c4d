"""Syncs folders to the disk. After a power cut a synced file can still be missing if its folder was not synced."""

import errno
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Sync a folder's names to the disk. Does nothing on a file system that syncs no folders. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(fd)
