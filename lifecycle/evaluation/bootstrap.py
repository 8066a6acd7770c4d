"""Bounds by drawing again: entities where rows of one entity are alike, else single rows. Seeded, in bulk. Pure.

Entities (or rows) with an attack and those without are drawn apart, so that every draw has both. Source: Davison & Hinkley (1997),
"Bootstrap Methods and their Application", 3.2 (strata) and 3.8 (clusters); bounds are percentiles."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask, entity_codes
from lifecycle.metrics.intervals import UNDEFINED, Interval, wilson_bounds

DRAWS: Final = 1000
FEW: Final = 10
"""Bounds of a share that rest on fewer independent things are at least as wide as Wilson's for so many trials."""
COUNTED: Final = ("precision", "recall", "f1", "false_alarm_rate")
LEVELS: Final = 2000
"""Scores told apart in draws; more make bounds no better and take long."""
_ROWS_IN_FULL: Final = 50_000
_LEAST_DRAWS: Final = 200
_NUMBERS_AT_ONCE: Final = 300_000
_TAILS: Final = (0.025, 0.975)

Statistic = Callable[[Floats], Floats]
"""Row weights, shape (b, n) -> figures, shape (b, m)."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """What is drawn. of_row: the cluster of each row, shape (n,), 0 to `count` - 1. strata: the clusters of each stratum."""

    of_row: NDArray[np.int64]
    count: int
    strata: tuple[NDArray[np.int64], ...]
    is_by_row: bool = False

    def having(self, rows: Mask) -> int:
        """How many clusters have one of these rows. rows: shape (n,)."""
        return len(np.unique(self.of_row[rows]))

    def weights(self, draws: int, seed: int) -> Iterator[Floats]:
        """How often each row is drawn, some draws at a time: shapes (b, n), `draws` in all."""
        rng = np.random.default_rng(seed)
        at_once = max(1, _NUMBERS_AT_ONCE // max(len(self.of_row), self.count, 1))
        for first in range(0, draws, at_once):
            b = min(at_once, draws - first)
            times = np.zeros((b, self.count))
            for stratum in self.strata:
                k = len(stratum)
                drawn = rng.integers(0, k, (b, k)) + np.arange(b)[:, None] * k
                times[:, stratum] = np.bincount(drawn.ravel(), minlength=b * k).reshape(b, k)
            yield times if self.is_by_row else times[:, self.of_row]


def by_row(attack: Mask) -> Clusters:
    """Every row is a cluster of its own. attack: shape (n,)."""
    return replace(_stratified(np.arange(len(attack)), len(attack), attack), is_by_row=True)


def by_entity(entity: NDArray[np.object_], attack: Mask) -> Clusters:
    """The rows of one entity are drawn together. Both of shape (n,)."""
    names, of_row = entity_codes(entity)
    return _stratified(of_row, len(names), attack)


def _stratified(of_row: NDArray[np.int64], count: int, attack: Mask) -> Clusters:
    is_attacked = np.bincount(of_row, weights=attack, minlength=count) > 0
    strata = (np.flatnonzero(is_attacked), np.flatnonzero(~is_attacked))
    return Clusters(of_row, count, tuple(s for s in strata if len(s)))


def bootstrap(clusters: Clusters, statistics: list[Statistic], *, draws: int = DRAWS, seed: int = 0) -> list[Floats]:
    """The figures of every draw, each of shape (draws, m). All statistics see the same draws, so differences are paired."""
    found: list[list[Floats]] = [[] for _ in statistics]
    for weights in clusters.weights(draws, seed):
        for kept, statistic in zip(found, statistics, strict=True):
            kept.append(statistic(weights))
    return [np.concatenate(kept) for kept in found]


def draws_for(rows: int) -> int:
    """DRAWS up to 50,000 rows, then fewer, down to 200: bounds of many rows are narrow, and a draw of them takes long."""
    return max(_LEAST_DRAWS, min(DRAWS, DRAWS * _ROWS_IN_FULL // max(rows, 1)))


def share_interval(value: float | None, drawn: Floats, units: int) -> Interval:
    """Bounds of a figure between 0 and 1. drawn: shape (b,); NaN where a draw has nothing to count. units: clusters that bear on it.

    Draws that are all alike bound nothing (nothing was missed yet), and few clusters bound too tightly: then the bounds are at least
    Wilson's for `units` trials."""
    known = drawn[~np.isnan(drawn)]
    if value is None or len(known) == 0 or units == 0:
        return UNDEFINED
    low, high = (float(q) for q in np.quantile(known, _TAILS))
    if units < FEW or low == high:
        least, most = wilson_bounds(value, units)
        low, high = min(low, least), max(high, most)
    return Interval(value, max(0.0, min(low, value)), min(1.0, max(high, value)), "bootstrap", units)


def figure_interval(value: float | None, drawn: Floats, units: int) -> Interval:
    """Bounds of any other figure, e.g. a loss or a difference."""
    known = drawn[~np.isnan(drawn)]
    if value is None or len(known) == 0 or units == 0:
        return UNDEFINED
    low, high = (float(q) for q in np.quantile(known, _TAILS))
    return Interval(value, min(low, value), max(high, value), "bootstrap", units)


def counted(hits: Floats, alarms: Floats, attacks: Floats, benign: Floats) -> Floats:
    """COUNTED of weighted counts, NaN where there is nothing to count. Each of shape (b,); result (b, 4)."""
    alerts = hits + alarms
    return np.stack(
        [_ratio(hits, alerts), _ratio(hits, attacks), _ratio(2 * hits, alerts + attacks), _ratio(alarms, benign)], axis=1
    )


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0), dtype=np.float64)
