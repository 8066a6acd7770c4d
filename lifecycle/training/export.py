"""A fitted model as an ONNX graph with the same answers: text codes, trees and the logistic function in one graph.

Trees go over node by node, their thresholds rounded down to float32: for a float32 input, x <= t holds exactly when x <= that. So
every row reaches the same leaves as in LightGBM, and only the last bits of the sum differ. `nodes_hitrates` holds how many training
rows came by each node, which is what Shapley values are computed from (serving.explanations).

Graph: text columns (BYTES [-1, 1] each) and one FP32 [-1, k] tensor -> `label` INT64 [-1], `probabilities` FP32 [-1, 2]; with families
also `family_probabilities` FP32 [-1, families] and `family` BYTES [-1]: what an attack would be, of whatever row."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lifecycle.errors import ExportError
from lifecycle.training.ensemble.fitted import FittedEnsemble
from lifecycle.training.ensemble.graph import ensemble_nodes
from lifecycle.training.fit import UNKNOWN, Encoding, Fitted, FittedFamilies
from serving.models.manifest import TensorAssembly
from serving.models.onnx import OnnxModel

OPSET: Final = 17
OPSET_ML: Final = 3
IR_VERSION: Final = 8
NUMBERS: Final = "numeric"
FEATURES: Final = "features"
FAMILY: Final = "family"
FAMILY_PROBABILITIES: Final = "family_probabilities"
TOLERANCE: Final = 2e-6
RANK_TOLERANCE: Final = 1e-4
"""Of a rank: the last bits of a margin, times 1 / lifecycle.training.ensemble.ranks.MIN_GAP."""


def assembly_of(encoding: Encoding) -> tuple[TensorAssembly, ...]:
    """The graph's inputs and the columns they are made of."""
    text = tuple(TensorAssembly(tensor=c, columns=(c,)) for c in encoding.codes)
    tensor = NUMBERS if text else FEATURES
    return (*text, TensorAssembly(tensor=tensor, columns=encoding.numbers)) if encoding.numbers else text


def tensors_of(encoding: Encoding, frame: Any) -> dict[str, NDArray[Any]]:
    """The graph's inputs for rows of columns."""
    tensors: dict[str, NDArray[Any]] = {c: frame[c].to_numpy(dtype=object).reshape(-1, 1) for c in encoding.codes}
    if encoding.numbers:
        name = NUMBERS if encoding.codes else FEATURES
        tensors[name] = np.column_stack([frame[c].to_numpy(dtype=np.float32) for c in encoding.numbers])
    return tensors


def to_onnx(fitted: Fitted | FittedEnsemble, encoding: Encoding, families: FittedFamilies | None = None) -> bytes:
    """The graph's bytes; the same model gives the same bytes."""
    inputs, nodes, matrix = _inputs(encoding)
    constants = [numpy_helper.from_array(np.array(v), n) for n, v in _CONSTANTS.items()]
    if isinstance(fitted, FittedEnsemble):
        merged, tables = ensemble_nodes(fitted, matrix, _trees, "attack")
        nodes += [*merged, *_classes()]
        constants += tables
    else:
        nodes += [_trees(fitted.boosters, matrix, "margin"), *_logistic(), *_classes()]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    if families is not None:
        k = len(families.names)
        nodes += [_trees((families.booster,), matrix, "family_margins", targets=k), *_named(families.names)]
        outputs += [
            helper.make_tensor_value_info(FAMILY_PROBABILITIES, TensorProto.FLOAT, [None, k]),
            helper.make_tensor_value_info(FAMILY, TensorProto.STRING, [None]),
        ]
    return _graph(nodes, inputs, outputs, constants)


def _inputs(encoding: Encoding) -> tuple[list[Any], list[Any], str]:
    """The graph's inputs, the nodes that make one matrix of them, and its name."""
    inputs = [helper.make_tensor_value_info(c, TensorProto.STRING, [None, 1]) for c in encoding.codes]
    nodes, parts = [], []
    for i, (column, codes) in enumerate(encoding.codes.items()):
        nodes.append(_label_encoder(column, f"code_{i}", codes))
        parts.append(f"code_{i}")
    if encoding.numbers:
        name = NUMBERS if encoding.codes else FEATURES
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, len(encoding.numbers)]))
        parts.append(name)
    matrix = parts[0] if len(parts) == 1 else "matrix"
    if len(parts) > 1:
        nodes.append(helper.make_node("Concat", parts, [matrix], axis=1))
    return inputs, nodes, matrix


def _graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "detector", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="vedette")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def margins_to_onnx(fitted: Fitted, encoding: Encoding) -> bytes:
    """A graph of the same inputs that gives the log-odds alone, `margin` FP32 [-1, 1]: what a triage needs."""
    inputs, nodes, matrix = _inputs(encoding)
    outputs = [helper.make_tensor_value_info("margin", TensorProto.FLOAT, [None, 1])]
    return _graph([*nodes, _trees(fitted.boosters, matrix, "margin")], inputs, outputs, [])


def check_parity(
    model: OnnxModel,
    fitted: Fitted | FittedEnsemble,
    encoding: Encoding,
    frame: Any,
    families: FittedFamilies | None = None,
) -> float:
    """Largest difference of a score, or a family's probability, between the graph and LightGBM on these rows.

    Raises ExportError if it is over TOLERANCE, or RANK_TOLERANCE for the score of an ensemble."""
    matrix, tensors = encoding.matrix(frame), tensors_of(encoding, frame)
    tolerance = RANK_TOLERANCE if isinstance(fitted, FittedEnsemble) else TOLERANCE
    got = model.run(tensors, ["probabilities"])["probabilities"][:, 1]
    worst = _largest(fitted.scores(matrix), got, "scores", tolerance)
    if families is None:
        return worst
    got = model.run(tensors, [FAMILY_PROBABILITIES])[FAMILY_PROBABILITIES]
    expected = families.probabilities(matrix)
    return max(worst, *(_largest(expected[:, i], got[:, i], f"gives {n!r}, of") for i, n in enumerate(families.names)))


