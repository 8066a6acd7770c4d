"""Windowed aggregates of an entity's events, on whole-second ticks. Pure and vectorised: numpy in, numpy out.

At tick T (a whole second) a window of W seconds covers the events with T - W < time <= T; an event is in the tick that ends its
second. An entity has a row at T only if one of its events came in that last second. Where the rows go (the feature store) and
which event reads which row (its point-in-time join) is not decided here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.errors import FeatureError

Ints = NDArray[np.int64]
SECOND_US = 1_000_000


class SpanTooLong(FeatureError):
    """Entities times time exceed 64 bits."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is aggregated. op: count | sum | mean | distinct. values: shape (n,): numbers for sum and mean, codes for distinct

    (negative: no value, not counted); ignored for count."""

    op: str
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Ticks:
    """The rows of all views. entity: codes, shape (m,). at_us: tick, microseconds.

    columns: view -> feature -> values, shape (m,): int64 for counts, float64 for sums and means."""

    entity: Ints
    at_us: Ints
    columns: Mapping[str, Mapping[str, NDArray[Any]]]


def aggregate(
    entity: Ints, at_us: Ints, measures: Mapping[str, Measure], windows_s: Mapping[str, int], *, after_us: int | None = None
) -> Ticks:
    """Aggregate events; rows sorted by tick, then entity. For the arguments see `aggregate_by_entity`."""
    ticks = aggregate_by_entity(entity, at_us, measures, windows_s, after_us=after_us)
    by_time = np.lexsort((ticks.entity, ticks.at_us))
    columns = {v: {n: c[by_time] for n, c in named.items()} for v, named in ticks.columns.items()}
    return Ticks(ticks.entity[by_time], ticks.at_us[by_time], columns)


def aggregate_by_entity(
    entity: Ints, at_us: Ints, measures: Mapping[str, Measure], windows_s: Mapping[str, int], *, after_us: int | None = None
) -> Ticks:
    """Aggregate events; rows sorted by entity, then tick. entity: codes >= 0, shape (n,). at_us: when each event counts,
    microseconds, any order, >= 0. measures, windows_s: by feature and by view.

    after_us: only rows of later ticks are made; earlier events are counted in them as far as their windows reach.
    Raises SpanTooLong."""
    order = np.lexsort((at_us, entity))
    who, when = entity[order], at_us[order]
    tick = -(-when // SECOND_US) * SECOND_US
    is_new = np.ones(len(who), dtype=np.bool_)  # both are sorted
    is_new[1:] = (who[1:] != who[:-1]) | (tick[1:] != tick[:-1])
    if after_us is not None:
        is_new &= tick > after_us
    rows = (who[is_new], tick[is_new])
    line = _Line(who, when, *rows)
    counted = {name: _counted(line, m.op, np.asarray(m.values)[order]) for name, m in measures.items()}
    columns: dict[str, dict[str, NDArray[Any]]] = {}
    for view, seconds in windows_s.items():
        window = _Window(line, seconds * SECOND_US)
        columns[view] = {name: count(window) for name, count in counted.items()}
    return Ticks(*rows, columns)


class _Line:
    """Entities laid end to end on one time line, so that one binary search serves them all."""

    def __init__(self, who: Ints, when: Ints, row_who: Ints, row_at: Ints) -> None:
        start = int(when.min()) if len(when) else 0
        self.span = (int(row_at.max()) - start + 1 if len(row_at) else 1) * 2
        if len(who) and (int(who.max()) + 1) * self.span >= 2**63:
            first, last = (np.datetime64(t, "us").astype("datetime64[s]") for t in (start, int(row_at.max())))
            raise SpanTooLong(
                f"event times from {first} to {last} of {int(who.max()) + 1} entities are too long a span to count windows in; "
                "check for wrong times, or take a shorter span"
            )
        self.start, self.who, self.row_who = start, who, row_who
        self.when, self.row_at = when - start, row_at - start
        self.events = who * self.span + self.when

        self.now = row_who * self.span + self.row_at
        self.high: Ints = np.searchsorted(self.events, self.now, side="right")
        """One past the last event at or before each row."""


class _Window:
    """One length of window. low: the first event in each row's window."""

    def __init__(self, line: _Line, window_us: int) -> None:
        self.line, self.window_us = line, window_us
        lower = line.row_who * line.span + np.maximum(line.row_at - window_us, -1)
        self.low: Ints = np.searchsorted(line.events, lower, side="right")


_Count = Callable[[_Window], NDArray[Any]]
"""One measure's value at each row; what does not depend on the length of the window is worked out before."""


def _counted(line: _Line, op: str, values: NDArray[Any]) -> _Count:
    """values: of the line's events, in its order."""
    match op:
        case "count":
            return lambda window: (line.high - window.low).astype(np.int64)
        case "sum":
            return _sums(line, values)
        case "mean":
            sums = _sums(line, values)
            return lambda window: np.asarray(sums(window) / np.maximum(line.high - window.low, 1))
        case "distinct":
            return _distinct(line, values)
        case other:
            raise ValueError(f"unknown aggregate {other!r}; expected count, sum, mean or distinct")


def _sums(line: _Line, values: NDArray[Any]) -> _Count:
    whole = values.astype(np.float64)
    if np.all(whole == np.floor(whole)) and np.abs(whole).sum() < 2**62:
        running = np.concatenate([[0], np.cumsum(whole.astype(np.int64))])  # exact where the values are whole
        return lambda window: np.asarray(running[line.high] - running[window.low], dtype=np.float64)
    padded = np.append(whole, 0.0)

    def sums(window: _Window) -> NDArray[Any]:
        pairs = np.stack([window.low, line.high], axis=1).ravel()
        return np.asarray(np.add.reduceat(padded, pairs)[::2] if len(pairs) else whole[:0])

    return sums


def _distinct(line: _Line, codes: NDArray[Any]) -> _Count:
    """An event counts its value until it leaves the window or the same value comes again."""
    known = codes >= 0
    who, when, code = line.who[known], line.when[known], codes[known].astype(np.int64)
    born = np.concatenate([[0], np.cumsum(known)])[line.high]
    _, code = np.unique(code, return_inverse=True)
    values = int(code.max(initial=-1)) + 1
    order = np.argsort(who * values + code, kind="stable")  # fewer than the square of the events: no overflow
    again = np.full(len(when), line.span - 1, dtype=np.int64)
    is_same = (who[order][1:] == who[order][:-1]) & (code[order][1:] == code[order][:-1])
    again[order[:-1][is_same]] = when[order[1:][is_same]]

    def distinct(window: _Window) -> NDArray[Any]:
        until = np.minimum(when + window.window_us, again)
        died = np.searchsorted(np.sort(who * line.span + until), line.now, side="right")
        return (born - died).astype(np.int64)

    return distinct
