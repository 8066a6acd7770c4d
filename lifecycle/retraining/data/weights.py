"""What a labelled row counts for. Pure.

Alerts are labelled more often than quiet rows. So where thresholds are chosen and models judged, a row counts for the inverse of the
probability with which it was selected, capped. A fit needs no such weights: rows are selected by what the model sees too, so among rows
that look alike attacks are as frequent as everywhere, and unequal weights only add noise (Winship & Radbill 1994, Sociological Methods &
Research 23(2)). An alert that an analyst calls benign counts for more in a fit, so that the same false alarm is not raised again. But all
false alarms together count for at most a share of the benign rows, so that wrong or hostile labels cannot turn the model."""

import numpy as np

from lifecycle.arrays import Floats, Mask


def inclusion_weights(inclusion: Floats, cap: float) -> Floats:
    """1 / inclusion, by how much it is more than that of the most likely row, at most `cap`; 1 where it is not known (NaN).

    inclusion: shape (n,), above 0, at most 1. Only what rows count for beside each other matters, so the cap is on that: a cap on the
    inverse itself would make an alert of 1 in 40 and an audited row of 1 in 200 count the same.
    Source: Hajek (1971), comment in "Foundations of Statistical Inference"; capped weights: Ionides (2008), J. Computational and
    Graphical Statistics 17(2)."""
    is_known = ~np.isnan(inclusion)
    if not is_known.any():
        return np.ones(len(inclusion))
    likely = float(inclusion[is_known].max())
    return np.minimum(likely / np.where(is_known, inclusion, likely), cap)


def false_alarm_weights(
    weights: Floats, attack: Mask, was_alert: Mask, *, factor: float, share: float, benign_beside: float
) -> Floats:
    """The weights, false alarms times `factor`, all of them together at most `share` of what all benign rows then weigh.

    weights, attack, was_alert: shape (n,). benign_beside: what the benign base rows weigh. A cap below what false alarms weigh without the
    factor lowers them too."""
    false = was_alert & ~attack
    raised = np.where(false, weights * factor, weights)
    total = float(raised[false].sum())
    others = benign_beside + float(weights[~attack & ~false].sum())
    most = np.inf if share >= 1 else others * share / (1 - share)  # total <= share * (total + others)
    return raised if total <= most else np.where(false, raised * (most / total), raised)
