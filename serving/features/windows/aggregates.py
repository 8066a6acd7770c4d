"""Windowed aggregates of an entity's events, on whole-second ticks. Pure and vectorised: numpy in, numpy out.

At tick T (a whole second) a window of W seconds covers the events with T - W < time <= T; an event is in the tick that ends its
second. An entity has a row at T only if one of its events came in that last second. Where the rows go (the feature store) and
which event reads which row (its point-in-time join) is not decided here."""

from collections.abc import Mapping
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
    columns = {
        view: {
            name: _measure(line, Measure(m.op, np.asarray(m.values)[order]), seconds * SECOND_US)
            for name, m in measures.items()
        }
        for view, seconds in windows_s.items()
    }
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

    def bounds(self, window_us: int) -> tuple[Ints, Ints]:
        """First event in each row's window, and one past the last."""
        base = self.row_who * self.span
        lower = base + np.maximum(self.row_at - window_us, -1)
        return np.searchsorted(self.events, lower, side="right"), np.searchsorted(self.events, base + self.row_at, side="right")


def _measure(line: _Line, measure: Measure, window_us: int) -> NDArray[Any]:
    low, high = line.bounds(window_us)
    match measure.op:
        case "count":
            return (high - low).astype(np.int64)
        case "sum":
            return _between(measure.values, low, high)
        case "mean":
            return np.asarray(_between(measure.values, low, high) / np.maximum(high - low, 1))
        case "distinct":
            return _distinct(line, measure.values, window_us)
        case other:
            raise ValueError(f"unknown aggregate {other!r}; expected count, sum, mean or distinct")


def _between(values: NDArray[Any], low: Ints, high: Ints) -> NDArray[np.float64]:
    whole = values.astype(np.float64)
    if np.all(whole == np.floor(whole)) and np.abs(whole).sum() < 2**62:
        running = np.concatenate([[0], np.cumsum(whole.astype(np.int64))])  # exact where the values are whole
        return np.asarray(running[high] - running[low], dtype=np.float64)
    return np.add.reduceat(np.append(whole, 0.0), np.stack([low, high], axis=1).ravel())[::2] if len(low) else whole[:0]


def _distinct(line: _Line, codes: NDArray[Any], window_us: int) -> Ints:
    """An event counts its value until it leaves the window or the same value comes again."""
    known = codes >= 0
    who, when, code = line.who[known], line.when[known], codes[known]
    order = np.lexsort((when, code, who))
    who, when, code = who[order], when[order], code[order]
    until = when + window_us
    again = (who[1:] == who[:-1]) & (code[1:] == code[:-1])
    until[:-1] = np.where(again, np.minimum(until[:-1], when[1:]), until[:-1])
    until = np.minimum(until, line.span - 1)
    births, deaths = np.sort(who * line.span + when), np.sort(who * line.span + until)
    now = line.row_who * line.span + line.row_at
    return (np.searchsorted(births, now, side="right") - np.searchsorted(deaths, now, side="right")).astype(np.int64)
