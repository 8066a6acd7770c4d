"""Reads whole files of people up to a limit, so that a wrong path or mount does not fill the memory."""

import errno
from pathlib import Path


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The content of a file. Raises OSError; EFBIG for a file of more than `most_bytes`."""
    with path.open("rb") as file:
        found = file.read(most_bytes + 1)
    if len(found) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes", str(path))
    return found
