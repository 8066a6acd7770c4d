"""Many p-values at once."""

from collections.abc import Iterable

import numpy as np

from lifecycle.arrays import Floats


def bonferroni(values: Iterable[float]) -> float:
    """One p-value of several tests of one hypothesis, whatever their dependence: the smallest, times how many there are."""
    found = list(values)
    return min(1.0, len(found) * min(found))


def benjamini_hochberg(values: Floats) -> Floats:
    """Adjusted p-values, shape (m,). Those at most q: of them a share of q is expected to be false.

    If nothing at all has changed, one is at most q with a probability of at most q, where the tests are independent or depend on each
    other positively. So q also bounds how often a report on unchanged data has any finding.
    Source: Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57; Benjamini & Yekutieli (2001) on dependence."""
    m = len(values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * m / np.arange(1, m + 1)
    found = np.empty(m)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found
