"""Surrogate rules of a whole model: the paths of a shallow tree, with how far they can be trusted on rows that did not make them.

The tree is the one that answers `explain=rules` (serving.explanations.surrogate); here all its rules stand side by side. Agreement alone
flatters where most rows are benign, so what always saying the most frequent verdict would reach stands beside it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.metrics.intervals import Interval, wilson
from serving.explanations.surrogate import Condition, SurrogateTree, verdict_places
from serving.models.verdicts import VERDICTS


@dataclass(frozen=True, slots=True)
class ModelRule:
    """conditions: all hold; none: every row. says: the verdict. rows: held-out rows that meet it; agreed: with the model's verdict."""

    conditions: tuple[Condition, ...]
    says: str
    rows: int
    agreed: int


@dataclass(frozen=True, slots=True)
class ModelRules:
    """fidelity: share of `held_out` rows on which rules and model agree, with its interval (Wilson's). baseline: that of saying the most
    frequent verdict always. found, right: of the model's rows over `investigate`, the share that the rules find; of those that the rules
    name, the share that the model names; None where there are none."""

    rules: tuple[ModelRule, ...]
    fidelity: Interval
    baseline: float
    found: float | None
    right: float | None
    held_out: int
    background: str


def model_rules(
    table: Mapping[str, NDArray[Any]],
    scores: NDArray[np.float64],
    investigate: float,
    alert: float,
    *,
    background: str,
    coded: Collection[str] = (),
) -> ModelRules:
    """table: column -> its values, shape (n,). scores: the model's, shape (n,). coded: columns of numbers that stand for words.

    Raises UnexplainableModel for too few rows."""
    tree = SurrogateTree.fit(table, scores, investigate, alert, background=background, coded=coded)
    held = tree.held_rows(len(scores))
    codes = verdict_places(scores[held], investigate, alert)
    model = [VERDICTS[code] for code in codes.tolist()]
    leaves = [tree.leaf_of(row) for row in tree.rows_of(table, held)]
    rules = tuple(
        ModelRule(
            leaf.conditions, leaf.verdict,
            rows=sum(own is leaf for own in leaves),
            agreed=sum(own is leaf and verdict == leaf.verdict for own, verdict in zip(leaves, model, strict=True)),
        )
        for leaf in tree.leaves()
    )  # fmt: skip
    agreed = sum(rule.agreed for rule in rules)
    named, wanted = np.array([leaf.verdict != VERDICTS[0] for leaf in leaves]), codes > 0
    both = int((named & wanted).sum())
    return ModelRules(
        rules, wilson(agreed, len(held)), float(np.bincount(codes).max() / len(held)),
        both / int(wanted.sum()) if wanted.any() else None, both / int(named.sum()) if named.any() else None, len(held), background,
    )  # fmt: skip
