"""Rows whose labels teach most: near the threshold, and unlike each other. Pure.

Of the rows nearest to their threshold, counted in ranks of the score so that its scale does not matter, k-means++ seeding chooses ones
that are far apart (Arthur & Vassilvitskii 2007), as in Zhdanov (2019), "Diverse mini-batch active learning": first uncertainty, then
diversity among the uncertain."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.monitoring.windows.answered import AnsweredRows
from serving.models.verdicts import VERDICTS

POOL: Final = 10
"""Uncertain rows among which each chosen one is chosen."""
MOST_VALUES: Final = 20
"""Values of a text column that count as ones of their own, the most frequent; the others are one."""
_ALERT: Final = VERDICTS.index("alert")


def uncertainty(rows: AnsweredRows) -> Floats:
    """How near each row's score is to the alert threshold of its revision, shape (n,): 1 at it, 0 as far as can be, by rank. Rows without a
    score have 0.

    The threshold is read off the answers: it lies between the highest score without an alert and the lowest with one."""
    found = np.zeros(len(rows))
    for revision in set(rows.revisions.tolist()):
        at = np.flatnonzero((rows.revisions == revision) & np.isfinite(rows.scores))
        if not len(at):
            continue
        scores, is_alert = rows.scores[at], rows.verdicts[at] == _ALERT
        ordered = np.sort(scores)
        quiet = scores[~is_alert].max() if (~is_alert).any() else -np.inf
        loud = scores[is_alert].min() if is_alert.any() else np.inf
        threshold = (quiet + loud) / 2 if np.isfinite(quiet) and np.isfinite(loud) else (quiet if np.isfinite(quiet) else loud)
        middle = (np.searchsorted(ordered, threshold, "left") + np.searchsorted(ordered, threshold, "right")) / 2
        place = (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / 2
        found[at] = 1 - np.abs(place - middle) / len(at)
    return found


def standardised(columns: Mapping[str, NDArray[Any]], rows: int) -> Floats:
    """Columns as coordinates, shape (rows, d). Numbers: distance to the median in interquartile ranges, at most 3; missing ones lie at the
    median. Text: one coordinate for each frequent value, so that two values are 1 apart."""
    found: list[Floats] = []
    for _, column in sorted(columns.items()):
        if column.dtype == object:
            found += _values(column)
            continue
        numbers = np.asarray(column, dtype=np.float64)
        finite = numbers[np.isfinite(numbers)]
        if not len(finite):
            continue
        low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
        spread = high - low or finite.std()
        if spread > 0 and np.isfinite(spread):
            found.append(np.clip(np.where(np.isfinite(numbers), (numbers - middle) / spread, 0.0), -3, 3))
    return np.stack(found, axis=1) if found else np.zeros((rows, 0))


def _values(column: NDArray[Any]) -> list[Floats]:
    texts = np.array(["" if value is None else str(value) for value in column])
    values, counts = np.unique(texts, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")][:MOST_VALUES]
    return [(texts == value) / np.sqrt(2) for value in frequent] if len(values) > 1 else []


def spread_out(points: Floats, first: int, count: int, rng: np.random.Generator) -> list[int]:
    """Places of `count` points, chosen by k-means++ seeding from `first` on: each with a probability that grows with the square of its
    distance to the nearest chosen one. Fewer where there are fewer."""
    chosen = [first]
    nearest = ((points - points[first]) ** 2).sum(axis=1)
    nearest[first] = -1.0
    while len(chosen) < min(count, len(points)):
        weights = np.maximum(nearest, 0.0)
        total = weights.sum()
        at = int(rng.choice(len(points), p=weights / total)) if total > 0 else int(np.flatnonzero(nearest >= 0)[0])
        chosen.append(at)
        nearest = np.where(nearest < 0, -1.0, np.minimum(nearest, ((points - points[at]) ** 2).sum(axis=1)))
        nearest[at] = -1.0
    return chosen


def informative(rows: AnsweredRows, open_places: Sequence[int], count: int, seed: int) -> list[int]:
    """Places of the rows whose labels teach most, at most `count`. open_places: rows that may be chosen: without a label, not chosen yet.

    The same for the same rows and seed. The pool is POOL times as large as what is chosen; the first is the most uncertain one."""
    if count < 1:
        return []
    near = uncertainty(rows)
    candidates = sorted(
        (place for place in open_places if near[place] > 0), key=lambda place: (-near[place], str(rows.events[place]))
    )
    pool = np.array(candidates[: max(count * POOL, count)], dtype=np.intp)
    if not len(pool):
        return []
    points = standardised({name: column[pool] for name, column in rows.columns.items()}, len(pool))
    rng = np.random.default_rng([seed & (2**63 - 1), 0x71756575])
    return [int(pool[at]) for at in spread_out(points, 0, count, rng)]
