"""Explains the rows of one loaded model: chooses the method that the model and the time allow, and checks what it rests on.

Pure work for a thread beside the loop. An Explainer is made once for a revision; that takes up to a second or two."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.background import Background, background_of
from serving.explanations.batches import FREE, RowBatch
from serving.explanations.columns import InputColumns, Tensors
from serving.explanations.counterfactual import CounterfactualFinder, CounterfactualSearch, WantedScores
from serving.explanations.explanation import Attribution, Method, UnexplainableModel, Unit
from serving.explanations.lime import lime
from serving.explanations.sampling import (
    LEAST_RUN_ROWS,
    MOST_ENUMERATED,
    MOST_RUN_ROWS,
    Game,
    ReadSeconds,
    kernel_shap,
    permutation_shap,
)
from serving.explanations.tree_model import TreeModel
from serving.explanations.trees.score_path import NoPath
from serving.models.assembly import as_runtime_strings
from serving.models.bundle import Bundle
from serving.models.graph import read_graph
from serving.models.manifest import Manifest, ScoreSpec
from serving.models.verdicts import scores_of

Run = Callable[[Mapping[str, NDArray[Any]], Sequence[str]], Mapping[str, NDArray[Any]]]
"""Runs the graph: (tensors, names of outputs) -> outputs. Strings are object arrays of str."""


_MOST_LATE: Final = 4.0
"""Times the budget after which rows that remain are not begun: each takes a least time, whatever the budget."""
_LEAST_LATE_S: Final = 2.0
BASE_S: Final = 1.0
"""Seconds of running the background through a graph of a fixed batch, part by part; rows that remain then are left out of it."""
_LEAST_BASE_ROWS: Final = 2
MOST_SAMPLED: Final = 512
"""Most columns whose Shapley values are sampled unasked; with more, orders of all columns take too long and LIME answers."""

_LOOKS: Final = 8
"""How often the clock is looked at within a row's time, about."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """columns: what is explained; None if the bundle does not tell how wide its rows are. base_scores: of the background, (rows,).
    row_s: seconds that the model takes for a row of it, 0 if unknown.

    why_not_exact: why the way from trees to the score was not found; empty if it was. batch: the rows of one run of the graph."""

    run: Run
    score: ScoreSpec
    columns: InputColumns | None
    background: Background | None
    base_scores: NDArray[np.float64]
    row_s: float
    trees: TreeModel | None
    why_not_exact: str
    batch: RowBatch = FREE

    @classmethod
    def of(
        cls, bundle: Bundle, run: Run, score: ScoreSpec | None = None, *, clock: ReadSeconds = time.monotonic
    ) -> "Explainer":
        """score: what to explain where the bundle names no score. Raises UnexplainableModel if neither names one."""
        manifest = bundle.manifest
        score = score or manifest.score
        if score is None:
            raise UnexplainableModel(
                f"bundle {manifest.name}/{manifest.version} names no score, so there is no number to explain; "
                "build it again with --score OUTPUT:COLUMN"
            )
        graph = read_graph(bundle.model_path)
        batch = RowBatch.of(graph, [spec.name for spec in manifest.inputs])
        held = batch.held
        background = background_of(bundle, held)
        shapes: Tensors | None = background.tensors if background is not None else _static_shapes(manifest, held)
        columns = None if shapes is None else InputColumns.of(manifest, shapes, held)
        base_scores, row_s = _base_scores(run, score, background, batch, clock)
        if background is not None and np.isnan(base_scores).any():
            background, base_scores = background.take(~np.isnan(base_scores), held), base_scores[~np.isnan(base_scores)]
        try:
            if columns is None:
                raise NoPath("the bundle does not say how many columns a row has")
            trees = TreeModel.of(graph, columns, score, background, base_scores, batch)
        except NoPath as problem:
            return cls(run, score, columns, background, base_scores, row_s, None, str(problem), batch)
        return cls(run, score, columns, background, base_scores, row_s, trees, "", batch)

    def explain(
        self,
        tensors: Tensors,
        *,
        budget_s: float,
        seed: int = 0,
        method: Method | None = None,
        clock: ReadSeconds = time.monotonic,
    ) -> list[Attribution]:
        """What each column added to the score of each row. tensors: the graph's inputs, rows together.

        budget_s: time for all rows together; exact trees take what they take (under 1 ms a row). seed: of what is drawn at random. method:
        None takes the most exact that the model allows. Raises UnexplainableModel; RunError if the runtime refuses the rows."""
        columns, tensors = self._checked(tensors)
        if self.trees is not None and method in (None, "tree_shap"):
            return self._by_trees(self.trees, columns, tensors)
        if method == "tree_shap":
            raise UnexplainableModel(
                f"the score is not explained exactly by trees: {self.why_not_exact}; ask for another method"
            )
        rows = len(tensors[next(iter(columns.column_of))])
        found, began = [], clock()
        end = began + budget_s
        for index in range(rows):
            refuse_late(clock() - began, budget_s, index, rows)
            until_s = clock() + max(end - clock(), 0.0) / (rows - index)
            found.append(self._sampled(columns, tensors, index, method, np.random.default_rng([seed, index]), until_s, clock))
        return found

    def counterfactuals(
        self,
        tensors: Tensors,
        *,
        target: WantedScores,
        budget_s: float,
        most: int = 3,
        fixed: Collection[str] = (),
        clock: ReadSeconds = time.monotonic,
    ) -> CounterfactualSearch:
        """What would have given the target, for tensors of one row. fixed: columns that may not change.

        Raises UnexplainableModel without reference rows; RunError."""
        columns, tensors = self._checked(tensors)
        until_s = clock() + budget_s
        return CounterfactualFinder(
            columns, columns.row(tensors, 0), self._rows().tensors, self.scores, target, lambda: clock() < until_s, fixed
        ).search(most=most)

    def scores(self, tensors: Tensors, rows: int) -> NDArray[np.float64]:
        """The model's scores, shape (rows,). Raises RunError; UnexplainableModel if there is not one a row."""
        parts = [_scores(self.run, self.score, part, self.batch.size or n)[:n] for part, n in self.batch.parts(tensors, rows)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])

    def _checked(self, tensors: Tensors) -> tuple[InputColumns, Tensors]:
        if self.columns is None or not self.columns.fits(tensors):
            raise UnexplainableModel(
                "the rows have other columns than the reference rows of the bundle, so there is nothing to compare them with"
                if self.columns is not None or self.background is not None
                else "the bundle has neither reference nor golden rows; build it again with --golden or reference/sample.json"
            )
        return self.columns, {n: as_runtime_strings(t) if t.dtype.kind in "OSU" else t for n, t in tensors.items()}

    def _rows(self) -> Background:
        if self.background is None:
            raise UnexplainableModel(
                "the bundle has neither a reference sample nor golden rows, so there are no values to replace a column with; "
                "build it again with golden rows or with the file reference/sample.json"
            )
        return self.background

    def _by_trees(self, trees: TreeModel, columns: InputColumns, tensors: Tensors) -> list[Attribution]:
        name = "the training rows that the trees count in each node"
        if trees.is_counted and self.background is not None:
            name = f"{self.background.name}, counted in each node of the trees"
        unit: Unit = "log_odds" if trees.is_logistic else "score"
        return [
            Attribution("tree_shap", unit, trees.base, columns.names, values, 0.0, is_exact=True, background=name)
            for values in trees.shapley(tensors)
        ]

    def _sampled(
        self,
        columns: InputColumns,
        tensors: Tensors,
        index: int,
        method: Method | None,
        rng: np.random.Generator,
        until_s: float,
        clock: ReadSeconds,
    ) -> Attribution:
        background, row, size = self._rows(), columns.row(tensors, index), len(columns.names)
        others, base_scores = background.tensors, self.base_scores
        if columns.held:  # what has no rows is the request's, for the background too
            others = {**others, **{name: row[name] for name in columns.held if name in row}}
            base_scores = self.scores(others, background.rows)
        budget_rows = MOST_RUN_ROWS * _LOOKS if self.row_s == 0 else max(until_s - clock(), 0.0) / self.row_s
        most_rows = int(np.clip(budget_rows / _LOOKS, LEAST_RUN_ROWS, MOST_RUN_ROWS))
        game = Game(columns, row, float(self.scores(row, 1)[0]), others, base_scores, self.scores, most_rows)
        if method is None:
            method = "lime" if size > MOST_SAMPLED else "permutation_shap"
            if size <= MOST_ENUMERATED and 2 << size <= budget_rows:
                method = "kernel_shap"
        if method == "lime":
            line = lime(game, rng, until_s=until_s, clock=clock)
            return Attribution(
                "lime", "score", line.base, columns.names, line.values, line.error, False, background.name, line.fidelity
            )
        if method == "kernel_shap" and size > MOST_ENUMERATED:
            raise UnexplainableModel(
                f"kernel_shap runs all coalitions of at most {MOST_ENUMERATED} columns, the model has {size}"
            )
        estimate = (kernel_shap if method == "kernel_shap" else permutation_shap)(game, rng, until_s=until_s, clock=clock)
        error, is_exact = estimate.error, estimate.is_exact
        if not np.isfinite(estimate.values).all():  # the score, or one that was met on the way, is no number
            error, is_exact = math.nan, False
        return Attribution(method, "score", estimate.base, columns.names, estimate.values, error, is_exact, background.name)


