"""The prediction log read back, by people's tools and by later verification; never on the hot path."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from serving.audit.encoding import decode_record
from serving.audit.record import AuditRecord
from serving.audit.writer import PATTERN


class AuditError(Exception):
    """The log does not hold what its writer wrote: which file, which line, and what is wrong."""


def read_records(folder: Path) -> Iterator[AuditRecord]:
    """Every record in the folder, segment by segment in the order of their starts; within a segment in the order written.

    Replicas write segments of their own, so records of different replicas are not interleaved: sort by `time_us` for that.
    A last line without its newline is what a crash leaves, and is passed over. Raises AuditError for any other broken line."""
    for path in sorted(folder.glob(PATTERN)):
        yield from _read_segment(path)


def _read_segment(path: Path) -> Iterator[AuditRecord]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decode_record(line)
            except msgspec.DecodeError as error:
                raise AuditError(f"{path}, line {number}: not an audit record ({error}); the file was changed") from error
