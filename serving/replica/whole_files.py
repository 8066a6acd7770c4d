"""Files that are replaced in one step: after a crash they hold the old or the new content, never a part."""

import os
from pathlib import Path


def write_whole(path: Path, body: str) -> os.stat_result:
    """Replace a file in one step and sync it to the disk. Returns the status of the file written, even if it was replaced since."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
            status = os.fstat(out.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return status


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
