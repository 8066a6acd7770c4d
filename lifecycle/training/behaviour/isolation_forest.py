"""An isolation forest, and its ONNX graph: rows that few random cuts set apart are unusual.

Source: Liu, Ting & Zhou (2008), "Isolation Forest", ICDM. Score: 2 ** (-mean path length / c(sample)), between 0 and 1; scikit-learn's
forest gives the same for the same trees (a test compares the distributions). Cuts lie between float32 values, so that the graph and
numpy send every row the same way."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lifecycle.training.export import IR_VERSION, OPSET, OPSET_ML

EULER: Final = 0.5772156649015329
Floats32 = NDArray[np.float32]


@dataclass(slots=True)
class IsolationTree:
    """One tree. feature: -1 at a leaf. depth: of a leaf, its path length with what its rows would still take."""

    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    depth: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IsolationForest:
    """A fitted forest. sample: rows that each tree saw."""

    trees: tuple[IsolationTree, ...]
    sample: int
    columns: int

    def scores(self, rows: Floats32) -> NDArray[np.float64]:
        """Shape (n,): the higher, the more unusual. rows: shape (n, columns)."""
        paths = np.mean([_paths(tree, rows) for tree in self.trees], axis=0)
        return np.asarray(2.0 ** (-paths / average_path(self.sample)))


def average_path(n: int) -> float:
    """Mean length of an unsuccessful search in a binary tree of n values: equation 1 of the paper."""
    if n <= 1:
        return 0.0
    return 1.0 if n == 2 else 2.0 * (np.log(n - 1.0) + EULER) - 2.0 * (n - 1.0) / n


def fit_forest(rows: Floats32, *, trees: int, sample: int, seed: int) -> IsolationForest:
    """Fit a forest. rows: shape (n, columns), finite."""
    rng, size = np.random.default_rng(seed), min(sample, len(rows))
    limit = int(np.ceil(np.log2(max(size, 2))))
    grown = tuple(_grow(rows[rng.choice(len(rows), size, replace=False)], limit, rng) for _ in range(trees))
    return IsolationForest(grown, size, rows.shape[1])


def _grow(rows: Floats32, limit: int, rng: np.random.Generator) -> IsolationTree:
    tree = IsolationTree()
    _add(tree, rows, 0, limit, rng)
    return tree


def _add(tree: IsolationTree, rows: Floats32, depth: int, limit: int, rng: np.random.Generator) -> int:
    node = len(tree.feature)
    for values in (tree.feature, tree.left, tree.right):
        values.append(-1)
    tree.threshold.append(0.0)
    tree.depth.append(depth + average_path(len(rows)))
    tree.rows.append(len(rows))
    low, high = rows.min(axis=0), rows.max(axis=0)
    varied = np.flatnonzero(low < high)
    if depth >= limit or not len(varied):
        return node
    feature = int(rng.choice(varied))
    threshold = np.float32(rng.uniform(low[feature], high[feature]))
    threshold = min(max(threshold, low[feature]), np.nextafter(high[feature], low[feature]))  # some rows on either side
    is_left = rows[:, feature] <= threshold
    tree.feature[node], tree.threshold[node] = feature, float(threshold)
    tree.left[node] = _add(tree, rows[is_left], depth + 1, limit, rng)
    tree.right[node] = _add(tree, rows[~is_left], depth + 1, limit, rng)
    return node


def _paths(tree: IsolationTree, rows: Floats32) -> NDArray[np.float64]:
    feature, threshold = np.array(tree.feature), np.array(tree.threshold, dtype=np.float32)
    left, right, depth = np.array(tree.left), np.array(tree.right), np.array(tree.depth)
    at = np.zeros(len(rows), dtype=np.int64)
    while (inner := np.flatnonzero(feature[at] >= 0)).size:
        nodes = at[inner]
        goes_left = rows[inner, feature[nodes]] <= threshold[nodes]
        at[inner] = np.where(goes_left, left[nodes], right[nodes])
    return np.asarray(depth[at])


def to_onnx(forest: IsolationForest) -> bytes:
    """FP32 `features` [-1, columns] -> FP32 `anomaly` [-1]. The same forest gives the same bytes."""
    names = ("treeids", "nodeids", "featureids", "values", "hitrates", "modes", "truenodeids", "falsenodeids")
    nodes: dict[str, list[Any]] = {name: [] for name in names}
    targets: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(forest.trees):
        for node, feature in enumerate(tree.feature):
            is_leaf = feature < 0
            row = (
                number, node, max(feature, 0), tree.threshold[node], float(tree.rows[node]), "LEAF" if is_leaf else "BRANCH_LEQ",
                max(tree.left[node], 0), max(tree.right[node], 0),
            )  # fmt: skip
            for name, value in zip(names, row, strict=True):
                nodes[name].append(value)
            if is_leaf:
                for name, value in zip(targets, (number, node, 0, tree.depth[node]), strict=True):
                    targets[name].append(value)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", ["features"], ["paths"], domain="ai.onnx.ml", n_targets=1, aggregate_function="AVERAGE",
        post_transform="NONE", **{f"nodes_{k}": v for k, v in nodes.items()}, **{f"target_{k}": v for k, v in targets.items()},
    )  # fmt: skip
    steps = [
        ensemble,
        helper.make_node("Mul", ["paths", "scale"], ["exponent"]),
        helper.make_node("Pow", ["two", "exponent"], ["powers"]),
        helper.make_node("Squeeze", ["powers", "last"], ["anomaly"]),
    ]
    constants = {
        "scale": np.float32(-1.0 / average_path(forest.sample)),
        "two": np.float32(2),
        "last": np.array([1], dtype=np.int64),
    }
    return finish_graph(steps, constants, forest.columns)


def finish_graph(steps: list[Any], constants: dict[str, Any], columns: int) -> bytes:
    """The bytes of a graph from `features` to `anomaly`."""
    graph = helper.make_graph(
        steps, "behaviour",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("anomaly", TensorProto.FLOAT, [None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="vedette")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