def refuse_late(passed_s: float, budget_s: float, index: int, rows: int) -> None:
    """Raise UnexplainableModel if so much of the time is over that row `index` of `rows` is not begun."""
    if passed_s > max(_MOST_LATE * budget_s, _LEAST_LATE_S):
        raise UnexplainableModel(f"the time was enough for only {index} of {rows} rows; send fewer rows in one request")


def _base_scores(
    run: Run, score: ScoreSpec, background: Background | None, batch: RowBatch, clock: ReadSeconds
) -> tuple[NDArray[np.float64], float]:
    """Scores of the background, (rows,), and the seconds of a row. With a fixed batch those of as many rows, drawn at random, as
    BASE_S allows; NaN for the others."""
    if background is None:
        return np.empty(0), 0.0
    started, done = clock(), 0
    if not batch.size:
        return _scores(run, score, background.tensors, background.rows), (clock() - started) / background.rows
    found, order = np.full(background.rows, np.nan), np.random.default_rng(0).permutation(background.rows)
    mixed = {name: tensor if name in batch.held else tensor[order] for name, tensor in background.tensors.items()}
    for part, rows in batch.parts(mixed, background.rows):
        if done >= _LEAST_BASE_ROWS and clock() - started > BASE_S:
            break
        found[order[done : done + rows]] = _scores(run, score, part, batch.size)[:rows]
        done += rows
    return found, (clock() - started) / done


def _scores(run: Run, score: ScoreSpec, tensors: Tensors, rows: int) -> NDArray[np.float64]:
    try:
        return scores_of(run(tensors, [score.output]), score, rows).astype(np.float64)
    except ValueError as problem:
        raise UnexplainableModel(str(problem)) from problem


def _static_shapes(manifest: Manifest, held: frozenset[str]) -> Tensors | None:
    """Empty tensors of the declared shapes; None if a dimension beside the rows is free."""
    rows = [spec for spec in manifest.inputs if spec.name not in held]
    if any(d < 0 for spec in rows for d in spec.shape[1:]):
        return None
    return {spec.name: np.empty((0, *spec.shape[1:])) for spec in rows}