def _largest(expected: NDArray[np.float64], found: NDArray[Any], does: str, tolerance: float = TOLERANCE) -> float:
    got = found.astype(np.float64)
    worst = float(np.abs(expected - got).max())
    if not worst <= tolerance:
        row = int(np.abs(expected - got).argmax())
        raise ExportError(
            f"the ONNX graph {does} row {row} {got[row]:.7f}, LightGBM {expected[row]:.7f}; they must agree within {tolerance:g}, "
            "so no bundle was made; use other model.parameters, or report this with the detector's file"
        )
    return worst


_CONSTANTS: Final[dict[str, Any]] = {"one": np.float32(1), "half": np.float32(0.5), "last": np.array([1], dtype=np.int64)}


def _label_encoder(source: str, target: str, codes: Any) -> Any:
    return helper.make_node(
        "LabelEncoder", [source], [target], domain="ai.onnx.ml",
        keys_strings=list(codes), values_floats=list(codes.values()), default_float=UNKNOWN,
    )  # fmt: skip


def _logistic() -> list[Any]:
    """1 / (1 + exp(-margin)): keeps the relative precision of very small scores, which thresholds are often chosen among."""
    return [
        helper.make_node("Neg", ["margin"], ["against"]),
        helper.make_node("Exp", ["against"], ["odds"]),
        helper.make_node("Add", ["odds", "one"], ["odds_plus_one"]),
        helper.make_node("Reciprocal", ["odds_plus_one"], ["attack"]),
    ]


def _classes() -> list[Any]:
    """Outputs of the score: both classes, and the likelier one."""
    return [
        helper.make_node("Sub", ["one", "attack"], ["benign"]),
        helper.make_node("Concat", ["benign", "attack"], ["probabilities"], axis=1),
        helper.make_node("GreaterOrEqual", ["attack", "half"], ["is_attack"]),
        helper.make_node("Cast", ["is_attack"], ["labels"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["labels", "last"], ["label"]),
    ]


def _named(names: tuple[str, ...]) -> list[Any]:
    """Probabilities of the families, and the name of the likeliest."""
    return [
        helper.make_node("Softmax", ["family_margins"], [FAMILY_PROBABILITIES], axis=1),
        helper.make_node("ArgMax", [FAMILY_PROBABILITIES], ["family_code"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder", ["family_code"], [FAMILY], domain="ai.onnx.ml",
            keys_int64s=list(range(len(names))), values_strings=list(names),
        ),
    ]  # fmt: skip


def _trees(boosters: Sequence[Any], matrix: str, output: str, targets: int = 1) -> Any:
    """The mean of the boosters' margins, shape (n, targets). A booster of several classes has a tree for each in turn."""
    nodes: dict[str, list[Any]] = {
        k: [] for k in ("treeids", "nodeids", "featureids", "values", "hitrates", "modes", "truenodeids", "falsenodeids")
    }
    leaves: dict[str, list[Any]] = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    tree_id = 0
    for booster in boosters:
        for place, tree in enumerate(booster.dump_model()["tree_info"]):
            _Tree(tree_id, nodes, leaves, 1.0 / len(boosters), place % targets).add(tree["tree_structure"])
            tree_id += 1
    return helper.make_node(
        "TreeEnsembleRegressor", [matrix], [output], domain="ai.onnx.ml", n_targets=targets, post_transform="NONE",
        **{f"nodes_{k}": v for k, v in nodes.items()}, **{f"target_{k}": v for k, v in leaves.items()},
    )  # fmt: skip


class _Tree:
    """Appends one tree's nodes to the ensemble's flat lists."""

    def __init__(
        self, tree_id: int, nodes: dict[str, list[Any]], leaves: dict[str, list[Any]], share: float, target: int
    ) -> None:
        self.tree_id, self.nodes, self.leaves, self.share, self.target, self.size = tree_id, nodes, leaves, share, target, 0

    def add(self, node: Any) -> int:
        """Append a node and what is below it; returns its id."""
        node_id, self.size = self.size, self.size + 1
        if "split_feature" not in node:
            self._row(node_id, 0, 0.0, _rows(node), "LEAF")
            leaf = (self.tree_id, node_id, self.target, float(node["leaf_value"]) * self.share)
            for key, value in zip(self.leaves, leaf, strict=True):
                self.leaves[key].append(value)
            return node_id
        if node["decision_type"] != "<=":
            raise ExportError(
                f"a tree splits by {node['decision_type']!r}; only numeric splits are exported (no categorical_feature)"
            )
        at = self._row(
            node_id, int(node["split_feature"]), _float32_at_most(float(node["threshold"])), _rows(node), "BRANCH_LEQ"
        )
        self.nodes["truenodeids"][at] = self.add(node["left_child"])
        self.nodes["falsenodeids"][at] = self.add(node["right_child"])
        return node_id

    def _row(self, node_id: int, feature: int, value: float, rows: float, mode: str) -> int:
        for key, item in zip(self.nodes, (self.tree_id, node_id, feature, value, rows, mode, 0, 0), strict=True):
            self.nodes[key].append(item)
        return len(self.nodes["nodeids"]) - 1


def _rows(node: Any) -> float:
    """Training rows that came by a node; LightGBM counts none for a tree of one leaf."""
    return float(node.get("internal_count", node.get("leaf_count", 1)) or 1)


def _float32_at_most(threshold: float) -> float:
    nearest = np.float32(threshold)
    return float(nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-np.inf)))
