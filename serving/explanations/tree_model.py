"""A graph whose score is a sum of trees, prepared for exact Shapley values. It is made once, and only if it reproduces the graph's
scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.background import Background
from serving.explanations.batches import FREE, RowBatch
from serving.explanations.columns import InputColumns, Tensors
from serving.explanations.trees.score_path import EnsembleUse, NoPath, ScorePath, read_path
from serving.explanations.trees.tree_ensemble import Floats, TreeEnsemble
from serving.explanations.trees.tree_shap import CompiledTrees, DeepPath
from serving.models.errors import ModelError
from serving.models.graph import cut_at
from serving.models.manifest import ScoreSpec
from serving.models.onnx import OnnxModel

TOLERANCE: Final = 1e-4
"""Largest difference of a score from the graph's own: the graph adds in 32 bits, and some converters take logarithms there and back."""
Features = Callable[[Tensors], Floats]


@dataclass(frozen=True, slots=True)
class _Part:
    """Trees with what computes their features from the graph's inputs."""

    compiled: CompiledTrees
    features: Features


@dataclass(frozen=True, slots=True)
class TreeModel:
    """link(base + sum of the parts). counted: whether the covers were counted on the background, as the graph has none."""

    parts: tuple[_Part, ...]
    base: float
    is_logistic: bool
    is_counted: bool

    @classmethod
    def of(
        cls,
        graph: Any,
        columns: InputColumns,
        score: ScoreSpec,
        background: Background | None,
        expected: Floats | None,
        batch: RowBatch = FREE,
    ) -> "TreeModel":
        """expected: the graph's scores of the background. batch: the rows of one run of the graph.

        Raises NoPath, also if the trees do not give the scores."""
        path = read_path(graph, columns.symbols(), score)
        features = {e: features_of(graph, use.matrix, batch) for e, use in path.uses.items()}
        if background is not None and expected is not None:
            _check(path, features, background.tensors, expected)
        parts, is_counted = [], False
        for number, use in sorted(path.uses.items()):
            trees = use.trees
            if trees.cover is None:
                if background is None:
                    raise NoPath("the trees have no counts of rows, and the bundle has no rows to count")
                trees, is_counted = trees.counted_on(features[number](background.tensors)), True
            parts.append(_Part(_compiled(trees, use, number, path, len(columns.names)), features[number]))
        base = path.term.bias + sum(p.compiled.base for p in parts)
        return cls(tuple(parts), base, path.term.link == "logistic", is_counted)

    def shapley(self, tensors: Tensors) -> Floats:
        """What each column adds to the margin, shape (n, columns)."""
        first, *others = (part.compiled.shapley(part.features(tensors)) for part in self.parts)
        return np.asarray(sum(others, start=first))


def features_of(graph: Any, matrix: str, batch: RowBatch = FREE) -> Features:
    """What computes one matrix of the graph, float64 (n, k): an input as it is, anything else by the runtime."""
    if any(value.name == matrix for value in graph.graph.input):
        return lambda tensors: np.asarray(tensors[matrix], dtype=np.float64)
    try:
        cut = OnnxModel(cut_at(graph, matrix))
    except ModelError as problem:
        raise NoPath(f"the inputs of the trees cannot be computed separately: {problem}") from problem
    names = [spec.name for spec in cut.inputs]

    def features(tensors: Tensors) -> Floats:
        given = {n: tensors[n] for n in names}
        rows = next((len(t) for n, t in given.items() if n not in batch.held), 0)
        found = [cut.run(part)[matrix][:n] for part, n in batch.parts(given, rows)] if batch.size else [cut.run(given)[matrix]]
        return np.concatenate(found).astype(np.float64)

    return features


def _compiled(trees: TreeEnsemble, use: EnsembleUse, number: int, path: ScorePath, columns: int) -> CompiledTrees:
    values = np.zeros(len(trees.parent))
    for (ensemble, target), weight in path.term.weights.items():
        if ensemble == number:
            values += weight * trees.weights[:, target]
    try:
        return CompiledTrees.of(trees, values, use.column_of, columns)
    except DeepPath as problem:
        raise NoPath(str(problem)) from problem


def _check(path: ScorePath, features: dict[int, Features], rows: Tensors, expected: Floats) -> None:
    margin: NDArray[np.float64] = np.full(len(expected), path.term.bias)
    sums = {e: use.trees.margins(features[e](rows)) for e, use in path.uses.items()}
    for (ensemble, target), weight in path.term.weights.items():
        margin = margin + weight * sums[ensemble][:, target]
    with np.errstate(over="ignore"):
        found = 1.0 / (1.0 + np.exp(-margin)) if path.term.link == "logistic" else margin
    worst = float(np.abs(found - expected).max()) if len(expected) else 0.0
    if not worst <= TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0))):
        raise NoPath(f"the scores of the trees that were read from the graph differ from the graph's own by up to {worst:.2g}")
