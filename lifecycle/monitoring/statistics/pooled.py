"""Two samples of one number, sorted together once: everything that is asked of them is read from the counts of each value."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats


@dataclass(frozen=True, slots=True)
class PooledSamples:
    """values: the distinct values of both samples, ascending, shape (k,). reference, current: how often each occurs, (k,)."""

    values: Floats
    reference: NDArray[np.int64]
    current: NDArray[np.int64]

    @classmethod
    def of(cls, reference: Floats, current: Floats) -> Self:
        """reference: (n,); current: (m,). Infinities are values. Raises ValueError if a sample is empty or holds NaN."""
        if not len(reference) or not len(current):
            raise ValueError("a sample is empty")
        values, places = np.unique(np.concatenate([reference, current]), return_inverse=True)
        if np.isnan(values[-1]):
            raise ValueError("a sample holds NaN; leave missing values out and count them apart")
        of_reference = np.bincount(places[: len(reference)], minlength=len(values))
        return cls(values, of_reference, np.bincount(places[len(reference) :], minlength=len(values)))

    @property
    def rows(self) -> tuple[int, int]:
        """Sizes of the reference and of the current sample."""
        return int(self.reference.sum()), int(self.current.sum())

    def mode(self) -> int:
        """Place of the most frequent value of both samples."""
        return int(np.argmax(self.reference + self.current))

    def gaps(self) -> Floats:
        """F_reference - F_current just after each value, (k,): what KS and Wasserstein are read from."""
        n, m = self.rows
        return np.cumsum(self.reference) / n - np.cumsum(self.current) / m

    def mid_ranks(self) -> Floats:
        """The mean rank of each value in both samples, from 1, (k,)."""
        counts = self.reference + self.current
        return np.asarray(np.cumsum(counts) - (counts - 1) / 2)
