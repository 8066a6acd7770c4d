"""How many different values an entity's events had in each window. Exact up to a bound, a sketch from there on.

Exact: each value with the last second it came in, and for each second how many values came last in it. What a second changed is kept
until nothing late can come before it, so that an earlier second can still be asked.
A sketch: CPC of Apache DataSketches, one for each part of a window; a window is the union of its parts. The parts are a 60th of the
window, at least a second, and a window counts whole parts: it reaches back up to one part further than an exact one. A union does not
depend on the order of its values, so that a restored state answers as the state before.
Source: Lang (2017), "Back to the future: an even more nearly optimal cardinality estimation algorithm", arXiv:1708.06839."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import datasketches

LG_K: Final = 11
"""A sketch has 2^11 rows: relative standard error of a union 0.693 / sqrt(2048) = 1.5 %, about 2 kB."""
_PARTS: Final = 60
UNKNOWN: Final = -1
BEFORE_ALL: Final = -(2**63)
"""A second before all others."""

DistinctValue = bytes | int | float | bool


class ExactDistinct:
    """The values of one column of one entity, in closed seconds. windows: how many there are, ascending by length.

    counts: as of the newest second, by window. history: the same as of each second, one after the other; UNKNOWN where it was not
    worked out."""

    __slots__ = ("counts", "history", "last", "per_second", "undo")

    def __init__(self, windows: int) -> None:
        self.last: dict[DistinctValue, int] = {}
        self.per_second: dict[int, int] = {}
        self.counts = [0] * windows
        self.history: list[int] = []
        self.undo: dict[int, dict[DistinctValue, int | None]] = {}

    def expire(self, window: int, second: int) -> None:
        """A second has left a window."""
        self.counts[window] -= self.per_second.get(second, 0)

    def close(self, second: int, values: Iterable[DistinctValue], cuts: Sequence[int], *, remember: bool) -> None:
        """Take in the values of a second that is newer than all before. cuts: the newest second that is in no window, by window."""
        last, per_second, counts = self.last, self.per_second, self.counts
        newest_cut, added, born, changes = cuts[0], 0, 0, {}
        for value in values:
            before = last.get(value)
            last[value] = second
            added += 1
            if remember:
                changes[value] = before
            if before is None:
                born += 1
                continue
            if before in per_second:
                per_second[before] -= 1
            if before <= newest_cut:
                for window, cut in enumerate(cuts):
                    if before <= cut:
                        counts[window] += 1
        if born:
            for window in range(len(counts)):
                counts[window] += born
        per_second[second] = added
        if remember:
            self.undo[second] = changes
        self.history += counts

    def make_room(self, place: int) -> None:
        """A second that is not the newest was inserted at this place of the seconds."""
        width = len(self.counts)
        self.history[place * width : place * width] = [UNKNOWN] * width

    def forget(self, seconds: int) -> None:
        """The oldest so many seconds are gone."""
        del self.history[: seconds * len(self.counts)]

    def insert(self, value: DistinctValue, ticks: Sequence[int], place: int, windows: Sequence[int], *, remember: bool) -> None:
        """Take in a value of the second at this place of all seconds, which is not the newest. windows: their lengths."""
        second, undo = ticks[place], self.undo
        before, following = self.last.get(value), None
        while before is not None and before > second:  # the value came again since
            changes = undo.get(before)
            if changes is None or value not in changes:
                break
            following, before = before, changes[value]
        if remember and second not in undo:
            undo[second] = {}
        if before is not None and before >= second:
            return
        if following is not None:
            undo[following][value] = second
        else:
            self._move(value, before, second, [ticks[-1] - window for window in windows])
        if remember:
            undo[second][value] = before
        self._correct(ticks, place, before, following, windows)

    def _correct(
        self, ticks: Sequence[int], place: int, before: int | None, following: int | None, windows: Sequence[int]
    ) -> None:
        """Count a new value of the second at `place` in the history. before, following: the value's seconds around it."""
        history, width, second = self.history, len(windows), ticks[place]
        end = len(ticks) if following is None else bisect_left(ticks, following, place)
        for window, length in enumerate(windows):
            last = min(end, bisect_left(ticks, second + length, place))
            first = place if before is None else max(place, bisect_left(ticks, before + length, place))
            for at in range(first * width + window, last * width + window, width):
                if history[at] >= 0:
                    history[at] += 1

    def then(self, place: int, second: int, windows: Sequence[int]) -> Sequence[int]:
        """The counts as of an earlier second, the one at this place of all; `undo` must reach it."""
        low, width = place * len(windows), len(windows)
        found = self.history[low : low + width]
        if found[0] == UNKNOWN:
            self.history[low : low + width] = found = self.at(second, windows)
        return found

    def _move(self, value: DistinctValue, before: int | None, second: int, cuts: Sequence[int]) -> None:
        if before is not None and before in self.per_second:
            self.per_second[before] -= 1
        self.last[value] = second
        self.per_second[second] = self.per_second.get(second, 0) + 1
        for window, cut in enumerate(cuts):
            if second > cut and (before is None or before <= cut):
                self.counts[window] += 1

    def at(self, second: int, windows: Sequence[int], *, gone: int = BEFORE_ALL, horizon: int = BEFORE_ALL) -> list[int]:
        """The counts as of an earlier second that undo still reaches: of the values that came last in each window until then, and of those
        that came again since. gone: nothing at or before this second counts. horizon: no change of a second up to this one is undone."""
        then: dict[DistinctValue, int | None] = {}
        for later in sorted((s for s in self.undo if s > second and s > horizon), reverse=True):
            then.update(self.undo[later])
        found = []
        per_second = [(s, n) for s, n in self.per_second.items() if n and gone < s <= second]
        again = [at for at in then.values() if at is not None and gone < at <= second]
        for window in windows:
            cut = second - window
            found.append(sum([n for s, n in per_second if s > cut]) + sum([at > cut for at in again]))
        return found

    @property
    def remembered(self) -> int:
        """How many changes of values are kept for late events."""
        return sum(map(len, self.undo.values()))

    def trim(self, cut: int, horizon: int) -> None:
        """Forget values that came last at or before `cut`, and what seconds up to `horizon` changed."""
        for second in [s for s in self.undo if s <= horizon]:
            del self.undo[second]
        if len(self.last) > 2 * self.counts[-1] + 4:
            self.last = {value: second for value, second in self.last.items() if second > cut}
        if len(self.per_second) > 8:
            self.per_second = {second: count for second, count in self.per_second.items() if second > cut}


