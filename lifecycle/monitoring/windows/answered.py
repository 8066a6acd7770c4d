"""What a model answered, read from the prediction log: one element a row, in order of time. Callers separate
labels, drift and performance.

    read_answers     a window of the log, live and archived segments
    sample_answers   the same, of a log that may be larger than the memory: some answers, drawn evenly
    AnswerFollower   what was appended since a position that can be stored, in bounded batches"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.governance.archive.record_log import RecordChoice, RecordHead, RecordLog
from lifecycle.monitoring.sequential.binning import text_of
from lifecycle.monitoring.windows.record_columns import Value, columns_of, scores_of_record
from serving.audit.encoding import decode_array, decode_record
from serving.audit.record import AuditRecord
from serving.audit.segment_files import open_to_read, segments_with_records
from serving.models.verdicts import VERDICTS

NO_VERDICT: Final = -1
"""Code of a row of a model that gives no score."""
BATCH_ROWS: Final = 10_000
_CODES: Final = {word: code for code, word in enumerate(VERDICTS)}
_HEADS: Final = msgspec.json.Decoder(RecordHead)
_TOLD_EVERY: Final = 10_000


class _AnswerHead(msgspec.Struct, frozen=True):
    """What is looked at to draw an answer."""

    receipt: str
    variant: str = ""
    rows: int = 1


_ANSWER_HEADS: Final = msgspec.json.Decoder(_AnswerHead)


def event_key(receipt: str, row: int, *, is_alone: bool) -> str:
    """The name of one event: the receipt, with the row behind it where the answer has several. is_alone: the answer has one row."""
    return receipt if is_alone else f"{receipt}#{row}"


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Rows that one model answered, in order of time. All arrays have shape (n,)."""

    model: str
    receipts: NDArray[np.object_]
    """str. One for all rows of an answer."""
    rows: NDArray[np.int64]
    """The row within the answer, from 0."""
    events: NDArray[np.object_]
    """str, `event_key` of each row."""
    times_us: NDArray[np.int64]
    """When it was answered, microseconds since the epoch, UTC."""
    versions: NDArray[np.object_]
    """str. The version that answered."""
    revisions: NDArray[np.object_]
    """str. The digest of everything that can change the answer."""
    variants: NDArray[np.object_]
    """str: stable, candidate, or the variant's name."""
    columns: Mapping[str, NDArray[Any]]
    """Inputs and features. Numbers are float64, NaN where missing; text is an object array of str, None where missing. Values that the log
    holds redacted or encrypted are missing."""
    scores: NDArray[np.float64]
    """The model's raw score; NaN without one."""
    verdicts: NDArray[np.int8]
    """Places in serving.models.verdicts.VERDICTS; NO_VERDICT without one."""
    degraded: NDArray[np.bool_]
    """Answered without some features, or by rules."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: NDArray[Any]) -> Self:
        """Some of the rows, by mask or place."""
        arrays = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name not in ("model", "columns")}
        return replace(self, columns={name: column[which] for name, column in self.columns.items()}, **arrays)

    @classmethod
    def of(cls, model: str, records: Iterable[AuditRecord]) -> "AnsweredRows":
        """The rows of records, sorted by time; those of one time as given. A column that a record lacks is missing there."""
        rows = _Rows()
        for record in records:
            rows.add(record)
        return rows.built(model)


def read_answers(
    folder: Path,
    model: str,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    variant: str | None = None,
    archive: Path | ArchivePlace | None = None,
) -> AnsweredRows:
    """The rows of a model in a window. folder: of the prediction log (STORE/audit). since_us inclusive, until_us exclusive; None: no bound.

    variant: only what it answered. archive: where archived segments are. A line that is no whole record is passed over: verification
    names it. Raises OSError, ArchiveError."""
    place = ArchivePlace(str(archive)) if isinstance(archive, Path) else archive
    lines = RecordLog(folder, place).chosen(RecordChoice(model, None, since_us, until_us))
    return AnsweredRows.of(model, (record for record in _records(lines) if variant in (None, record.variant)))


@dataclass(frozen=True, slots=True)
class AnswerSample:
    """Answers drawn evenly from a window. rows: of the answers that were drawn. named: of the receipts that were asked for, all of them.
    answers: how many the window has; drawn: how many of them were drawn."""

    rows: AnsweredRows
    named: AnsweredRows
    answers: int
    drawn: int


def sample_answers(
    folder: Path,
    model: str,
    most_rows: int,
    *,
    receipts: Collection[str] = (),
    since_us: int | None = None,
    until_us: int | None = None,
    variant: str | None = None,
    archive: ArchivePlace | None = None,
    tell: Callable[[int], None] = lambda answers: None,
) -> AnswerSample:
    """Whole answers with at most `most_rows` rows together (one answer at least), those whose receipts have the smallest digests: the same
    log gives the same ones. receipts: answers that are needed whether they are drawn or not. tell: told how many were read. The other
    arguments are those of read_answers. The memory is bounded by `most_rows` and the receipts."""
    drawn: list[tuple[int, int, int, bytes]] = []  # a heap; the largest digest is first
    named: list[bytes] = []
    held, below, answers = 0, 1 << 64, 0
    for line in RecordLog(folder, archive).chosen(RecordChoice(model, None, since_us, until_us, is_answer=True)):
        try:
            head = _ANSWER_HEADS.decode(line)
        except ValueError:
            continue
        if variant not in (None, head.variant):
            continue
        answers += 1
        if answers % _TOLD_EVERY == 0:
            tell(answers)
        if head.receipt in receipts:
            named.append(line)
        digest = int.from_bytes(blake2b(head.receipt.encode(), digest_size=8).digest(), "big")
        if digest >= below:
            continue
        heapq.heappush(drawn, (-digest, answers, head.rows, line))
        held += head.rows
        while held > most_rows and len(drawn) > 1:
            largest, _, rows, _ = heapq.heappop(drawn)
            held, below = held - rows, -largest
    in_order = (line for _, _, _, line in sorted(drawn, key=lambda one: one[1]))
    found = AnsweredRows.of(model, _records(in_order))
    return AnswerSample(found, AnsweredRows.of(model, _records(named)), answers, len(drawn))


@dataclass(slots=True)
class AnswerFollower:
    """Reads what is appended to the prediction log. position: how far each segment was read: name -> bytes. Store it with what was made of
    the batches, and the next process goes on without a row twice or left out.

    The next batch depends on the position and the files only. It reads live segments only, not what was archived meanwhile."""

    folder: Path
    model: str
    position: dict[str, int] = field(default_factory=dict)

    def skip_to_end(self) -> None:
        """Take everything that is there as read."""
        for files in segments_with_records(self.folder) if self.folder.is_dir() else []:
            for _, end, _ in _lines_of(files.records, self.position.get(files.stem, 0), b"\n\n"):
                self.position[files.stem] = end

    def read(self, most_rows: int = BATCH_ROWS) -> AnsweredRows:
        """The next rows by time over all segments, whole answers, about `most_rows` at most; none if nothing is new. Raises OSError."""
        live = segments_with_records(self.folder) if self.folder.is_dir() else []
        needle = b'"model":' + msgspec.json.encode(self.model)
        streams = []
        for order, files in enumerate(live):
            start = self.position.get(files.stem, 0)
            if files.records.stat().st_size > start:
                streams.append(_keyed(files.stem, order, _lines_of(files.records, start, needle)))
        rows = _Rows()
        for _, _, stem, end, line in heapq.merge(*streams, key=lambda one: one[:2]):
            record = None if line is None else _decoded(line)
            if record is not None and record.model == self.model:
                if rows.count and rows.count + record.rows > most_rows:
                    break
                rows.add(record)
            self.position[stem] = end
        self.position = {files.stem: self.position[files.stem] for files in live if files.stem in self.position}
        return rows.built(self.model)


def _keyed(
    stem: str, order: int, lines: Iterator[tuple[int, int, bytes | None]]
) -> Iterator[tuple[int, int, str, int, bytes | None]]:
    return ((time_us, order, stem, end, line) for time_us, end, line in lines)


def _lines_of(path: Path, start: int, needle: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """(time_us, where the line ends, the line) of lines with the needle; last the end of what has none, with None. A torn line waits."""
    try:
        stream = open_to_read(path)
    except FileNotFoundError:
        return  # archived, or removed by retention
    with stream:
        stream.seek(start)
        end, latest, is_told = start, 0, True
        for line in stream:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            is_told = needle in line and (time_us := _time_of(line)) is not None
            if is_told:
                latest = time_us or 0
                yield latest, end, line
        if not is_told:
            yield latest, end, None


def _time_of(line: bytes) -> int | None:
    try:
        return _HEADS.decode(line).time_us
    except (ValueError, RecursionError):  # no JSON, no record, no UTF-8, or nested without end
        return None


def _records(lines: Iterable[bytes]) -> Iterator[AuditRecord]:
    """The records of lines; a line that is no whole record, or that is not of an answer, is passed over."""
    return (record for line in lines if (record := _decoded(line)) is not None)


def _decoded(line: bytes) -> AuditRecord | None:
    try:
        record = decode_record(line)
    except (ValueError, RecursionError):
        return None
    return record if record.is_answer else None


class _Rows:
    """Rows as lists, until there are enough."""

    def __init__(self) -> None:
        self.count = 0
        self._plain: dict[str, list[Any]] = {f.name: [] for f in fields(AnsweredRows) if f.name not in ("model", "columns")}
        self._columns: dict[str, list[Value]] = {}

    def add(self, record: AuditRecord) -> None:
        """Add a record's rows, or none of a record that contradicts itself."""
        try:
            columns, scores = columns_of(record), scores_of_record(record)
            flags = decode_array(record.degraded).astype(bool).tolist()  # of many rows it is written raw
            numbers = list(range(record.rows)) if record.row_numbers is None else decode_array(record.row_numbers).tolist()
        except (ValueError, KeyError, TypeError, OverflowError):
            return
        codes = [_CODES.get(word, NO_VERDICT) for word in record.verdicts] or [NO_VERDICT] * record.rows
        degraded = flags or [False] * record.rows
        if not len(numbers) == len(codes) == len(degraded) == record.rows:
            return
        is_alone = record.rows == 1 and record.row_numbers is None
        own = {"receipts": record.receipt, "times_us": record.time_us, "versions": record.version}
        own |= {"revisions": record.revision, "variants": record.variant}
        for name, value in own.items():
            self._plain[name] += [value] * record.rows
        self._plain["rows"] += numbers
        self._plain["events"] += [event_key(record.receipt, n, is_alone=is_alone) for n in numbers]
        self._plain["scores"] += scores
        self._plain["verdicts"] += codes
        self._plain["degraded"] += degraded
        for name, values in columns.items():
            column = self._columns.setdefault(name, [])
            column += [None] * (self.count - len(column))
            column += values
        self.count += record.rows

    def built(self, model: str) -> AnsweredRows:
        plain = self._plain
        columns = {name: _array(values + [None] * (self.count - len(values))) for name, values in self._columns.items()}
        found = AnsweredRows(
            model=model,
            receipts=_objects(plain["receipts"]),
            rows=np.array(plain["rows"], dtype=np.int64),
            events=_objects(plain["events"]),
            times_us=np.array(plain["times_us"], dtype=np.int64),
            versions=_objects(plain["versions"]),
            revisions=_objects(plain["revisions"]),
            variants=_objects(plain["variants"]),
            columns=columns,
            scores=np.array(plain["scores"], dtype=np.float64),
            verdicts=np.array(plain["verdicts"], dtype=np.int8),
            degraded=np.array(plain["degraded"], dtype=np.bool_),
        )
        order = np.argsort(found.times_us, kind="stable")
        return found if (order == np.arange(len(order))).all() else found.take(order)


def _array(values: list[Value]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return _objects([value if value is None or isinstance(value, str) else text_of(value) for value in values])
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _objects(values: list[Any]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
