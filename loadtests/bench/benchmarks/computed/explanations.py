"""Explanations: microseconds a row of exact Shapley values of one model, by Vedette, by LightGBM itself and by shap.TreeExplainer.

The model is 100 trees of 31 leaves over 40 columns, fitted to made-up rows. Vedette has the ONNX graph only and answers attributions, as
a replica does. LightGBM's `pred_contrib` and `shap` have the model itself; shap asks LightGBM for it. `shap-own` is shap's own code on
the same trees. Values are compared before anything is timed, within 1e-6. One thread each; each call has other rows."""

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtests.bench import targets
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row

COLUMNS: Final = 40
TREES: Final = 100
LEAVES: Final = 31
_ROWS: Final = 20_000
_SIZES: Final = ((1, 40), (100, 4), (1000, 1))
"""(rows in a call, calls in a round)."""
Explain = Callable[[NDArray[np.float32]], Any]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if the values differ."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(2_000 if quick else _ROWS, COLUMNS)).astype(np.float32)
    label = matrix[:, :6].sum(axis=1) + matrix[:, 0] * matrix[:, 1] + rng.normal(size=len(matrix)) > 0
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        ready_s, ways = _ways(matrix, label, Path(folder))
        found = [row("explanations/vedette/ready after", [ready_s], "s")]
        for size, calls in _SIZES:
            found += _compare(ways, matrix, size, calls, rounds)
    return found


def _ways(matrix: NDArray[np.float32], label: NDArray[np.bool_], folder: Path) -> tuple[float, dict[str, Explain]]:
    import lightgbm
    import shap

    from lifecycle.training.export import assembly_of, to_onnx
    from lifecycle.training.fit import Encoding, Fitted
    from serving.explanations.explainer import Explainer
    from serving.models.build import build_bundle
    from serving.models.manifest import FieldSpec, OperatingPoint, ScoreSpec
    from serving.models.onnx import OnnxModel

    names = tuple(f"c{i}" for i in range(COLUMNS))
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": LEAVES, "verbose": -1, "num_threads": 1, "deterministic": True},
        lightgbm.Dataset(matrix, label), num_boost_round=TREES,
    )  # fmt: skip
    encoding = Encoding({}, names)
    bundle = build_bundle(
        folder / "bundle", model=to_onnx(Fitted((booster,)), encoding), golden_inputs={"features": matrix[:8]}, name="bench", version="1",
        assembly=assembly_of(encoding), request_fields=tuple(FieldSpec(name=n, datatype="FP32") for n in names),
        score=ScoreSpec(output="probabilities", column=1), default_operating_point="one",
        operating_points={"one": OperatingPoint(threshold=0.5, investigate=0.5, requirement="none")},
    )  # fmt: skip
    model = OnnxModel(bundle.model_path)
    started = time.perf_counter()
    explainer = Explainer.of(bundle, model.run)
    ready_s = time.perf_counter() - started
    by_shap, own = shap.TreeExplainer(booster), shap.TreeExplainer(_trees_for_shap(bundle.model_path))
    ways: dict[str, Explain] = {
        "vedette": lambda rows: explainer.explain({"features": rows}, budget_s=1),
        "lightgbm": lambda rows: booster.predict(rows, pred_contrib=True, num_threads=1),
        "shap": by_shap.shap_values,
        "shap-own": lambda rows: own.shap_values(rows.astype(np.float64)),
    }
    values = np.array([a.values for a in explainer.explain({"features": matrix[:200]}, budget_s=1)])
    for name in ("lightgbm", "shap", "shap-own"):
        worst = float(np.abs(values - ways[name](matrix[:200])[:, :COLUMNS]).max())
        if worst > 1e-6:
            raise BenchError(f"explanations: vedette's values differ from {name}'s by up to {worst:.2g}")
    return ready_s, ways


def _trees_for_shap(model: Path) -> dict[str, Any]:
    """The trees of the graph in the form that shap takes those of unknown libraries in."""
    from serving.explanations.trees.tree_ensemble import TREE_OPERATORS, read_trees
    from serving.models.graph import attributes_of, read_graph

    node = next(n for n in read_graph(model).graph.node if n.op_type in TREE_OPERATORS)
    trees = read_trees(node.op_type, attributes_of(node))
    roots = [*np.flatnonzero(trees.parent < 0).tolist(), len(trees.parent)]
    found = []
    for begin, end in pairwise(roots):  # our exporter writes one tree after another
        part = slice(begin, end)
        is_leaf = trees.is_leaf[part]
        left, right = (
            np.where(is_leaf, -1, side[part] - begin).astype(np.int32) for side in (trees.when_true, trees.when_false)
        )
        found.append({
            "children_left": left, "children_right": right, "children_default": right, "thresholds": trees.threshold[part],
            "features": np.where(is_leaf, -2, trees.feature[part]).astype(np.int32), "values": trees.weights[part],
            "node_sample_weight": None if trees.cover is None else trees.cover[part],
        })  # fmt: skip
    return {"trees": found}


def _compare(ways: dict[str, Explain], matrix: NDArray[np.float32], size: int, calls: int, rounds: int) -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        order = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in order:
            slower = max(calls // 10, 1) if name == "shap" and size == 1 else calls
            times[name].append(_us_a_row(ways[name], matrix, size, slower, turn))
    named = {name: f"explanations/{name}/{size} row{'s' * (size > 1)}" for name in ways}
    faster = min((name for name in ways if name != "vedette"), key=lambda name: statistics.median(times[name]))
    against = (named[faster], times[faster])
    return [
        row(named["vedette"], times["vedette"], "us/row", against=against, target=targets.ratio("<=", 1)),
        *(row(named[name], times[name], "us/row") for name in ways if name != "vedette"),
    ]


def _us_a_row(explain: Explain, matrix: NDArray[np.float32], size: int, calls: int, turn: int) -> float:
    """Microseconds per row: the median over the calls."""
    taken = []
    for call in range(calls):
        begin = (turn * calls + call) * size % (len(matrix) - size)
        rows = matrix[begin : begin + size]
        started = time.perf_counter()
        explain(rows)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) / size * 1e6
