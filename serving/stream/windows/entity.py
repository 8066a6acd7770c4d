"""What is kept of one entity: its seconds, the running sums over them, the values of each, and the row of its newest closed second.

Events come mostly in order. The newest second stays open until a later event or a read asks for its row; then it is closed: windows
move on, the row is computed once and serves every event until the next second closes. An event of an earlier second is inserted where it
belongs, and the row is computed anew. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum
from operator import add as plus
from operator import sub as minus
from typing import Any, Final

from serving.stream.windows.distinct import ExactDistinct, SketchedDistinct
from serving.stream.windows.plan import WindowPlan

_TRIM_FROM: Final = 2
_TRIM_EVERY: Final = 16
_MOST_REMEMBERED: Final = 4
"""Times the bound: changes of an entity's values that are kept for late events; a host with more has a sketch."""
NO_ROW: tuple[int, bytes, bool] = (0, b"", False)


class EntityWindows:
    """One entity. Seconds are ticks: a second's events are those after the tick before it and up to it.

    ticks: closed ones, ascending. totals: for each tick the events up to and with it and the sums over them, after those before the
    first one; a sum of numbers that are not whole means nothing there. loose: of those numbers the sum of each tick alone, a list for each.
    lows: for each window the place of its first tick. open_*: the newest tick, not closed yet; None: all are."""

    __slots__ = ("distinct", "loose", "lows", "open_tick", "open_totals", "open_values", "row", "ticks", "totals")

    def __init__(self) -> None:
        self.open_tick: int | None = None
        self.open_totals: tuple[Any, ...] = ()
        self.open_values: list[list[Any]] = []
        self.ticks: list[int] = []
        self.totals: list[tuple[Any, ...]] = []
        self.loose: list[list[Any]] = []
        self.lows: list[int] = []
        self.distinct: list[ExactDistinct | SketchedDistinct] = []
        self.row: tuple[int, bytes, bool] = NO_ROW

    @property
    def newest(self) -> int:
        """The newest tick."""
        return self.open_tick if self.open_tick is not None else self.ticks[-1]


