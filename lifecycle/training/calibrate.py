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
    low = np.array([_isotonic(positive, total + _one(len(edges), i))[i] for i in range(len(edges))])
    high = np.array([_isotonic(positive + _one(len(edges), i), total + _one(len(edges), i))[i] for i in range(len(edges))])
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


def _one(size: int, at: int) -> Floats:
    row = np.zeros(size)
    row[at] = 1.0
    return row


def _isotonic(positive: Floats, total: Floats) -> Floats:
    """Pool adjacent violators; the fitted share of positives of each level."""
    starts, hits, rows = [], [], []
    for i, (h, n) in enumerate(zip(positive.tolist(), total.tolist(), strict=True)):
        starts.append(i)
        hits.append(h)
        rows.append(n)
        while len(rows) > 1 and hits[-2] * rows[-1] >= hits[-1] * rows[-2]:
            starts.pop()
            hits[-2:], rows[-2:] = [hits[-2] + hits[-1]], [rows[-2] + rows[-1]]
    lengths = np.diff([*starts, len(total)])
    return np.repeat(np.array(hits) / np.array(rows), lengths)
