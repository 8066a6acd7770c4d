"""Explains the rows of one loaded model: chooses the method that the model and the time allow, and checks what it rests on.

Pure work for a thread beside the loop. An Explainer is made once for a revision; that takes up to a second or two."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.explanations.background import Background, background_of
from serving.explanations.columns import InputColumns, Tensors
from serving.explanations.explanation import Attribution, Method, UnexplainableModel, Unit
from serving.explanations.score_path import NoPath
from serving.explanations.tree_model import TreeModel
from serving.models.assembly import as_runtime_strings
from serving.models.bundle import Bundle
from serving.models.graph import read_graph
from serving.models.manifest import ScoreSpec
from serving.models.verdicts import scores_of

Run = Callable[[Mapping[str, NDArray[Any]], Sequence[str]], Mapping[str, NDArray[Any]]]
"""Runs the graph: (tensors, names of outputs) -> outputs. Strings are object arrays of str."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """columns: what is explained; None until rows are seen, for a model of free width without rows of its own.

    why_not_exact: why the score's path from trees was not found; empty if it was."""

    run: Run
    score: ScoreSpec
    held: frozenset[str]
    columns: InputColumns | None
    background: Background | None
    trees: TreeModel | None
    why_not_exact: str

    @classmethod
    def of(cls, bundle: Bundle, run: Run, score: ScoreSpec | None = None) -> "Explainer":
        """score: what to explain where the bundle names no score. Raises UnexplainableModel if neither names one."""
        manifest = bundle.manifest
        score = score or manifest.score
        if score is None:
            raise UnexplainableModel(
                f"bundle {manifest.name}/{manifest.version} names no score, so there is no number to explain; "
                "build it again with --score-output"
            )
        graph = read_graph(bundle.model_path)
        held = _held_inputs(graph, [spec.name for spec in manifest.inputs])
        background = background_of(bundle, held)
        shapes: Tensors | None = background.tensors if background is not None else None
        if shapes is None and all(d > 0 for s in manifest.inputs if s.name not in held for d in s.shape[1:]):
            shapes = {s.name: np.empty((0, *s.shape[1:])) for s in manifest.inputs if s.name not in held}
        columns = None if shapes is None else InputColumns.of(manifest, shapes, held)
        made = cls(run, score, held, columns, background, None, "the columns of a row are not known before one is seen")
        if columns is None:
            return made
        try:
            expected = None if background is None else made.scores(background.tensors, background.rows)
            trees = TreeModel.of(graph, columns, score, background, expected)
        except NoPath as problem:
            return cls(run, score, held, columns, background, None, str(problem))
        return cls(run, score, held, columns, background, trees, "")

    def explain(self, tensors: Tensors, *, budget_s: float, seed: int = 0, method: Method | None = None) -> list[Attribution]:
        """What each column added to the score of each row. tensors: the graph's inputs, rows together.

        budget_s: time for all rows; exact trees do not need it. method: None takes the most exact that the model allows.
        Raises UnexplainableModel; RunError if the runtime refuses the rows."""
        tensors = {n: as_runtime_strings(t) if t.dtype.kind in "OSU" else t for n, t in tensors.items()}
        if self.columns is None or not self.columns.fits(tensors):
            raise UnexplainableModel(
                "the rows have other columns than the bundle's reference rows, so nothing is known to compare them with"
            )
        if self.trees is not None and method in (None, "tree_shap"):
            return self._by_trees(self.trees, self.columns, tensors)
        raise UnexplainableModel(f"no exact explanation: {self.why_not_exact}")

    def scores(self, tensors: Tensors, rows: int) -> NDArray[np.float64]:
        """The model's scores, shape (rows,). Raises RunError; UnexplainableModel if there is not one a row."""
        try:
            return scores_of(self.run(tensors, [self.score.output]), self.score, rows).astype(np.float64)
        except ValueError as problem:
            raise UnexplainableModel(str(problem)) from problem

    def _by_trees(self, trees: TreeModel, columns: InputColumns, tensors: Tensors) -> list[Attribution]:
        name = "the training rows that the trees count in each node"
        if trees.is_counted and self.background is not None:
            name = f"{self.background.name}, counted in each node of the trees"
        unit: Unit = "log_odds" if trees.is_logistic else "score"
        return [
            Attribution("tree_shap", unit, trees.base, columns.names, values, 0.0, is_exact=True, background=name)
            for values in trees.shapley(tensors)
        ]


def _held_inputs(graph: Any, names: Sequence[str]) -> frozenset[str]:
    """Inputs whose first axis the graph calls otherwise than that of the first input, and scalars: nothing of them is a row's."""
    axes = {v.name: v.type.tensor_type.shape.dim for v in graph.graph.input if v.name in names}
    first = {name: dims[0].dim_param if len(dims) else None for name, dims in axes.items()}
    rows = next((axis for name in names if (axis := first.get(name))), "")
    return frozenset(name for name, axis in first.items() if axis is None or (axis and axis != rows))
