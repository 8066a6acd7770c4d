"""The state of windows as bytes: deltas (the events that were counted), snapshots (entities in parts), and a digest of the whole. Pure.

All are MessagePack. Whole numbers of a delta are written as differences to their least, in the narrowest width that fits; text once for
each different one. The same state gives the same digest, however its events were cut into batches and whatever was restored on the way."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.ports import Columns
from serving.stream.windows.distinct import UNKNOWN, DistinctValue, ExactDistinct, SketchedDistinct, read_sketch
from serving.stream.windows.engine import Key, WindowEngine
from serving.stream.windows.entity import EntityWindows

DELTA: Final = "vedette.windows.delta/1"
SNAPSHOT: Final = "vedette.windows.snapshot/1"
PART_BYTES: Final = 400_000
_encode = msgspec.msgpack.Encoder().encode
_WIDTHS: Final = ("<u1", "<u2", "<u4", "<u8")


class WindowDelta(msgspec.Struct, frozen=True):
    """Events that were counted. Columns of n values each, packed."""

    kind: str
    rows: int
    keys: Any
    at_us: Any
    columns: dict[str, Any]


class WindowSnapshot(msgspec.Struct, frozen=True):
    """Some of the entities. newest_us: the newest event time that was counted."""

    kind: str
    newest_us: int
    entities: list[Any]
    sketches: list[Any] = []
    """Parts of sketches of entities that came before: key, place of the column, grain, part, sketch."""


_read_delta = msgspec.msgpack.Decoder(WindowDelta).decode
_read_snapshot = msgspec.msgpack.Decoder(WindowSnapshot).decode


def encode_delta(keys: Sequence[Key], at_us: NDArray[np.int64], columns: Columns) -> bytes:
    """Counted events, in order."""
    packed = {name: _pack(column) for name, column in columns.items()}
    return _encode(WindowDelta(DELTA, len(keys), _pack_texts(list(keys)), _pack(at_us), packed))


def decode_delta(delta: bytes) -> tuple[list[Key], NDArray[np.int64], dict[str, NDArray[Any]]]:
    """The events of a delta. Raises ValueError."""
    try:
        found = _read_delta(delta)
        if found.kind != DELTA:
            raise ValueError(f"its kind is {found.kind!r}, expected {DELTA!r}")
        columns = {name: _unpack(packed, found.rows) for name, packed in found.columns.items()}
        return _unpack(found.keys, found.rows).tolist(), _unpack(found.at_us, found.rows), columns
    except (ValueError, TypeError, KeyError, IndexError, msgspec.MsgspecError) as problem:
        raise ValueError(f"a delta of windows cannot be read: {problem}") from problem


def encode_snapshot(engine: WindowEngine) -> Iterator[bytes]:
    """The entities that still count, in parts of about PART_BYTES."""
    entities: list[Any] = []
    sketches: list[Any] = []
    size = 0
    for key, entity in engine.entities.items():
        if engine.is_over(entity.newest):
            continue
        written = _encode(_written(engine, key, entity))
        entities.append(msgspec.Raw(written))
        size += len(written)
        for sketch in _sketches(engine, entity):
            sketches.append([key, *sketch])
            size += len(sketch[-1])
            if size >= PART_BYTES:
                yield _encode(WindowSnapshot(SNAPSHOT, engine.newest_us, entities, sketches))
                entities, sketches, size = [], [], 0
        if size >= PART_BYTES:
            yield _encode(WindowSnapshot(SNAPSHOT, engine.newest_us, entities, sketches))
            entities, sketches, size = [], [], 0
    yield _encode(WindowSnapshot(SNAPSHOT, engine.newest_us, entities, sketches))


def restore_part(engine: WindowEngine, part: bytes) -> list[Key]:
    """Take in a part of a snapshot; returns the keys of its entities. Raises ValueError."""
    try:
        found = _read_snapshot(part)
        if found.kind != SNAPSHOT:
            raise ValueError(f"its kind is {found.kind!r}, expected {SNAPSHOT!r}")
        engine.newest_us = max(engine.newest_us, found.newest_us)
        for key, opened, closed in found.entities:
            engine.put(key, _read(engine, opened, closed))
        for key, place, grain, number, raw in found.sketches:
            measure = engine.entities[key].distinct[place]
            if not isinstance(measure, SketchedDistinct):
                raise ValueError(f"column {place} has no sketch")
            measure.parts[grain][number] = read_sketch(raw)
        return [key for key, _, _ in found.entities]
    except (ValueError, TypeError, KeyError, IndexError, msgspec.MsgspecError) as problem:
        raise ValueError(f"a snapshot of windows cannot be read: {problem}") from problem


def digest(engine: WindowEngine) -> str:
    """SHA-256 of the state: equal for two engines that answer every later event alike."""
    lines = sorted(
        _encode([key, *_canonical(engine, entity)])
        for key, entity in engine.entities.items()
        if not engine.is_over(entity.newest)
    )
    return hashlib.sha256(_encode([engine.newest_us, lines])).hexdigest()


def _written(engine: WindowEngine, key: Key, entity: EntityWindows) -> list[Any]:
    """One entity, without what no row needs any more."""
    opened = None
    if entity.open_tick is not None:
        values = [list(dict.fromkeys(each)) for each in entity.open_values]
        count, *sums = entity.open_totals
        opened = [entity.open_tick, count, [_stored(n) for n in sums], values]
    if not entity.ticks:
        return [key, opened, None]
    cut = engine.counting.cut(entity, engine.horizon)
    first = next(place for place, tick in enumerate(entity.ticks) if tick > cut)
    counts, *sums = ([b - a for a, b in pairwise(running)] for running in zip(*entity.totals[first:], strict=True))
    sums = [[_stored(number) for number in numbers] for numbers in sums]
    for place, kept in zip(engine.plan.loose, entity.loose, strict=True):
        sums[place] = kept[first:]
    return [key, opened, [entity.ticks[first:], counts, sums, [_distinct(m, cut, engine.horizon) for m in entity.distinct]]]


def _sketches(engine: WindowEngine, entity: EntityWindows) -> Iterator[tuple[int, int, int, bytes]]:
    """The sketches of an entity: place of the column, grain, part, sketch."""
    asked = engine.counting.asked(entity, engine.horizon) if entity.ticks else engine.horizon
    for place, measure in enumerate(entity.distinct):
        if isinstance(measure, SketchedDistinct):
            for grain, part, sketch in measure.kept(asked):
                yield place, grain, part, sketch.serialize()


def _distinct(measure: ExactDistinct | SketchedDistinct, cut: int, horizon: int) -> list[Any]:
    if isinstance(measure, SketchedDistinct):
        return [1]
    last = [(value, second) for value, second in measure.last.items() if second > cut]
    undo = [
        [second, list(changes), [before if before is not None and before > cut else None for before in changes.values()]]
        for second, changes in sorted(measure.undo.items())
        if second > horizon and changes
    ]
    return [0, [value for value, _ in last], [second for _, second in last], undo]


def _read(engine: WindowEngine, opened: Any, closed: Any) -> EntityWindows:
    entity = EntityWindows()
    if opened is not None:
        entity.open_tick, count, sums, entity.open_values = opened
        entity.open_totals = (count, *map(_number, sums))
    if closed is None:
        return entity
    ticks, counts, sums, distinct = closed
    entity.ticks = ticks
    entity.totals = list(zip(_running(counts), *map(_running, sums), strict=True))
    entity.loose = [sums[place] for place in engine.plan.loose]
    cuts = [ticks[-1] - seconds for seconds in engine.plan.seconds]
    entity.lows = [sum(tick <= cut for tick in ticks) for cut in cuts]
    entity.distinct = [_read_distinct(engine, each, cuts, len(ticks)) for each in distinct]
    return entity


def _read_distinct(engine: WindowEngine, written: Any, cuts: Sequence[int], ticks: int) -> ExactDistinct | SketchedDistinct:
    if written[0] == 1:
        return SketchedDistinct(engine.plan.seconds)
    exact = ExactDistinct(len(cuts))
    _, values, seconds, undo = written
    exact.last = dict(zip(values, seconds, strict=True))
    for second in seconds:
        exact.per_second[second] = exact.per_second.get(second, 0) + 1
    exact.counts = [sum(second > cut for second in seconds) for cut in cuts]
    exact.history = [UNKNOWN] * len(cuts) * ticks
    exact.undo = {second: dict(zip(changed, before, strict=True)) for second, changed, before in undo}
    return exact


def _stored(number: Any) -> Any:
    """A sum as MessagePack takes it: whole numbers beyond 64 bits, which a few hostile events may come to, as text."""
    return number if isinstance(number, float) or -(2**63) <= number < 2**64 else str(number)


def _number(stored: Any) -> Any:
    return int(stored) if isinstance(stored, str) else stored


def _running(each: Sequence[Any]) -> list[Any]:
    total, found = 0, [0]
    for number in each:
        total += _number(number)
        found.append(total)
    return found


def _canonical(engine: WindowEngine, entity: EntityWindows) -> list[Any]:
    """The entity as if its open tick were closed, with everything in a fixed order."""
    _, opened, closed = _written(engine, 0, entity)
    ticks, counts, sums, distinct = closed or ([], [], [[] for _ in engine.plan.sums], None)
    if distinct is None:
        distinct = [[0, [], [], []] for _ in engine.plan.distinct]
    if opened is not None:
        tick, count, added, values = opened
        ticks, counts = [*ticks, tick], [*counts, count]
        sums = [
            [*kept, _stored(+_number(number))] for kept, number in zip(sums, added, strict=True)
        ]  # a share's True is 1 once it is closed
        horizon = engine.horizon
        oldest = max((t for t in ticks if t <= horizon), default=ticks[0])
        cut, remember = oldest - engine.plan.kept_s, engine.lateness_s > 0 and tick > horizon
        first = sum(t <= cut for t in ticks)
        ticks, counts, sums = ticks[first:], counts[first:], [kept[first:] for kept in sums]
        distinct = [_with_open(m, tick, came, cut, remember=remember) for m, came in zip(distinct, values, strict=True)]
    return [ticks, counts, sums, [_sorted(each) for each in distinct], sorted(_sketches(engine, entity))]


def _with_open(written: list[Any], tick: int, came: list[DistinctValue], cut: int, *, remember: bool) -> list[Any]:
    if written[0] == 1:
        return written
    _, values, seconds, undo = written
    last: Mapping[DistinctValue, int] = dict(zip(values, seconds, strict=True))
    undo = [[s, v, [b if b is not None and b > cut else None for b in before]] for s, v, before in undo]
    if remember and came:
        undo = [*undo, [tick, came, [b if (b := last.get(v)) is not None and b > cut else None for v in came]]]
    merged = {value: second for value, second in {**last, **dict.fromkeys(came, tick)}.items() if second > cut}
    return [0, list(merged), list(merged.values()), undo]


def _sorted(written: list[Any]) -> list[Any]:
    if written[0] == 1:
        return written
    _, values, seconds, undo = written
    lines = sorted(_encode(pair) for pair in zip(values, seconds, strict=True))
    changes = [
        [second, sorted(_encode(pair) for pair in zip(changed, before, strict=True))] for second, changed, before in undo
    ]
    return [0, lines, changes]


def _pack(column: NDArray[Any]) -> list[Any]:
    if column.dtype == object:
        return _pack_texts(column.tolist())
    if column.dtype.kind in "iu" and len(column):
        least = int(column.min())
        shifted = (column.astype(np.int64) - least).view(np.uint64)
        most = int(shifted.max())
        width = next(w for w in _WIDTHS if most <= np.iinfo(w).max)
        return ["i", least, width, shifted.astype(width).tobytes()]
    return ["n", column.dtype.newbyteorder("<").str, column.astype(column.dtype.newbyteorder("<")).tobytes()]


def _pack_texts(values: list[Any]) -> list[Any]:
    places: dict[Any, int] = {}
    index = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)
    return ["o", list(places), _pack(index)]


def _unpack(packed: Any, rows: int) -> NDArray[Any]:
    match packed:
        case ["i", least, width, raw]:
            found: NDArray[Any] = (np.frombuffer(raw, dtype=width).astype(np.uint64).view(np.int64) + least).astype(np.int64)
        case ["n", dtype, raw]:
            found = np.frombuffer(raw, dtype=dtype)
        case ["o", values, index]:
            table = np.empty(len(values), dtype=object)
            table[:] = values
            found = table[_unpack(index, rows)]
        case _:
            raise ValueError(f"a packed column is {packed!r:.60}")
    if len(found) != rows:
        raise ValueError(f"a packed column has {len(found)} values, expected {rows}")
    return found
