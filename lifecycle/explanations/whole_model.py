"""One bundle explained as a whole, on rows that it brings along or on others: importance of its columns, and surrogate rules."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.explanations.permutation_importance import PermutationImportance, permutation_importance
from lifecycle.explanations.surrogate_rules import ModelRules, model_rules
from serving.explanations.answering import table_of
from serving.explanations.background import SAMPLE
from serving.explanations.columns import Tensors
from serving.explanations.explainer import Explainer
from serving.explanations.explanation import UnexplainableModel
from serving.models.bundle import Bundle
from serving.models.onnx import OnnxModel


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """tensors: rows as the graph takes them. attack: their labels, (n,), None if unknown. entity: whose they are. name: in words."""

    tensors: Tensors
    attack: NDArray[np.bool_] | None
    name: str
    entity: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class ModelExplanation:
    """rules: None where there are too few rows for rules, or no operating point; then `why_no_rules` says which. is_exact: whether single
    answers are explained exactly by trees; why_not_exact: why not, empty if they are."""

    model: str
    version: str
    digest: str
    rows: str
    importance: PermutationImportance
    rules: ModelRules | None
    why_no_rules: str
    operating_point: str | None
    is_exact: bool
    why_not_exact: str


def explain_model(
    bundle: Bundle, rows: LabelledRows | None = None, *, point: str | None = None, repeats: int = 5, seed: int = 0
) -> ModelExplanation:
    """rows: None takes the bundle's own. point: operating point whose verdicts the rules give; None takes the default one.

    Raises UnexplainableModel if the bundle names no score or has no rows, or has no operating point of that name."""
    manifest, model = bundle.manifest, OnnxModel(bundle.model_path)
    explainer = Explainer.of(bundle, model.run)
    rows = rows or own_rows(bundle, explainer)
    columns = explainer.columns
    if columns is None or not columns.fits(rows.tensors):
        raise UnexplainableModel("the rows have other columns than the bundle's reference rows")
    importance = permutation_importance(
        columns, rows.tensors, explainer.scores, rows.attack, entity=rows.entity, repeats=repeats, seed=seed
    )
    name = point or manifest.default_operating_point
    if name is not None and name not in manifest.operating_points:
        raise UnexplainableModel(f"unknown operating point {name!r}; the bundle has {sorted(manifest.operating_points)}")
    rules, why_no_rules = None, "the bundle has no operating point, so there are no verdicts" if name is None else ""
    if name is not None:
        thresholds = manifest.operating_points[name]
        coded = () if manifest.explain is None else {c for c, template in manifest.explain.reasons.items() if template.words}
        scores = explainer.scores(rows.tensors, importance.rows)
        try:
            rules = model_rules(
                table_of(columns, rows.tensors),
                scores,
                thresholds.investigate,
                thresholds.threshold,
                background=rows.name,
                coded=coded,
            )
        except UnexplainableModel as problem:
            why_no_rules = str(problem)
    return ModelExplanation(
        manifest.name, manifest.version, bundle.digest, rows.name, importance, rules, why_no_rules, name,
        is_exact=explainer.trees is not None, why_not_exact=explainer.why_not_exact,
    )  # fmt: skip


def own_rows(bundle: Bundle, explainer: Explainer) -> LabelledRows:
    """The reference sample with its labels, else the golden rows. Raises UnexplainableModel if there are neither."""
    background = explainer.background
    if background is None:
        raise UnexplainableModel("the bundle has neither a reference sample nor golden rows; name rows to explain it on")
    attack = None
    if background.is_training:
        labels = json.loads((bundle.folder / SAMPLE).read_bytes()).get("attack")
        if isinstance(labels, list) and len(labels) == background.rows:  # else rows were left out, and whose labels is unknown
            attack = np.asarray(labels, dtype=bool)
    return LabelledRows(background.tensors, attack, background.name)
