"""A detector's rows replayed through the windows of a stream, in the order of their arrival, and compared with training's point-in-time
join.

The rows go through the worker's own parts (codec, parser, held events, windows), without a broker or a model."""

import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.data import check_data
from lifecycle.datasets.detector import Detector
from lifecycle.training.client_events import client_events
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.features import with_features
from lifecycle.training.stream_windows import window_spec
from serving.features.windows.spec import KIND_DATATYPES, WindowSpec
from serving.models.manifest import FieldSpec
from serving.stream.codecs.columns import EventColumns, event_time_us
from serving.stream.events import StreamEvents
from serving.stream.partitions.holding import HeldEvents, HoldLimits
from serving.stream.ports import Partition, StreamRecord
from serving.stream.windows.engine import SECOND_US, Key, WindowRows
from serving.stream.windows.kind import BOUND
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.state import PartitionWindows

_MICRO_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class ReplayedRows:
    """n rows of a detector. arrivals: by partition, batches in order of arrival; a record's offset is the row's number in the file.
    expected: shape (n, features), what training joins. lag_s: the most seconds that an event comes behind the newest of its partition."""

    spec: WindowSpec
    arrivals: Sequence[Sequence[StreamEvents]]
    expected: NDArray[np.float64]
    lag_s: float

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.expected)


@dataclass(frozen=True, slots=True)
class WindowReplay:
    """The result of a replay. values: shape (n, features). seconds: spent in the windows. late: events behind the watermark. dropped:
    late events that were not counted. sketched: rows with an estimate. entities: kept at the end."""

    values: NDArray[np.float64]
    seconds: float
    late: int
    dropped: int
    sketched: int
    entities: int
    digests: Sequence[str]

    def differences(self, expected: NDArray[np.float64]) -> tuple[int, int]:
        """How many rows, and how many values, differ from training's."""
        differ = self.values != expected
        return int(differ.any(axis=1).sum()), int(differ.sum())


def replayed(detector: Detector, frame: Any, *, partitions: int) -> ReplayedRows:
    """The rows of a data frame, which has the source's columns. Raises DataError."""
    spec = window_spec(detector)
    if spec is None:
        raise ValueError(f"detector {detector.name!r} has no windows")
    events = list(client_events(detector, frame))
    fields = {spec.key: spec.key_datatype, **{name: KIND_DATATYPES[kind] for name, kind in spec.columns.items()}}
    columns = EventColumns(tuple(FieldSpec(name=name, datatype=datatype) for name, datatype in fields.items()))
    of_partition: list[list[Any]] = [[] for _ in range(partitions)]
    for event in events:
        of_partition[zlib.crc32(event.key.encode()) % partitions].append(event)
    arrivals, lag_us, at_us = [], 0, np.zeros(len(events), dtype=np.int64)
    for number, mine in enumerate(of_partition):
        batches = []
        newest = 0
        for start in range(0, len(mine), _MICRO_BATCH):
            batch = _parsed(Partition("events", number), mine[start : start + _MICRO_BATCH], columns)
            at_us[[r.offset for r in batch.records]] = batch.times_us
            before = np.maximum(np.maximum.accumulate(batch.times_us), newest)
            lag_us, newest = max(lag_us, int((before - batch.times_us).max())), int(before[-1])
            batches.append(batch)
        arrivals.append(batches)
    return ReplayedRows(spec, arrivals, _expected(detector, frame, spec, at_us), lag_us / SECOND_US)


def _parsed(partition: Partition, events: Sequence[Any], columns: EventColumns) -> StreamEvents:
    batch = columns.read([event.body for event in events])
    if batch.rejected:
        raise ValueError(f"row {events[min(batch.rejected)].row}: {batch.rejected[min(batch.rejected)].reason}")
    times = np.array([event_time_us(event.body["event_time"], "event_time") for event in events], dtype=np.int64)
    return StreamEvents(
        partition,
        [StreamRecord(partition, event.row, b"") for event in events],
        [{}] * len(events),
        {tensor.name: tensor.data for tensor in batch.tensors},
        [event.key.encode() for event in events],
        times,
        np.zeros(len(events), dtype=np.bool_),
        np.ones(len(events), dtype=np.bool_),
    )


def _expected(detector: Detector, frame: Any, spec: WindowSpec, at_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """Training's features, by Feast's own join, in the order of the file. at_us: time of each row, to undo training's order."""
    data = check_data(detector, frame, where="the replayed rows")
    with tempfile.TemporaryDirectory() as folder:
        joined, _ = with_features(detector, data, FeastStore(Path(folder)))
    names = [f"{view.name}__{aggregate.name}" for view in spec.views for aggregate in spec.aggregates]
    found = np.empty((len(at_us), len(names)))
    found[np.argsort(at_us, kind="stable")] = joined[names].to_numpy(dtype=np.float64)
    return found


def run(rows: ReplayedRows, *, disorder_s: float, lateness_s: float, bound: int = BOUND) -> WindowReplay:
    """Replay the rows. disorder_s, lateness_s: the worker's settings. bound: how many distinct values are told apart."""
    plan = WindowPlan.of(rows.spec)
    values = np.full(rows.expected.shape, np.nan)
    late = dropped = sketched = entities = 0
    seconds = 0.0
    digests = []

    def answered(events: StreamEvents, keys: Sequence[Key], found: WindowRows) -> None:
        nonlocal sketched
        places = [record.offset for record in events.records]
        values[places] = with_defaults(rows.spec, found, events.times_us)
        sketched += int(found.sketched.sum())

    for batches in rows.arrivals:
        state = PartitionWindows(plan, bound=bound, lateness_s=int(lateness_s), answered=answered)
        for events in released(batches, disorder_s, lateness_s):
            began_s = time.thread_time()
            state.update(events)
            seconds += time.thread_time() - began_s
            state.take_delta()
            late += int(events.is_late.sum())
            dropped += int((~events.is_counted).sum())
        entities += len(state.engine.entities)
        digests.append(state.digest())
    return WindowReplay(values, seconds, late, dropped, sketched, entities, digests)


def released(batches: Sequence[StreamEvents], disorder_s: float, lateness_s: float) -> Iterator[StreamEvents]:
    """The batches as the worker scores them: events are held until the watermark passes them."""
    held = HeldEvents(HoldLimits(int(disorder_s * SECOND_US), int(lateness_s * SECOND_US), 10**9))
    for batch in batches:
        held.add(batch)
        if (events := held.release()) is not None:
            yield events
    if (events := held.release_all()) is not None:
        yield events


def with_defaults(spec: WindowSpec, rows: WindowRows, at_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """The rows' values, with the declared defaults if there is no row or it is too old. Shape (n, features)."""
    values, width = rows.values.copy(), len(spec.aggregates)
    defaults = np.array([float(aggregate.default) for aggregate in spec.aggregates])
    for place, view in enumerate(spec.views):
        is_gone = (rows.at_us == 0) | (at_us - rows.at_us > view.ttl_s * SECOND_US)
        values[is_gone, place * width : (place + 1) * width] = defaults
    return values


def shifted(events: StreamEvents, by_us: int) -> StreamEvents:
    """The same events, by_us microseconds later."""
    return msgspec.structs.replace(events, times_us=events.times_us + by_us)
