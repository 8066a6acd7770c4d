"""How many rows a labelled row stands for: the inverse of the probability that it was selected and that its label is in by now. Pure.

Sources: Horvitz & Thompson (1952), JASA 47(260); Hajek (1971), in "Foundations of Statistical Inference" (the ratio that is used where only
relative probabilities are known); Little (1986), International Statistical Review 54(2) (classes within which labelling is at random)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.performance.delays import Delays
from lifecycle.performance.labelled_rows import ATTACK, BENIGN, BY_ALERT, BY_AUDIT, BY_QUEUE, RowsWithLabels

LEAST_IN: Final = 0.05
"""A label is never taken for more than twenty others that are still to come."""
MOST_BANDS: Final = 4
LABELS_A_BAND: Final = 25
"""Fewer labels make no score band of their own."""


def alert_weights(rows: RowsWithLabels, age_us: Floats, delays: Delays | None) -> Floats:
    """Of each row, shape (n,): 0 of rows that are no alert or have no definite label. They sum to the number of alerts, if any is labelled.

    All labels of alerts count, whyever they came. Which alerts are labelled may depend on the score: within a band of scores the labelled
    ones stand for all. Where every such label has a known probability, its inverse is used instead."""
    counted = rows.alert & rows.is_definite
    weights = np.where(counted, 1.0 / in_by_now(rows, age_us, delays), 0.0)
    if not counted.any():
        return weights
    if not np.isnan(rows.inclusion[counted]).any():
        weights[counted] /= rows.inclusion[counted]
        return np.asarray(weights * (rows.alert.sum() / weights.sum()))
    band = _bands(rows.scores, counted)
    for place in np.unique(band[counted]).tolist():
        within = band == place
        weights[within] *= (rows.alert & within).sum() / weights[within].sum()
    return np.asarray(weights * (rows.alert.sum() / weights.sum()))


def _bands(scores: Floats, counted: Mask) -> NDArray[np.int64]:
    """The band of each row's score, shape (n,): quantiles of the rows that count. A row without a score is in the lowest."""
    known = counted & ~np.isnan(scores)
    bands = max(1, min(MOST_BANDS, int(known.sum()) // LABELS_A_BAND))
    edges = np.unique(np.quantile(scores[known], np.arange(1, bands) / bands)) if bands > 1 else np.zeros(0)
    return np.searchsorted(edges, np.where(np.isnan(scores), -np.inf, scores), side="right")


def quiet_weights(rows: RowsWithLabels, age_us: Floats, delays: Delays | None) -> Floats:
    """Of each row, shape (n,): 0 of alerts and of rows that were not selected with a probability. They sum to the number of quiet rows.

    The audit sample counts, and what the queue selected with a known probability. A label that came because somebody suspected the row says
    nothing about the others. Audits without a probability count if none has one: then all had the same."""
    quiet = ~rows.alert
    weights = np.zeros(len(rows))
    is_in = in_by_now(rows, age_us, delays)
    for sample in samples_of(rows):
        one = np.where(sample, 1.0 / is_in, 0.0)
        known = sample & ~np.isnan(rows.inclusion)
        one[known] /= rows.inclusion[known]
        if (total := one.sum()) > 0:  # each sample stands for all quiet rows, and counts by what it tells
            weights += one / total * (total**2 / (one**2).sum())
    return weights * (quiet.sum() / weights.sum()) if weights.any() else weights


def samples_of(rows: RowsWithLabels) -> tuple[Mask, Mask]:
    """The quiet rows with a definite label in the audit sample, and of the queue with a known probability. Shape (n,) each."""
    quiet = ~rows.alert & rows.is_definite
    audit, known = quiet & (rows.route == BY_AUDIT), ~np.isnan(rows.inclusion)
    return (audit & known if (audit & known).any() else audit), quiet & (rows.route == BY_QUEUE) & known


def in_by_now(rows: RowsWithLabels, age_us: Floats, delays: Delays | None) -> Floats:
    """The probability that a label like this row's is in at the row's age, shape (n,); 1 where delays are not known or there is no
    label."""
    found = np.ones(len(rows))
    if delays is None:
        return found
    for by_alert in (True, False):
        for label in (ATTACK, BENIGN):
            which = (rows.label == label) & ((rows.route == BY_ALERT) == by_alert)
            share = delays.share_in(by_alert, label, age_us[which])
            if share is not None:
                found[which] = np.maximum(share, LEAST_IN)
    return found