class SketchedDistinct:
    """The same, as sketches. Late values go to the part of their second."""

    __slots__ = ("_longest", "parts", "windows")

    def __init__(self, windows: Sequence[int]) -> None:
        self.windows = tuple((window, max(1, window // _PARTS)) for window in windows)
        self.parts: dict[int, dict[int, Any]] = {grain: {} for _, grain in self.windows}
        self._longest = {grain: window for window, grain in sorted(self.windows)}

    def add(self, second: int, value: DistinctValue) -> None:
        """Take in one value."""
        text = value.decode("latin-1") if isinstance(value, bytes) else repr(value)
        for grain, parts in self.parts.items():
            part = -(-second // grain)
            sketch = parts.get(part)
            if sketch is None:
                sketch = parts[part] = datasketches.cpc_sketch(LG_K)
            sketch.update(text)

    def at(self, second: int) -> list[int]:
        """The estimates as of a second, by window."""
        found = []
        for window, grain in self.windows:
            first, last = (second - window) // grain + 1, -(-second // grain)
            union = datasketches.cpc_union(LG_K)
            for part, sketch in self.parts[grain].items():
                if first <= part <= last:
                    union.update(sketch)
            found.append(round(union.get_result().get_estimate()))
        return found

    def kept(self, asked: int) -> Iterator[tuple[int, int, Any]]:
        """The parts that rows at or after the second `asked` need: grain, part, sketch."""
        for grain, parts in self.parts.items():
            for part, sketch in parts.items():
                if part * grain > asked - self._longest[grain]:
                    yield grain, part, sketch

    def trim(self, asked: int) -> None:
        """Forget parts that no row at or after this second needs."""
        for grain, parts in self.parts.items():
            for part in [p for p in parts if p * grain <= asked - self._longest[grain]]:
                del parts[part]


def read_sketch(written: bytes) -> Any:
    """A part as it was serialised. Raises ValueError."""
    try:
        return datasketches.cpc_sketch.deserialize(written)
    except RuntimeError as problem:  # the library's own
        raise ValueError(f"a sketch cannot be read: {problem}") from problem
