"""From what a client knows of an answer to the event that a label names: a receipt, `receipt#row`, the client's own request id, or the id
of an event of a stream (`TOPIC/PARTITION/OFFSET`).

Looked up in the prediction log, live and archived, the newest segments first. A name is a receipt where an answer has that receipt; else it
is the request id of the answers that have it. An event of a stream may have been scored twice, because a worker ended before it committed;
then the newer answer is meant, which is the one that was committed. Proves nothing: `vedette audit verify` does."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from lifecycle.governance.archive.record_log import LogSegment, RecordLog
from lifecycle.labels.errors import UnknownEvent
from lifecycle.labels.label import split_event
from lifecycle.monitoring.windows.answered import event_key
from serving.audit.encoding import decode_array
from serving.audit.segment_files import open_to_read, segments_with_records
from serving.stream.origins import DOOR, place_of, row_of

_FEW: Final = 16
"""Names that are searched for as bytes, before a line is decoded."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class AnsweredEvent:
    """One row that was answered. verdict: the word; empty for a model without verdicts."""

    event: str
    model: str
    variant: str
    revision: str
    time_us: int
    verdict: str


class _Head(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of a record."""

    time_us: int
    receipt: str
    model: str
    rows: int
    variant: str = ""
    revision: str = ""
    request_id: str | None = None
    door: str = ""
    verdicts: list[str] = []
    row_numbers: list[int] | dict[str, Any] | None = None
    """Of many rows it is written raw."""

    def numbers(self) -> Sequence[int]:
        """Which rows of the request."""
        return self.row_numbers if isinstance(self.row_numbers, list) else range(self.rows)

    def event(self, place: int) -> AnsweredEvent:
        """The row at a place of this record."""
        verdict = self.verdicts[place] if place < len(self.verdicts) else ""
        name = event_key(self.receipt, self.numbers()[place], is_alone=self.rows == 1 and self.row_numbers is None)
        return AnsweredEvent(name, self.model, self.variant, self.revision, self.time_us, verdict)

    def events(self) -> list[AnsweredEvent]:
        """Its rows."""
        return [self.event(place) for place in range(min(self.rows, len(self.numbers())))]


_DECODER: Final = msgspec.json.Decoder(_Head)


def _decoded(line: bytes) -> _Head:
    """Raises ValueError, RecursionError, KeyError, TypeError for a line that is no record."""
    head = _DECODER.decode(line)
    if not isinstance(head.row_numbers, dict):
        return head
    return msgspec.structs.replace(head, row_numbers=decode_array(head.row_numbers).tolist())


class EventFinder:
    """Finds events in a prediction log. advance: told how many segments there are and how many were read."""

    def __init__(self, log: RecordLog, advance: Callable[[int, int], None] = lambda done, of: None) -> None:
        self._log, self._advance = log, advance

    def find(self, name: str, model: str | None = None) -> AnsweredEvent:
        """The event of one name. Raises UnknownEvent as `find_all` says, OSError."""
        found = self.find_all([name], model)[name]
        if isinstance(found, UnknownEvent):
            raise found
        return found

    def find_all(self, names: Collection[str], model: str | None = None) -> dict[str, AnsweredEvent | UnknownEvent]:
        """The event of each name, or why there is none: no answer has it, it has several rows, or several answers have the request id.

        model: only answers of this model. The log is read once. Raises OSError, ArchiveError."""
        wanted = _Wanted(names)
        waiting = set(names)
        by_receipt: dict[str, list[_Head]] = {}
        by_request: dict[str, list[_Head]] = {}
        scored: dict[str, dict[str, AnsweredEvent]] = {}
        segments = sorted(
            self._log.segments(), key=lambda segment: (segment.archive is None, segment.files.start_us), reverse=True
        )
        for number, segment in enumerate(segments):
            if not waiting:
                break
            for head in _heads(segment, wanted):
                if model not in (None, head.model):
                    continue
                if head.receipt in wanted.names:
                    by_receipt.setdefault(head.receipt, []).append(head)
                if head.request_id is not None and head.request_id in wanted.names:
                    by_request.setdefault(head.request_id, []).append(head)
                for name, event in wanted.scored_by(head):
                    known = scored.setdefault(name, {}).get(event.model)
                    if known is None or known.time_us <= event.time_us:
                        scored[name][event.model] = event
            waiting = {name for name in waiting if not _is_settled(name, by_receipt)}
            self._advance(number + 1, len(segments))
        return {
            name: _of_stream(name, scored[name]) if name in scored else _chosen(name, by_receipt, by_request, model)
            for name in names
        }


class _Wanted:
    """Names that are looked up."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = set(names) | {split_event(name)[0] for name in names}
        self._events: dict[str, list[str]] = {}
        for name in names:
            if (place := place_of(name)) is not None:
                self._events.setdefault(place, []).append(name)

    def needles(self) -> list[bytes]:
        """Of which a line has at least one."""
        texts = [*self.names, *self._events]
        return [msgspec.json.encode(text)[1:-1] for text in texts] if len(texts) <= _FEW else [b""]

    def has(self, head: _Head) -> bool:
        """Whether a record is of any of them."""
        return head.receipt in self.names or head.request_id in self.names or self._is_of_a_place(head)

    def scored_by(self, head: _Head) -> Iterable[tuple[str, AnsweredEvent]]:
        """The events of streams that a record answers."""
        if not self._is_of_a_place(head) or head.request_id is None:
            return
        places = {number: place for place, number in enumerate(head.numbers())}
        for name in (name for place, names in self._events.items() if place in head.request_id for name in names):
            row = row_of(head.request_id, name)
            if row is not None and row in places:
                yield name, head.event(places[row])

    def _is_of_a_place(self, head: _Head) -> bool:
        origins = head.request_id
        return head.door == DOOR and origins is not None and any(place in origins for place in self._events)


def _heads(segment: LogSegment, wanted: _Wanted) -> Iterable[_Head]:
    needles = wanted.needles()
    for line in segment.entries():
        if not any(needle in line for needle in needles):
            continue
        try:
            head = _decoded(line)
        except (ValueError, KeyError, TypeError, RecursionError):  # no JSON, no record, no UTF-8, or nested without end
            continue
        if wanted.has(head):
            yield head


def _of_stream(name: str, found: Mapping[str, AnsweredEvent]) -> AnsweredEvent | UnknownEvent:
    if len(found) > 1:
        return UnknownEvent(f"{name}: the models {', '.join(sorted(found))} scored this event; name one by `model`")
    return next(iter(found.values()))


def _is_settled(name: str, by_receipt: dict[str, list[_Head]]) -> bool:
    """Whether a receipt was found with the row that is named; a request id may stand in older segments too."""
    if name in by_receipt:
        return True
    receipt, row = split_event(name)
    return row is not None and any(row in head.numbers() for head in by_receipt.get(receipt, ()))


def _chosen(
    name: str, by_receipt: dict[str, list[_Head]], by_request: dict[str, list[_Head]], model: str | None
) -> AnsweredEvent | UnknownEvent:
    receipt, row = split_event(name)
    for found, wanted_row in (
        (by_receipt.get(name), None),
        (by_receipt.get(receipt), row),
        (by_request.get(name), None),
        (by_request.get(receipt), row),
    ):
        if found:
            return _row_of(name, found, wanted_row)
    of = f" of model {model}" if model is not None else ""
    return UnknownEvent(
        f"{name}: no answer{of} has this receipt or request id in the prediction log or its archive; the receipt is the answer's parameter "
        "`receipt`. Give a label of an event that was answered elsewhere with --unseen",
        is_not_there=True,
    )


def _row_of(name: str, found: list[_Head], row: int | None) -> AnsweredEvent | UnknownEvent:
    receipts = list(dict.fromkeys(head.receipt for head in found))
    if len(receipts) > 1:
        shown = ", ".join(receipts[:_SHOWN]) + (", ..." if len(receipts) > _SHOWN else "")
        return UnknownEvent(f"{name}: {len(receipts)} answers have this request id ({shown}); name the receipt of one")
    rows = {number: (head, place) for head in found for place, number in enumerate(head.numbers())}
    is_alone = len(rows) == 1 and found[0].row_numbers is None
    if row is None and not is_alone:
        named = ", ".join(f"{receipts[0]}#{number}" for number in sorted(rows)[:_SHOWN])
        return UnknownEvent(f"{name}: its request has several rows; name one: {named}{', ...' if len(rows) > _SHOWN else ''}")
    number = 0 if row is None else row
    if number not in rows:
        return UnknownEvent(f"{name}: its request has {len(rows)} rows and no row {number}; rows are counted from 0")
    head, place = rows[number]
    return head.event(place)


class AppendedEvents:
    """The rows of one model with one verdict, read from the live log as far as it has grown."""

    def __init__(self, folder: Path, model: str, verdict: str) -> None:
        self._folder, self._model, self._verdict = folder, model, verdict
        self._read: dict[str, int] = {}
        self._found: list[AnsweredEvent] = []

    def all(self) -> list[AnsweredEvent]:
        """All so far, segment by segment. Raises OSError."""
        for files in segments_with_records(self._folder) if self._folder.is_dir() else []:
            try:
                with open_to_read(files.records) as file:
                    start = self._read.get(files.stem, 0)
                    file.seek(start)
                    data = file.read()
            except FileNotFoundError:
                continue  # archived meanwhile: what it had was read
            whole = data[: data.rfind(b"\n") + 1]
            self._read[files.stem] = start + len(whole)
            self._take(whole)
        return self._found

    def _take(self, lines: bytes) -> None:
        needle = msgspec.json.encode(self._verdict)
        for line in lines.split(b"\n"):
            if needle not in line:
                continue
            try:
                head = _decoded(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if head.model == self._model:
                self._found += [one for one in head.events() if one.verdict == self._verdict]
