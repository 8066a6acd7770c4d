"""Kinds of benign rows, where the data names none: clusters of similar rows, to be left out together. Pure.

The same rows and count give the same kinds. Source: Lloyd (1982), "Least squares quantization in PCM", from rows drawn at random."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats

ROUNDS: Final = 15


def kinds_of(frame: Any, columns: tuple[str, ...], count: int) -> NDArray[np.int64]:
    """The cluster of each row, shape (n,), by its numeric columns; counts and sizes on a log scale, all with variance 1."""
    numbers = [frame[c].to_numpy(dtype=np.float64) for c in columns if frame[c].dtype != object]
    points = np.stack([_scaled(v) for v in numbers], axis=1)
    centres = points[np.sort(np.random.default_rng(count).permutation(len(points))[:count])]
    for _ in range(ROUNDS):
        nearest = _nearest(points, centres)
        members = np.bincount(nearest, minlength=len(centres))
        sums = np.stack(
            [np.bincount(nearest, weights=points[:, d], minlength=len(centres)) for d in range(points.shape[1])], axis=1
        )
        centres = np.where(members[:, None] > 0, sums / np.maximum(members, 1)[:, None], centres)
    return _nearest(points, centres)


def dealt(kinds: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """The fold of each row: whole kinds, the largest first, each to the fold with the fewest rows."""
    sizes = np.bincount(kinds)
    fold_of, load = np.zeros(len(sizes), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for kind in np.argsort(-sizes, kind="stable"):
        fold_of[kind] = int(np.argmin(load))
        load[fold_of[kind]] += sizes[kind]
    return np.asarray(fold_of[kinds], dtype=np.int64)


def _scaled(values: Floats) -> Floats:
    if values.max() > 1.5 and values.min() >= 0:
        values = np.log1p(values)
    spread = float(values.std())
    return np.asarray((values - values.mean()) / spread if spread > 0 else values * 0.0)


def _nearest(points: Floats, centres: Floats) -> NDArray[np.int64]:
    return np.asarray(np.argmin((centres**2).sum(axis=1) - 2.0 * points @ centres.T, axis=1), dtype=np.int64)
