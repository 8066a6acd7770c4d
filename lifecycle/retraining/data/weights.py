"""What a labelled row counts for. Pure.

Alerts are labelled more often than quiet rows, so a row counts for the inverse of the probability with which it was selected, capped.
An alert that an analyst calls benign counts for more, so that the same false alarm is not raised again; but all false alarms together
count for at most a share of the benign rows, so that wrong or hostile labels cannot turn the model."""

import numpy as np

from lifecycle.arrays import Floats, Mask


def inclusion_weights(inclusion: Floats, cap: float) -> Floats:
    """1 / inclusion, at most `cap`; 1 where it is not known (NaN). inclusion: shape (n,), above 0, at most 1.

    Source: Horvitz & Thompson (1952), JASA 47; capped weights: Ionides (2008), J. Computational and Graphical Statistics 17(2)."""
    known = np.where(np.isnan(inclusion), 1.0, inclusion)
    return np.minimum(1.0 / known, cap)


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
