"""Rows with labels, written by hand."""

from dataclasses import replace

import numpy as np

from lifecycle.performance.labelled_rows import ATTACK, BENIGN, BY_ALERT, BY_AUDIT, NO_LABEL, RowsWithLabels, together


def some(
    count: int,
    *,
    alert: bool,
    label: int = NO_LABEL,
    route: int = 0,
    inclusion: float = np.nan,
    delay_us: float = 0.0,
    score: float = 0.5,
    family: str = "",
) -> RowsWithLabels:
    """So many rows that are alike, at time 0."""
    return RowsWithLabels(
        np.zeros(count, dtype=np.int64),
        np.full(count, alert),
        np.full(count, score),
        np.full(count, label, dtype=np.int8),
        np.full(count, family, dtype=object),
        np.full(count, route, dtype=np.int8),
        np.full(count, np.nan if label == NO_LABEL else delay_us),
        np.full(count, inclusion),
    )


def counted(*, hits: int, false: int, unlabelled_alerts: int, missed: int, quiet: int, unlabelled_quiet: int) -> RowsWithLabels:
    """Labelled alerts (hits, false), and audited quiet rows (missed, quiet), and what has no label."""
    return together(
        [
            some(hits, alert=True, label=ATTACK, route=BY_ALERT),
            some(false, alert=True, label=BENIGN, route=BY_ALERT),
            some(unlabelled_alerts, alert=True),
            some(missed, alert=False, label=ATTACK, route=BY_AUDIT),
            some(quiet, alert=False, label=BENIGN, route=BY_AUDIT),
            some(unlabelled_quiet, alert=False),
        ]
    )


def at(rows: RowsWithLabels, time_us: int) -> RowsWithLabels:
    """The same rows, answered at this moment."""
    return replace(rows, times_us=np.full(len(rows), time_us))
