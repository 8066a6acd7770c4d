"""Global importance: how much worse the model ranks attacks when one column is shuffled. Pure, given the model's scores.

With labels it is the loss of ROC-AUC, and in any case the mean absolute change of the score. A column is shuffled among the rows. So a
column that another one can stand in for looks unimportant, and there are rows that nobody has seen. Intervals are for each column alone.

Sources: Fisher, Rudin & Dominici (2019), "All models are wrong, but many are useful", JMLR 20; DeLong, DeLong & Clarke-Pearson (1988),
Biometrics 44 (the parts of each row in the AUC); Obuchowski (1997), Biometrics 53 (rows of one entity are alike)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, entity_codes
from lifecycle.metrics.intervals import Z95, Interval
from serving.explanations.columns import InputColumns, Tensors

ScoreRows = Callable[[Tensors, int], Floats]
"""(tensors, rows) -> scores, shape (rows,)."""


@dataclass(frozen=True, slots=True)
class ColumnImportance:
    """loss: of AUC; None without labels. change: the mean absolute change of the score. Bounds are over other rows, shuffles included."""

    column: str
    loss: Interval | None
    change: Interval


@dataclass(frozen=True, slots=True)
class PermutationImportance:
    """columns: most important first. whole: the AUC of the model itself; None without labels. clusters: entities, else rows."""

    measure: Literal["roc_auc", "score_change"]
    whole: float | None
    columns: tuple[ColumnImportance, ...]
    rows: int
    clusters: int
    repeats: int


def permutation_importance(
    columns: InputColumns,
    tensors: Tensors,
    scores: ScoreRows,
    attack: NDArray[np.bool_] | None,
    *,
    entity: NDArray[Any] | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> PermutationImportance:
    """tensors: n rows. attack: their labels, shape (n,), None if unknown or all alike. entity: whose rows they are, shape (n,)."""
    rng, rows = np.random.default_rng(seed), len(tensors[next(iter(columns.column_of))])
    before = scores(tensors, rows)
    has_labels = attack is not None and bool(attack.any()) and not bool(attack.all())
    cluster = np.arange(rows) if entity is None else entity_codes(entity)[1]
    parts_before = _auc_parts(before, attack) if has_labels and attack is not None else None
    clusters = int(cluster.max(initial=-1)) + 1
    found = []
    for column, name in enumerate(columns.names):
        parts, moves = np.zeros(rows), np.zeros(rows)
        for _ in range(repeats):
            after = scores(_shuffled(columns, tensors, column, rng.permutation(rows)), rows)
            moves += np.abs(after - before) / rows / repeats
            if parts_before is not None and attack is not None:
                parts += (parts_before - _auc_parts(after, attack)) / repeats
        loss = None if parts_before is None else _interval(parts, attack, cluster)
        found.append(ColumnImportance(name, loss, _interval(moves, None, cluster)))
    found.sort(key=_order)
    whole = None if parts_before is None else float(parts_before.sum())
    measure: Literal["roc_auc", "score_change"] = "score_change" if whole is None else "roc_auc"
    return PermutationImportance(measure, whole, tuple(found), rows, clusters, repeats)


def _shuffled(columns: InputColumns, tensors: Tensors, column: int, order: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    found = dict(tensors)
    for name, at in columns.column_of.items():
        places = np.argwhere(at == column)
        if len(places):
            found[name] = tensors[name].copy()
            for place in places:
                cells = (slice(None), *place)
                found[name][cells] = tensors[name][cells][order]
    return found


def _auc_parts(scores: Floats, attack: NDArray[np.bool_]) -> Floats:
    """Parts of the rows in the AUC, shape (n,); they sum to it. A row's part is half of its placement among the other class, by its share:
    so that both classes carry the deviations that DeLong's variance needs."""
    parts = np.empty(len(scores))
    for own in (attack, ~attack):
        others = np.sort(scores[~own])
        below = np.searchsorted(others, scores[own], side="left")
        ties = np.searchsorted(others, scores[own], side="right") - below
        placement = (below + ties / 2) / len(others)
        parts[own] = (placement if own is attack else 1 - placement) / own.sum() / 2
    return parts


def _order(one: ColumnImportance) -> tuple[float, float, str]:
    loss = 0.0 if one.loss is None or one.loss.value is None else one.loss.value
    return -loss, -(one.change.value or 0.0), one.column


def _interval(parts: Floats, attack: NDArray[np.bool_] | None, cluster: NDArray[np.intp]) -> Interval:
    value, half = float(parts.sum()), Z95 * _standard_error(parts, attack, cluster)
    return Interval(
        value, value - half, value + half, "bounds" if attack is None else "delong", int(cluster.max(initial=-1)) + 1
    )


def _standard_error(parts: Floats, attack: NDArray[np.bool_] | None, cluster: NDArray[np.intp]) -> float:
    """Of the sum of parts, from how they differ between clusters."""
    if attack is None:
        deviations = parts - parts.mean()
    else:  # each class has half of the sum; a class's whole placement counts, so the deviations are twice those of the halves
        deviations = np.empty(len(parts))
        for own in (attack, ~attack):
            deviations[own] = 2 * (parts[own] - parts[own].mean())
    sums = np.bincount(cluster, weights=deviations)
    return float(np.sqrt(len(sums) / max(len(sums) - 1, 1) * (sums**2).sum()))
