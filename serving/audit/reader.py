"""Reads the prediction log, for tools and verification; never on the hot path."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from serving.audit.encoding import decode_record
from serving.audit.record import AuditRecord
from serving.audit.segment_files import open_to_read, segments_with_records


class AuditError(Exception):
    """A line of the log is damaged; the message says which file, which line, and what is wrong."""


def read_records(folder: Path, broken: Callable[[AuditError], None] | None = None) -> Iterator[AuditRecord]:
    """Every record in the folder, segment by segment in the order of their starts; within a segment in the order written.

    Replicas write segments of their own, so records of different replicas are not interleaved: sort by `time_us` for that.
    A last line without its newline is left by a crash and is skipped. For any other broken line `broken` is called and reading
    continues; without `broken` it raises AuditError. Raises OSError for a segment that is no regular file."""
    found = segments_with_records(folder) if folder.is_dir() else []
    for path in sorted(files.records for files in found):
        yield from _read_segment(path, broken)


def _read_segment(path: Path, broken: Callable[[AuditError], None] | None) -> Iterator[AuditRecord]:
    with open_to_read(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = decode_record(line)
            except (msgspec.DecodeError, RecursionError) as error:
                problem = AuditError(f"{path}, line {number}: not an audit record ({error}); the file was changed")
                if broken is None:
                    raise problem from error
                broken(problem)
                continue
            yield record
