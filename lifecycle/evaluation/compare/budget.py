"""Recall and precision where a model may alert on a given share of the rows: those with the highest scores. Pure.

Rows of equal score at the edge of the budget are taken in part, as if any of them came first."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from lifecycle.arrays import Floats
from lifecycle.metrics.ranking import RankedRows

BUDGETED: Final = ("recall", "precision")


def at_budgets(ranked: RankedRows, weights: Floats, shares: Sequence[float]) -> Floats:
    """BUDGETED at each share, of each set of weights. weights: shape (b, n); result (b, len(shares), 2)."""
    hits, alarms = ranked.totals(weights)
    alerts = hits + alarms
    allowed = np.asarray(shares) * alerts[:, -1:]
    origin = np.zeros((len(hits), 1))
    hits, alerts = np.hstack([origin, hits]), np.hstack([origin, alerts])
    found = np.stack([np.interp(a, x, y) for a, x, y in zip(allowed, alerts, hits, strict=True)])
    precision = np.divide(found, allowed, out=np.full_like(found, np.nan), where=allowed > 0)
    return np.stack([found / hits[:, -1:], precision], axis=2)
