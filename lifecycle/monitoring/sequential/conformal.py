"""Conformal p-values of a stream against a reference sample, on bins. Pure.

If the reference and the stream are exchangeable, the p-values are independent and uniform on [0, 1], exactly and whatever the
distribution is: the reference is a finite sample, and this accounts for it. Each value is ranked among the reference and all of the
stream before it; ties are broken at random. On bins the counts are all that must be remembered.
Source: Vovk, Gammerman & Shafer (2022), "Algorithmic Learning in a Random World", 2nd edition, section 2.2.6 and theorem 11.1."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats

Counts = NDArray[np.int64]
_MOST_PAIRS: Final = 50_000
"""Pairs of values that are compared at once: few steps for a block of few rows, little memory for one of many."""


def conformal_p_values(counts: Counts, bins: NDArray[np.integer], u: Floats) -> tuple[Floats, Counts]:
    """(the p-values, shape (rows, streams); the counts after these rows).

    counts: shape (streams, bins), of the reference and the stream so far. bins: shape (rows, streams), the bin of each row, in order of
    time. u: the same shape, uniform on [0, 1], independent of everything else."""
    rows, streams = bins.shape
    column = np.arange(streams)
    lower = (np.cumsum(counts, axis=1) - counts)[column, bins]
    equal = counts[column, bins] + 1  # the row itself
    step = max(1, _MOST_PAIRS // max(bins.size, 1))
    for begin in range(0, rows, step):
        earlier, own = bins[: begin + step], bins[begin : begin + step, None]
        is_earlier = np.tri(len(own), len(earlier), begin - 1, dtype=np.bool_)[:, :, None]
        lower[begin : begin + step] += np.count_nonzero((earlier < own) & is_earlier, axis=1)
        equal[begin : begin + step] += np.count_nonzero((earlier == own) & is_earlier, axis=1)
    total = counts.sum(axis=1) + np.arange(1, rows + 1)[:, None]
    after = counts.copy()
    np.add.at(after, (np.broadcast_to(column, bins.shape), bins), 1)
    return (lower + u * equal) / total, after
