"""Checks of all columns together: dependence, domain classifier, MMD. They find changes that no single column shows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.monitoring.drift.check import Checked, DriftCheck, Unjudged
from lifecycle.monitoring.drift.settings import DriftSettings
from lifecycle.monitoring.statistics.dependence import correlation_change
from lifecycle.monitoring.statistics.domain_classifier import domain_auc
from lifecycle.monitoring.statistics.mmd import mmd
from lifecycle.monitoring.statistics.rank_columns import normal_scores, numeric_table

DEPENDENCE, CLASSIFIER, MMD = "dependence of columns", "domain classifier", "mean discrepancy (MMD)"
_NAMED = 3
Columns = Mapping[str, NDArray[Any]]


def check_together(reference: Columns, current: Columns, settings: DriftSettings, rng: np.random.Generator) -> list[Checked]:
    """Compare all columns of two samples at once. Both have the same columns, each with values in both samples."""
    names = list(reference)
    rows = len(next(iter(reference.values()))), len(next(iter(current.values())))
    if min(rows) < settings.least_rows_together:
        words = f"too few rows: {rows[0]:,} and {rows[1]:,}, {settings.least_rows_together:,} are needed in each"
        return [Unjudged(subject, words) for subject in (DEPENDENCE, CLASSIFIER, MMD)]
    if len(names) < 2:
        return [Unjudged(subject, "there is one column only") for subject in (DEPENDENCE, CLASSIFIER, MMD)]
    old, new = numeric_table(reference, current)
    few_old, few_new = (_some(table, settings.most_rows_classifier, rng) for table in (old, new))
    fewer_old, fewer_new = (_some(table, settings.most_rows_mmd, rng) for table in (old, new))
    return [_dependence(names, old, new), _classifier(names, few_old, few_new, rng), _mmd(fewer_old, fewer_new, rng)]


def _dependence(names: list[str], old: NDArray[Any], new: NDArray[Any]) -> Checked:
    change = correlation_change(normal_scores(old), normal_scores(new))
    if change is None:
        return Unjudged(DEPENDENCE, "fewer than two columns vary enough")
    pair = f"{names[change.first]} and {names[change.second]}"
    words = f"rank correlation of {pair}: {change.reference:.2f}, now {change.current:.2f}"
    return DriftCheck("data", "together", DEPENDENCE, {"correlation": abs(change.change)}, change.p, details=(words,))


def _classifier(names: list[str], old: NDArray[Any], new: NDArray[Any], rng: np.random.Generator) -> Checked:
    found = domain_auc(old, new, rng)
    first = np.argsort(-found.importance, kind="stable")[:_NAMED].tolist()
    told_by = ", ".join(f"{names[i]} ({found.importance[i]:.0%})" for i in first if found.importance[i] > 0)
    words = (f"it tells the samples apart by {told_by}",) if told_by else ()
    return DriftCheck("data", "together", CLASSIFIER, {"auc": found.auc}, found.p, details=words)


def _mmd(old: NDArray[Any], new: NDArray[Any], rng: np.random.Generator) -> Checked:
    both = normal_scores(np.concatenate([old, new]))
    found = mmd(both[: len(old)], both[len(old) :], rng)
    return DriftCheck("data", "together", MMD, {"mmd": found.mmd}, found.p, figures={"bandwidth": found.bandwidth})


def _some(table: NDArray[Any], most: int, rng: np.random.Generator) -> NDArray[Any]:
    return table if len(table) <= most else table[np.sort(rng.permutation(len(table))[:most])]
