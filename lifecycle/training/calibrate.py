"""Probabilities with honest bounds: inductive Venn-Abers calibration of scores. Pure.

Source: Vovk, Petej & Fedorova (2015), "Large-scale probabilistic predictors with and without guarantees of validity", NIPS."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from serving.models.manifest import Calibration

LEVELS: Final = 400


def venn_abers(scores: NDArray[np.float32], attack: NDArray[np.bool_], levels: int = LEVELS) -> Calibration:
    """Step functions of the lower and upper probability. Scores are first grouped to at most about `levels` levels of about

    equal mass in each class, which is only a coarser score and leaves the method as valid."""
    edges = _levels(scores.astype(np.float64), attack, levels)
    group = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, None)
    total = np.bincount(group, minlength=len(edges)).astype(np.float64)
    positive = np.bincount(group, weights=attack, minlength=len(edges)).astype(np.float64)
    low, high = _fits_with_one_more(positive, total, 0), _fits_with_one_more(positive, total, 1)
    low, high = np.maximum.accumulate(low), np.maximum.accumulate(high)
    keep = np.append(True, (np.diff(low) > 0) | (np.diff(high) > 0))
    return Calibration(
        scores=tuple(edges[keep].tolist()), low=tuple(low[keep].tolist()), high=tuple(high[keep].tolist()), rows=len(scores)
    )


def _levels(scores: Floats, attack: NDArray[np.bool_], levels: int) -> Floats:
    """Lower edges of the levels: quantiles of each class, so that both tails are resolved."""
    at = np.linspace(0, 1, levels // 2)
    edges = [np.quantile(scores[mask], at, method="lower") for mask in (attack, ~attack) if mask.any()]
    return np.unique(np.concatenate([*edges, [scores.min()]]))


def _fits_with_one_more(positive: Floats, total: Floats, hit: int) -> Floats:
    """For each level: the isotonic fit at it, were one more row in it, of class `hit`. Shape as given; the counts are whole numbers.

    The fit at a level is the mean of its pool. Pools of all levels before it and of all after it are known without the added row, so only
    those next to it have to be pooled with it."""
    n = len(total)
    hits, rows = ([0, *np.cumsum(counts).astype(np.int64).tolist()] for counts in (positive, total))
    first, last = _pool_starts(hits, rows), _pool_ends(hits, rows)
    found = np.empty(n)
    for level in range(n):
        begin, end = level, level + 1  # the pool, as places of the cumulated counts
        while True:
            h, m = hits[end] - hits[begin] + hit, rows[end] - rows[begin] + 1
            if begin and (hits[begin] - hits[first[begin - 1]]) * m >= h * (rows[begin] - rows[first[begin - 1]]):
                begin = first[begin - 1]
            elif end < n and h * (rows[last[end]] - rows[end]) >= (hits[last[end]] - hits[end]) * m:
                end = last[end]
            else:
                break
        found[level] = h / m
    return found


def _pool_starts(hits: list[int], rows: list[int]) -> list[int]:
    """For each level: where its pool begins in the isotonic fit of the levels up to it. hits, rows: cumulated counts, from 0."""
    found: list[int] = []
    for level in range(len(rows) - 1):
        begin = level
        while begin and (hits[begin] - hits[found[begin - 1]]) * (rows[level + 1] - rows[begin]) >= (
            hits[level + 1] - hits[begin]
        ) * (rows[begin] - rows[found[begin - 1]]):
            begin = found[begin - 1]
        found.append(begin)
    return found


def _pool_ends(hits: list[int], rows: list[int]) -> list[int]:
    """For each level: behind where its pool ends in the isotonic fit of the levels from it on."""
    n = len(rows) - 1
    found = [0] * n
    for level in reversed(range(n)):
        end = level + 1
        while end < n and (hits[end] - hits[level]) * (rows[found[end]] - rows[end]) >= (hits[found[end]] - hits[end]) * (
            rows[end] - rows[level]
        ):
            end = found[end]
        found[level] = end
    return found
