"""Which files of a folder this process has open. Threads of other tests open files of their own, so all open files are no measure."""

import os
from pathlib import Path


def open_below(folder: Path, *devices: str) -> list[str]:
    """The open files below the folder, and these devices, once for each descriptor; a file that was removed since ends with
    ` (deleted)`."""
    found = []
    for number in os.listdir("/dev/fd"):
        try:
            target = os.readlink(f"/dev/fd/{number}")
        except OSError:  # closed meanwhile, such as that of the listing
            continue
        if target in devices or target.startswith(f"{folder.resolve()}{os.sep}"):
            found.append(target)
    return sorted(found)
