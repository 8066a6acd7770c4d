"""The whole line of a record that the index knows: from the live segment, by its place, or from the archive, by its number."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lifecycle.governance.archive.parquet import read_lines
from lifecycle.governance.archive.place import SUFFIX, ArchivePlace
from operators.console.log_index.index_file import IndexUnavailable
from serving.audit.segment_files import SegmentFiles, open_to_read, read_entries

_MOST_LINE: Final = 64 * 1024 * 1024


def line_of(folder: Path, archive: ArchivePlace | None, segment: str, line: int, at: int) -> bytes:
    """The line, without its newline. folder: of the log. line: its number, from 0. at: the byte where it begins; -1: not known.

    Raises IndexUnavailable if it is not there any more, ArchiveError, OSError."""
    files = SegmentFiles.of(folder, segment)
    try:
        if at >= 0:
            with open_to_read(files.records) as file:
                file.seek(at)
                found = file.readline(_MOST_LINE)
            if found.endswith(b"\n"):
                return found[:-1]
        else:
            return _numbered(read_entries(files.records), line, segment)
    except FileNotFoundError:
        if archive is not None:
            return _numbered(read_lines(archive, segment + SUFFIX), line, segment)
    raise IndexUnavailable(f"segment {segment} has no line {line + 1} any more; `vedette audit verify` says what became of it")


def _numbered(lines: Iterator[bytes], number: int, segment: str) -> bytes:
    found = next(itertools.islice(lines, number, None), None)
    if found is None:
        raise IndexUnavailable(
            f"segment {segment} has no line {number + 1} any more; `vedette audit verify` says what became of it"
        )
    return found
