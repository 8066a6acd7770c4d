"""Columns of two samples as numbers that tests of several columns together can use: ranks of numbers, places of text by frequency."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lifecycle.arrays import Floats
from lifecycle.monitoring.sequential.binning import text_of
from lifecycle.monitoring.statistics.count_tests import category_counts


def rows_of(columns: Mapping[str, NDArray[Any]]) -> int:
    """How many rows columns have."""
    return len(next(iter(columns.values()))) if columns else 0


def numeric_table(
    reference: Mapping[str, NDArray[Any]], current: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both samples as tables, (n, d) and (m, d): numbers as they are, text as its place by frequency in both, missing as NaN."""
    old, new = [], []
    for name, column in reference.items():
        a, b = column, current[name]
        if a.dtype.hasobject or b.dtype.hasobject:
            a, b = _places(a, b)
        old.append(a)
        new.append(b)
    with np.errstate(over="ignore"):  # beyond FP32 is infinite
        return np.stack(old, axis=1).astype(np.float32), np.stack(new, axis=1).astype(np.float32)


def normal_scores(table: NDArray[Any]) -> Floats:
    """Each column's ranks as standard normal scores, then centred and scaled to variance 1, (n, d). Missing values and constant columns
    are 0."""
    found = np.zeros(table.shape)
    for place in range(table.shape[1]):
        column = table[:, place]
        known = ~np.isnan(column)
        if known.any():
            found[known, place] = _scores(column[known])
    return found


def _scores(column: NDArray[Any]) -> Floats:
    _, places, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    scores = special.ndtri(ranks / (len(column) + 1))
    mean = float(counts @ scores) / len(column)
    spread = np.sqrt(float(counts @ (scores - mean) ** 2) / len(column))
    return np.asarray(((scores - mean) / spread)[places] if spread > 1e-12 else np.zeros(len(column)))


def _places(reference: NDArray[Any], current: NDArray[Any]) -> tuple[Floats, Floats]:
    reference, current = _as_text(reference), _as_text(current)
    is_known = [np.array([v is not None for v in column.tolist()], dtype=bool) for column in (reference, current)]
    names, old, new = category_counts(reference[is_known[0]], current[is_known[1]])
    order = np.argsort(-(old + new), kind="stable")
    place = {names[i]: float(rank) for rank, i in enumerate(order.tolist())}
    a, b = (np.array([place.get(v, np.nan) for v in column.tolist()]) for column in (reference, current))
    return a, b


def _as_text(column: NDArray[Any]) -> NDArray[Any]:
    """A column that is numbers in one sample and text in the other."""
    if column.dtype.hasobject:
        return column
    return np.array([None if np.isnan(v) else text_of(v) for v in column.tolist()], dtype=object)
