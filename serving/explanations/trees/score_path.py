"""How a graph gets from its inputs to its trees, and from its trees to its score: the graph is run on one row of symbols.

What is not read leaves nothing known, so a path that is found holds for every row. Callers still compare it with the graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.explanations.trees import symbols
from serving.explanations.trees.operators import OPERATORS, NotByRow, Symbols, row_of
from serving.explanations.trees.symbols import Symbol, Term, Unknown
from serving.explanations.trees.tree_ensemble import TREE_OPERATORS, Indices, NotTrees, TreeEnsemble, read_trees
from serving.models.graph import attributes_of, constants_of
from serving.models.manifest import ScoreSpec


class NoPath(Exception):
    """The score is not a link function of a sum of trees over single columns, or that could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class EnsembleUse:
    """Trees of the graph. matrix: the value of the graph that they are given; column_of: the column of each of its features."""

    trees: TreeEnsemble
    matrix: str
    column_of: Indices


@dataclass(frozen=True, slots=True)
class ScorePath:
    """score = link(bias + sum of weights[e, target] * output `target` of uses[e])."""

    uses: Mapping[int, EnsembleUse]
    term: Term


def read_path(model: Any, inputs: Mapping[str, Symbols], score: ScoreSpec) -> ScorePath:
    """inputs: by name, a row of symbols. Raises NoPath."""
    found = _Run({**constants_of(model), **inputs})
    for node in model.graph.node:
        found.take(node)
    if not found.uses:
        unread = [p for p in found.problems if p.split(":")[0] in TREE_OPERATORS]
        raise NoPath(unread[0] if unread else "the graph has no trees")
    output = found.values.get(score.output)
    if output is None:
        raise NoPath("; ".join(found.problems[:2]) or f"the graph does not compute output {score.output!r}")
    try:
        term = output[..., score.column].ravel() if score.column is not None else output.ravel()
    except IndexError as problem:
        raise NoPath(f"output {score.output!r} has no column {score.column}") from problem
    if len(term) != 1 or not isinstance(term[0], Term) or term[0].link not in ("identity", "logistic"):
        raise NoPath(f"output {score.output!r} is not a sum of trees, nor the logistic function of one")
    used = {ensemble for ensemble, _ in term[0].weights}
    return ScorePath({e: _use(*found.uses[e]) for e in used}, term[0])


def _use(trees: TreeEnsemble, matrix: str, features: Symbols) -> EnsembleUse:
    of = [v.columns() if isinstance(v, Symbol) else frozenset[int]() for v in features]
    split = np.unique(trees.feature[~trees.is_leaf])
    if len(split) and split.max() >= len(of):
        raise NoPath("the trees use a feature that does not exist")
    for feature in split:
        if isinstance(features[feature], (Term, Unknown)) or len(of[feature]) != 1:
            raise NoPath(f"feature {feature} of the trees is not computed from exactly one column")
    return EnsembleUse(trees, matrix, np.array([next(iter(c)) if len(c) == 1 else 0 for c in of], dtype=np.intp))


@dataclass(frozen=True, slots=True)
class _Run:
    """One run on symbols. values: by name, what is known; a value that is not there is unread. uses: trees, and what they are given."""

    values: dict[str, Symbols]
    uses: dict[int, tuple[TreeEnsemble, str, Symbols]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, node: Any) -> None:
        """The outputs of one node, as far as they are known."""
        inputs = [self.values.get(name) if name else None for name in node.input]
        try:
            found = self._outputs(node, inputs)
        except (NotByRow, NotTrees) as problem:
            found = []
            self.problems.append(f"{node.op_type}: {problem}")
        except (ValueError, IndexError, TypeError, KeyError, OverflowError) as problem:
            found = []
            self.problems.append(f"{node.op_type} cannot be read ({type(problem).__name__}: {problem})")
        self.values.update(zip(node.output, found, strict=False))

    def _outputs(self, node: Any, inputs: Sequence[Symbols | None]) -> list[Symbols]:
        if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
            raise NotByRow(f"operators of {node.domain} are not supported")
        if node.op_type in TREE_OPERATORS:
            return self._trees(node, attributes_of(node), inputs[0])
        if node.op_type not in OPERATORS:
            raise NotByRow("this operator is not supported")
        if any(name and value is None for name, value in zip(node.input, inputs, strict=True)):
            raise NotByRow("an input of it is not supported")
        return OPERATORS[node.op_type](attributes_of(node), inputs)

    def _trees(self, node: Any, attributes: Mapping[str, Any], features: Symbols | None) -> list[Symbols]:
        if features is None or features.ndim != 2 or len(features) != 1:
            raise NotByRow("the trees' features are computed in a way that is not supported")
        number, trees = len(self.uses), read_trees(node.op_type, attributes)
        self.uses[number] = (trees, node.input[0], features[0])
        sums = [Term("identity", {(number, t): 1.0}, float(trees.base[t])) for t in range(trees.weights.shape[1])]
        if node.op_type == "TreeEnsembleClassifier":
            scores = _class_scores(trees, attributes, sums)
            return [np.array([Unknown()], dtype=object), row_of(scores)]
        return [row_of(_transformed(sums, attributes.get("post_transform", "NONE")))]


def _class_scores(trees: TreeEnsemble, attributes: Mapping[str, Any], sums: list[Term]) -> list[Any]:
    """Scores of a classifier. Two classes of which one has weights are onnxruntime's binary case (tree_ensemble_aggregator.h)."""
    transform, classes = str(attributes.get("post_transform", "NONE")), set(attributes["class_ids"])
    if len(sums) != 2 or len(classes) != 1:
        return _transformed(sums, transform)
    (held,) = classes
    given = attributes.get("base_values_as_tensor", attributes.get("base_values"))
    bias = 0.0 if given is None or not len(given) else float(given[-1])
    margin = Term("identity", sums[int(held)].weights, bias)
    if transform == "LOGISTIC":
        return [margin.linked("logistic").scaled(-1), margin.linked("logistic")]
    if transform != "NONE":
        return [Unknown(), Unknown()]
    is_positive = bool((trees.weights[trees.is_leaf] >= 0).all())
    return [symbols.subtract(1.0 if is_positive else 0.0, margin), margin]


def _transformed(sums: list[Term], transform: Any) -> list[Any]:
    name = {0: "NONE", 1: "SOFTMAX", 2: "LOGISTIC"}.get(transform, transform)
    if name == "NONE":
        return list(sums)
    if name == "LOGISTIC":
        return [symbols.logistic(s) for s in sums]
    return symbols.softmax(list(sums)) if name == "SOFTMAX" else [Unknown()] * len(sums)
