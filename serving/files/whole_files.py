"""Files that are replaced in one step: after a crash they hold the old or the new content, never a part."""

import os
import stat
from contextlib import nullcontext, suppress
from pathlib import Path

from serving.files.folder_sync import sync_folder


def write_whole(path: Path, body: str | bytes, *, new_mode: int | None = None, keeps_owner: bool = False) -> os.stat_result:
    """Replace a file in one step and sync it to the disk; text as UTF-8. Returns the status of the file written, even if it was replaced
    since. Raises OSError.

    The mode of the file that is replaced stays, and its owner and group where that is allowed. new_mode: of a file that is new; None: as
    the umask says. keeps_owner: raises PermissionError, changing nothing, where owner and group cannot stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    before = _status(path)
    mode = 0o600 if before is not None else 0o666 if new_mode is None else new_mode
    draft.unlink(missing_ok=True)  # of a process that was killed, with another mode perhaps
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as out:
            if before is not None:
                _as_before(out.fileno(), before, keeps_owner=keeps_owner)
            out.write(body.encode() if isinstance(body, str) else body)
            out.flush()
            os.fsync(out.fileno())
            status = os.fstat(out.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return status


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _as_before(handle: int, before: os.stat_result, *, keeps_owner: bool) -> None:
    """Give a draft the owner, the group and the mode of the file it replaces. Raises PermissionError if keeps_owner."""
    made = os.fstat(handle)
    if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
        with nullcontext() if keeps_owner else suppress(PermissionError):
            os.fchown(handle, before.st_uid, before.st_gid)
    os.fchmod(handle, stat.S_IMODE(before.st_mode))