class EntityCounting:
    """The verbs over entities of one plan. bound: distinct values of an entity and column that are told apart exactly. lateness_s: how
    far before `horizon` nothing comes any more; 0: nothing comes late."""

    def __init__(self, plan: WindowPlan, bound: int, *, remembers: bool) -> None:
        self.plan, self.bound, self.remembers = plan, bound, remembers
        self._seconds, self._kept = plan.seconds, plan.kept_s
        self._loose = plan.loose
        self._pack = plan.pack.pack
        self._none = (0,) * (1 + len(plan.sums))
        self.sketched = 0
        """How many entities have a sketch."""

    def add(self, entity: EntityWindows, tick: int, numbers: tuple[Any, ...], values: Sequence[Any], horizon: int) -> None:
        """Count one event. numbers: 1 and a number for each sum. values: a value for each measure of distinct ones."""
        newest = entity.open_tick
        if newest == tick:
            entity.open_totals = tuple(map(plus, entity.open_totals, numbers))
            for place, value in enumerate(values):
                if value is not None:
                    self._keep(entity, place, value, tick)
            return
        if newest is None:
            if entity.ticks and tick <= entity.ticks[-1]:
                self._insert(entity, tick, numbers, values, horizon)
                return
        elif tick > newest:
            self.close(entity, horizon)
        elif entity.ticks and tick <= entity.ticks[-1]:
            self._insert(entity, tick, numbers, values, horizon)
            return
        else:  # between the closed ones and the open one: a closed tick of its own
            self._close(entity, tick, numbers, [[] if v is None else [v] for v in values], horizon)
            return
        entity.open_tick, entity.open_totals = tick, numbers
        if not entity.distinct:
            entity.open_values = [[] if value is None else [value] for value in values]
            return
        entity.open_values = [[] for _ in values]
        for place, value in enumerate(values):
            if value is not None:
                self._keep(entity, place, value, tick)

    def close(self, entity: EntityWindows, horizon: int) -> None:
        """Close the open tick, if there is one."""
        if entity.open_tick is not None:
            tick, entity.open_tick = entity.open_tick, None
            self._close(entity, tick, entity.open_totals, entity.open_values, horizon)
            entity.open_values = []

    def row(self, entity: EntityWindows, second: int, horizon: int) -> tuple[int, bytes, bool]:
        """The newest row at or before a second: its tick, its raw values, and whether a sketch is among them; NO_ROW if there is none."""
        opened = entity.open_tick
        if opened is not None and opened <= second:
            self.close(entity, horizon)
        ticks = entity.ticks
        if not ticks:
            return NO_ROW
        if ticks[-1] <= second:
            if entity.row is NO_ROW:
                entity.row = self._newest_row(entity)
            return entity.row
        return self._row_at(entity, second, horizon)

    def is_sketched(self, entity: EntityWindows) -> bool:
        """Whether the entity has a sketch."""
        return any(isinstance(measure, SketchedDistinct) for measure in entity.distinct)

    def _keep(self, entity: EntityWindows, place: int, value: Any, tick: int) -> None:
        """Keep a value of the open tick."""
        if entity.distinct and isinstance(sketched := entity.distinct[place], SketchedDistinct):
            sketched.add(tick, value)
            return
        values = entity.open_values[place]
        values.append(value)
        if len(values) > 2 * self.bound:
            values[:] = dict.fromkeys(values)
            if len(values) > self.bound:
                self._begin(entity)
                sketch = self._sketch(entity, place)
                for each in values:
                    sketch.add(tick, each)
                values.clear()

    def _begin(self, entity: EntityWindows) -> None:
        if not entity.totals:
            entity.totals, entity.lows = [self._none], [0] * len(self._seconds)
            entity.loose = [[] for _ in self._loose]
            entity.distinct = [ExactDistinct(len(self._seconds)) for _ in self.plan.distinct]

    def _close(self, entity: EntityWindows, tick: int, numbers: tuple[Any, ...], values: list[list[Any]], horizon: int) -> None:
        if not entity.totals:
            self._begin(entity)
        ticks, lows, distinct = entity.ticks, entity.lows, entity.distinct
        ticks.append(tick)
        cuts = [tick - seconds for seconds in self._seconds]
        self._expire(entity, cuts)
        entity.totals.append(tuple(map(plus, entity.totals[-1], numbers)))
        for kept, place in zip(entity.loose, self._loose, strict=True):
            kept.append(numbers[1 + place])
        remember = self.remembers and tick > horizon
        for place, (measure, came) in enumerate(zip(distinct, values, strict=True)):
            if isinstance(measure, ExactDistinct):
                measure.close(tick, dict.fromkeys(came) if len(came) > 1 else came, cuts, remember=remember)
                if measure.counts[-1] > self.bound:
                    self._sketch(entity, place)
            else:
                for value in came:
                    measure.add(tick, value)
        if lows[-1] >= _TRIM_FROM and 2 * lows[-1] >= len(ticks):
            self.trim(entity, horizon)
        elif len(ticks) % _TRIM_EVERY == 0:
            self._trim_values(entity, horizon)
        entity.row = self._newest_row(entity)

    def _expire(self, entity: EntityWindows, cuts: list[int]) -> None:
        """Move the windows on to the newest tick."""
        ticks, lows = entity.ticks, entity.lows
        for window, cut in enumerate(cuts):
            low = lows[window]
            while ticks[low] <= cut:
                for measure in entity.distinct:
                    if isinstance(measure, ExactDistinct):
                        measure.expire(window, ticks[low])
                low += 1
            lows[window] = low

    def asked(self, entity: EntityWindows, horizon: int) -> int:
        """The oldest tick whose row may still be asked: rows are asked at or after the horizon."""
        before = bisect_right(entity.ticks, horizon)
        return entity.ticks[before - 1] if before else entity.ticks[0]

    def cut(self, entity: EntityWindows, horizon: int) -> int:
        """The newest closed tick that no row needs any more."""
        return self.asked(entity, horizon) - self._kept

    def trim(self, entity: EntityWindows, horizon: int) -> None:
        """Forget ticks and values that no row needs any more."""
        cut = self.cut(entity, horizon)
        gone = bisect_right(entity.ticks, cut)
        if gone:
            del entity.ticks[:gone], entity.totals[:gone]
            for kept in entity.loose:
                del kept[:gone]
            for measure in entity.distinct:
                if isinstance(measure, ExactDistinct):
                    measure.forget(gone)
            entity.lows = [low - gone for low in entity.lows]
        self._trim_values(entity, horizon)

    def _trim_values(self, entity: EntityWindows, horizon: int) -> None:
        asked = self.asked(entity, horizon)
        for place, measure in enumerate(entity.distinct):
            if isinstance(measure, SketchedDistinct):
                measure.trim(asked)
                continue
            measure.trim(asked - self._kept, horizon)
            if measure.remembered > _MOST_REMEMBERED * self.bound:
                self._sketch(entity, place)

    def _newest_row(self, entity: EntityWindows) -> tuple[int, bytes, bool]:
        tick = entity.ticks[-1]
        found = [measure.counts if isinstance(measure, ExactDistinct) else measure.at(tick) for measure in entity.distinct]
        return self._row(entity, len(entity.ticks), entity.lows, found)

    def _row_at(self, entity: EntityWindows, second: int, horizon: int) -> tuple[int, bytes, bool]:
        """The row of an earlier second, for an event that comes late. From the horizon on it is exact. Before it, where nothing is counted
        any more, it is of what every state still has, whatever this one has not trimmed yet: so a restored state answers alike."""
        ticks, seconds = entity.ticks, self._seconds
        end = bisect_right(ticks, second)
        if second >= horizon:
            if not end:
                return NO_ROW
            tick = ticks[end - 1]
            lows = [bisect_right(ticks, tick - length, 0, end) for length in seconds]
            found = [m.then(end - 1, tick, seconds) if isinstance(m, ExactDistinct) else m.at(tick) for m in entity.distinct]
            return self._row(entity, end, lows, found)
        gone = self.cut(entity, horizon)
        first = bisect_right(ticks, gone)
        if end <= first:
            return NO_ROW
        tick = ticks[end - 1]
        lows = [bisect_right(ticks, tick - length, first, end) for length in seconds]
        found = [
            m.at(tick, seconds, gone=gone, horizon=horizon) if isinstance(m, ExactDistinct) else m.at(tick)
            for m in entity.distinct
        ]
        return self._row(entity, end, lows, found)

    def _row(self, entity: EntityWindows, end: int, lows: list[int], found: Sequence[Sequence[int]]) -> tuple[int, bytes, bool]:
        """The row of the ticks before place `end`. lows: the place of each window's first tick. found: distinct counts by column."""
        totals = entity.totals
        newest, values = totals[end], list[float]()
        for window, low in enumerate(lows):
            values += map(minus, newest, totals[low])
            for kept, place in zip(entity.loose, self._loose, strict=True):
                values[window * self.plan.width + 1 + place] = fsum(kept[low:end])
            for each in found:
                values.append(each[window])
        return entity.ticks[end - 1], self._pack(*values), self.sketched > 0 and self.is_sketched(entity)

    def _insert(self, entity: EntityWindows, tick: int, numbers: tuple[Any, ...], values: Sequence[Any], horizon: int) -> None:
        """Count an event of a tick that is closed, or that lies before one."""
        ticks, totals = entity.ticks, entity.totals
        at = bisect_left(ticks, tick)
        if ticks[at] != tick:
            ticks.insert(at, tick)
            totals.insert(at + 1, totals[at])
            for kept in entity.loose:
                kept.insert(at, 0.0)
            for measure in entity.distinct:
                if isinstance(measure, ExactDistinct):
                    measure.make_room(at)
        totals[at + 1 :] = [tuple(map(plus, total, numbers)) for total in totals[at + 1 :]]
        for kept, place in zip(entity.loose, self._loose, strict=True):
            kept[at] += numbers[1 + place]
        cuts = [ticks[-1] - seconds for seconds in self._seconds]
        entity.lows = [bisect_right(ticks, cut) for cut in cuts]
        for place, (measure, value) in enumerate(zip(entity.distinct, values, strict=True)):
            if value is None:
                continue
            if not isinstance(measure, ExactDistinct):
                measure.add(tick, value)
                continue
            measure.insert(value, ticks, at, self._seconds, remember=self.remembers and tick > horizon)
            if measure.counts[-1] > self.bound:
                self._sketch(entity, place)
        entity.row = NO_ROW

    def _sketch(self, entity: EntityWindows, place: int) -> SketchedDistinct:
        """From here on the values of this column are a sketch."""
        exact = entity.distinct[place]
        if isinstance(exact, SketchedDistinct):
            return exact
        self.sketched += not self.is_sketched(entity)
        made = SketchedDistinct(self._seconds)
        for value, second in sorted(exact.last.items(), key=lambda item: (item[1], repr(item[0]))):
            made.add(second, value)
        entity.distinct[place] = made
        return made
