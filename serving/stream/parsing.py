"""Records to checked events: the codec decodes them, columns and event times are read, and invalid records are set aside with their
reason."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.features.windows.spec import EventTimeSpec
from serving.models.manifest import FieldSpec, Manifest
from serving.scoring.entity import canonical
from serving.stream.codecs.codec import DecodedEvent, EventCodec, Undecodable, undecodable
from serving.stream.codecs.columns import EventColumns
from serving.stream.event_time import event_time_of
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition, StreamRecord

MOST_AHEAD_US: Final = 24 * 3_600_000_000
"""How far an event's time may lie after the time at which its record was produced."""
MOST_ENTITY: Final = 8192
"""Bytes of an entity's keys: they are the key of its messages."""


class Poison(NamedTuple):
    """A record that is no event, or that the model refuses, and why."""

    record: StreamRecord
    reason: str


class ParsedRecords(NamedTuple):
    """What some records of one partition are. events: in order of arrival; none is late yet."""

    events: StreamEvents | None
    poison: Sequence[Poison]


@dataclass(frozen=True, slots=True)
class EventParser:
    """Reads the events that one bundle scores. key: names of the entity's join keys. time_field: the event's field that says when it was
    known; without one it is known when it was produced."""

    codec: EventCodec
    columns: EventColumns
    keys: tuple[str, ...]
    time_field: str | None
    max_bytes: int
    declared_time: EventTimeSpec | None = None
    """The columns that say when an event was known, where it has no time_field."""

    @classmethod
    def of(cls, manifest: Manifest, codec: EventCodec, more: Mapping[str, str], max_bytes: int) -> "EventParser":
        """The parser for a bundle. more: columns that states need beside the model's. Raises ValueError for a bundle that takes tensors
        only."""
        columns = EventColumns.of(manifest)
        known = {spec.name for spec in columns.columns}
        added = [FieldSpec(name=name, datatype=datatype) for name, datatype in more.items() if name not in known]
        columns = EventColumns((*columns.columns, *added), columns.defaults, columns.event_field, columns.allow_nonfinite)
        declared = None if manifest.windows is None else manifest.windows.event_time
        return cls(codec, columns, tuple(k.name for k in manifest.entity_keys), manifest.event_time_field, max_bytes, declared)

    def parse(self, partition: Partition, records: Sequence[StreamRecord], latest_us: int | None = None) -> ParsedRecords:
        """Parse records of one partition. Raises StreamError if the codec cannot decode now; trying again may help.

        latest_us: an event of a later time is refused, for it would make every event after it late; None: there is no such bound."""
        poison: list[Poison] = []
        fitting = [r for r in records if r.value is not None and len(r.value) <= self.max_bytes]
        if len(fitting) < len(records):
            poison += [Poison(r, self._size_problem(r)) for r in records if r.value is None or len(r.value) > self.max_bytes]
        bodies = self.codec.decode(fitting)
        if any(type(body) is Undecodable for body in bodies):
            good = []
            for record, body in zip(fitting, bodies, strict=True):
                if isinstance(body, Undecodable):
                    poison.append(Poison(record, body.reason))
                else:
                    good.append((record, body))
            fitting, events = [r for r, _ in good], [b for _, b in good]
        else:
            events = bodies  # type: ignore[assignment]
        if not fitting:
            return ParsedRecords(None, poison)
        return self._checked(partition, fitting, events, poison, latest_us)

    def _checked(
        self,
        partition: Partition,
        records: list[StreamRecord],
        bodies: Sequence[DecodedEvent],
        poison: list[Poison],
        latest_us: int | None,
    ) -> ParsedRecords:
        batch = self.columns.read(bodies)
        rejected = dict(batch.rejected)
        times = self._times(records, bodies, rejected)
        for row in _days_ahead(times, records):
            rejected.setdefault(
                row,
                undecodable(
                    f"it says that it was known at {np.datetime64(int(times[row]), 'us')}Z, more than a day after its record was produced; "
                    "correct the clock of its source"
                ),
            )
        if latest_us is not None and times.max() > latest_us:
            for row in np.flatnonzero(times > latest_us).tolist():
                rejected.setdefault(row, self._ahead(int(times[row]), latest_us))
        columns = {tensor.name: tensor.data for tensor in batch.tensors}
        entities = self._entities(columns, len(records))
        if max(map(len, entities)) > MOST_ENTITY:
            for row, entity in enumerate(entities):
                if len(entity) > MOST_ENTITY:
                    rejected.setdefault(
                        row, undecodable(f"its entity has {len(entity)} bytes, at most {MOST_ENTITY} are accepted")
                    )
        events = StreamEvents(
            partition,
            records,
            bodies,
            columns,
            entities,
            times,
            np.zeros(len(records), np.bool_),
            np.ones(len(records), np.bool_),
        )
        if not rejected:
            return ParsedRecords(events, poison)
        poison += [Poison(records[row], problem.reason) for row, problem in sorted(rejected.items())]
        good = np.array([row for row in range(len(records)) if row not in rejected], np.intp)
        return ParsedRecords(events.take(good) if len(good) else None, poison)

    def _times(
        self, records: Sequence[StreamRecord], bodies: Sequence[DecodedEvent], rejected: dict[int, Undecodable]
    ) -> NDArray[np.int64]:
        """When each event was known; see serving.stream.event_time."""
        field = self.time_field
        if field is None and self.declared_time is None:
            return np.array([r.time_us for r in records], np.int64)
        values = [] if field is None else [body.get(field) for body in bodies]
        if set(map(type, values)) == {int}:
            try:
                times = np.array(values, np.int64)
                if times.min() > -(2**62) and times.max() < 2**62:
                    return times
            except OverflowError:
                pass
        found, known = np.zeros(len(records), np.int64), event_time_of(field, self.declared_time)
        for row, (record, body) in enumerate(zip(records, bodies, strict=True)):
            moment = known(body, record.time_us)
            if isinstance(moment, Undecodable):
                rejected.setdefault(row, moment)
            else:
                found[row] = moment
        return found

    def _ahead(self, at_us: int, latest_us: int) -> Undecodable:
        what = (
            "the time at which the record was produced" if self.time_field is None else f"the event's field {self.time_field!r}"
        )
        at, latest = (np.datetime_as_string(np.datetime64(us, "us"), unit="s", timezone="UTC") for us in (at_us, latest_us))
        return undecodable(
            f"{what} is {at}, later than {latest}, the clock of the worker and VEDETTE_STREAM_MAX_AHEAD_S; "
            "set the clock of the source (or of the worker), or raise that setting"
        )

    def _entities(self, columns: Mapping[str, NDArray[np.object_]], rows: int) -> Sequence[bytes]:
        if len(self.keys) == 1:
            return _texts(columns[self.keys[0]])
        return [b"|".join(values) for values in zip(*(_texts(columns[k]) for k in self.keys), strict=True)] or [b""] * rows

    def _size_problem(self, record: StreamRecord) -> str:
        if record.value is None:
            return "the record has no value"
        return undecodable(f"the record has {len(record.value)} bytes, at most {self.max_bytes} are accepted").reason


def _days_ahead(times: NDArray[np.int64], records: Sequence[StreamRecord]) -> list[int]:
    """Events from the future: one of them would end the windows of all others."""
    produced = np.array([r.time_us for r in records], np.int64)
    return [int(row) for row in np.flatnonzero((produced > 0) & (times - produced > MOST_AHEAD_US))]


def _texts(column: NDArray[np.object_]) -> list[bytes]:
    values: Iterable[object] = column.tolist()
    return [v if type(v) is bytes else canonical(v) for v in values]
