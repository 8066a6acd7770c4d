"""Candidates that go wrong, made from a good bundle: each a real ONNX bundle that a probe would pass, but for one.

This module only edits graphs; the rollouts judge them."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from serving.models.build import build_bundle
from serving.models.bundle import MANIFEST, Bundle, file_digest, read_bundle
from serving.models.golden import decode_golden
from serving.models.onnx import OnnxModel
from serving.models.store import BundleStore

Rows = NDArray[np.float32]
GraphEdit = Callable[[Any], None]
SIZE: Final = 192
"""Side of the matrices that a slow graph multiplies."""


def failing(bundle: Bundle, rows: Rows, share: float, store: BundleStore) -> Bundle:
    """Fails on about `share` of the rows (a look-up out of range), and on no golden case.

    rows: float32 (n, k), inputs as the model meets them."""
    column, limit = _telling(rows, share)
    golden = rows[rows[:, column] < limit][:16]

    def edit(graph: Any) -> None:
        source = graph.input[0].name
        _constants(
            graph,
            trap_column=np.array(column),
            trap_limit=np.float32(limit),
            trap_far=np.int64(7),
            trap_table=np.zeros(1, np.float32),
        )
        graph.node.extend(
            [
                helper.make_node("Gather", [source, "trap_column"], ["trap_value"], axis=1),
                helper.make_node("GreaterOrEqual", ["trap_value", "trap_limit"], ["trap_hit"]),
                helper.make_node("Cast", ["trap_hit"], ["trap_one"], to=TensorProto.INT64),
                helper.make_node("Mul", ["trap_one", "trap_far"], ["trap_index"]),
                helper.make_node("Gather", ["trap_table", "trap_index"], ["trap_zero"], axis=0),
                helper.make_node("Unsqueeze", ["trap_zero", "last"], ["trap_zeros"]),
                helper.make_node("Add", ["calm", "trap_zeros"], ["probabilities"]),
            ]
        )

    return _rebuilt(bundle, store, edit, golden, f"as version {bundle.manifest.version}, with a look-up that is too short")


def slow(bundle: Bundle, rows: Rows, run_ms: float, store: BundleStore) -> Bundle:
    """Takes about `run_ms` milliseconds of one processor a run on this machine, and answers as before."""

    def turning(turns: int) -> GraphEdit:
        def edit(graph: Any) -> None:
            _constants(
                graph,
                burn_turns=np.int64(turns), burn_on=np.bool_(True), burn_square=np.full((SIZE, SIZE), 1 / SIZE, np.float32),
                burn_nothing=np.float32(0), burn_axes=np.array([0, 1], np.int64),
            )  # fmt: skip
            source = graph.input[0].name
            graph.node.extend(
                [
                    helper.make_node("ReduceSum", [source], ["burn_sum"], keepdims=0),
                    helper.make_node("Mul", ["burn_sum", "burn_nothing"], ["burn_zero"]),
                    helper.make_node("Add", ["burn_square", "burn_zero"], ["burn_start"]),
                    helper.make_node("Loop", ["burn_turns", "burn_on", "burn_start"], ["burn_end"], body=_burning()),
                    helper.make_node("ReduceMax", ["burn_end"], ["burn_most"], keepdims=0),
                    helper.make_node("Mul", ["burn_most", "burn_nothing"], ["burn_still_zero"]),
                    helper.make_node("Add", ["calm", "burn_still_zero"], ["probabilities"]),
                ]
            )

        return edit

    trial = 20
    with TemporaryDirectory(prefix="vedette-") as scratch:
        tried = _build(bundle, Path(scratch) / "trial", "0", turning(trial), rows[:1], "trial")
        took_us = _least_us(OnnxModel(tried.model_path), rows[:1])
    turns = max(trial, round(trial * run_ms * 1000 / took_us))
    return _rebuilt(bundle, store, turning(turns), rows[:4], f"as version {bundle.manifest.version}, with a much larger graph")


def flooding(bundle: Bundle, rows: Rows, share: float, store: BundleStore) -> Bundle:
    """Alerts on about `share` of the rows: the same ranking, every score raised."""
    scores = _scores(bundle, rows).astype(np.float64)
    point = bundle.manifest.operating_points[str(bundle.manifest.default_operating_point)]
    level = float(np.quantile(scores, 1 - share))
    raised = max(0.0, _logit(point.threshold) - _logit(level) + 1e-3)

    def edit(graph: Any) -> None:
        _constants(graph, flood_by=np.float32(np.exp(-raised)), flood_two=np.array([1, 1], np.int64))
        graph.node.extend(
            [
                helper.make_node("Split", ["calm", "flood_two"], ["flood_benign", "flood_attack"], axis=1),
                helper.make_node("Mul", ["flood_benign", "flood_by"], ["flood_less"]),
                helper.make_node("Add", ["flood_less", "flood_attack"], ["flood_sum"]),
                helper.make_node("Div", ["flood_attack", "flood_sum"], ["flood_raised"]),
                helper.make_node("Sub", ["one", "flood_raised"], ["flood_rest"]),
                helper.make_node("Concat", ["flood_rest", "flood_raised"], ["probabilities"], axis=1),
            ]
        )

    return _rebuilt(bundle, store, edit, rows[:16], f"as version {bundle.manifest.version}, shifted towards alerts")


def mislabelled(bundle: Bundle, other: Bundle, store: BundleStore) -> Bundle:
    """Ships the graph of `other` with this bundle's golden cases: the wrong file, which a probe must find."""
    version = store.next_version(bundle.manifest.name)
    with TemporaryDirectory(prefix="vedette-") as scratch:
        made = _build(
            bundle, Path(scratch) / "bundle", version, lambda graph: None, _golden(bundle), "with the wrong graph in it"
        )
        folder = made.folder
        (folder / "model.onnx").write_bytes(other.model_path.read_bytes())
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"]["model.onnx"] = file_digest(folder / "model.onnx")
        (folder / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=1) + "\n")
        return store.read(store.add(read_bundle(folder)))


def alert_share(bundle: Bundle, rows: Rows) -> float:
    """Share of the rows that alert at the bundle's own operating point."""
    point = bundle.manifest.operating_points[str(bundle.manifest.default_operating_point)]
    return float((_scores(bundle, rows) >= point.threshold).mean())


def threshold_for(bundle: Bundle, rows: Rows, share: float) -> float:
    """The threshold at which about `share` of the rows alert."""
    return float(np.quantile(_scores(bundle, rows).astype(np.float64), 1 - share))


def _rebuilt(bundle: Bundle, store: BundleStore, edit: GraphEdit, golden: Rows, says: str) -> Bundle:
    version = store.next_version(bundle.manifest.name)
    with TemporaryDirectory(prefix="vedette-") as scratch:
        return store.read(store.add(_build(bundle, Path(scratch) / "bundle", version, edit, golden, says)))


def _build(bundle: Bundle, folder: Path, version: str, edit: GraphEdit, golden: Rows, says: str) -> Bundle:
    model = onnx.load(str(bundle.model_path))
    graph = model.graph
    before = len(graph.node)
    edit(graph)
    if len(graph.node) > before:
        for node in graph.node[:before]:
            _rename(node, "probabilities", "calm")
    onnx.checker.check_model(model)
    fields = bundle.manifest.model_dump(
        mode="python", exclude={"inputs", "outputs", "golden", "files", "version", "description"}
    )
    fields.pop("schema_version", None)
    return build_bundle(
        folder,
        model=bytes(model.SerializeToString(deterministic=True)),
        golden_inputs={graph.input[0].name: golden},
        version=version,
        description=f"{bundle.manifest.description} Made for a demonstration: {says}.",
        files={name: (bundle.folder / name).read_bytes() for name in bundle.manifest.files if name.startswith("rules/")},
        **fields,
    )


def _rename(node: Any, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            if name == old:
                names[index] = new


def _constants(graph: Any, **values: Any) -> None:
    known = {c.name for c in graph.initializer}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in values.items() if n not in known)


def _burning() -> Any:
    """A loop's body: the matrix times itself; it is built so that its values do not grow."""
    shape = [SIZE, SIZE]
    return helper.make_graph(
        [
            helper.make_node("Identity", ["burn_go"], ["burn_go_on"]),
            helper.make_node("MatMul", ["burn_matrix", "burn_square"], ["burn_product"]),
        ],
        "burning",
        [
            helper.make_tensor_value_info("burn_turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("burn_go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("burn_matrix", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("burn_go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("burn_product", TensorProto.FLOAT, shape),
        ],
    )


def _telling(rows: Rows, share: float) -> tuple[int, float]:
    """A column and a limit that about `share` of the rows reach."""
    best: tuple[float, int, float] | None = None
    for column in range(rows.shape[1]):
        limit = float(np.quantile(rows[:, column], 1 - share))
        reached = float((rows[:, column] >= limit).mean())
        if best is None or abs(reached - share) < best[0]:
            best = (abs(reached - share), column, limit)
    assert best is not None  # noqa: S101  # nosec B101  # a model has at least one column
    return best[1], best[2]


def _golden(bundle: Bundle) -> Rows:
    cases: Mapping[str, Any] = decode_golden((bundle.folder / "golden.json").read_bytes())[0].inputs
    return np.asarray(next(iter(cases.values())))


def _scores(bundle: Bundle, rows: Rows) -> NDArray[np.float32]:
    model = OnnxModel(bundle.model_path)
    found = model.run({model.inputs[0].name: rows}, ["probabilities"])["probabilities"]
    return np.ascontiguousarray(found[:, 1])


def _least_us(model: OnnxModel, row: Rows) -> float:
    """Processor time of one run, independent of other load on the machine."""
    times = []
    for _ in range(5):
        began = time.thread_time()
        model.run({model.inputs[0].name: row})
        times.append((time.thread_time() - began) * 1e6)
    return max(min(times), 1.0)


def _logit(p: float) -> float:
    clipped = min(max(p, 1e-12), 1 - 1e-12)
    return float(np.log(clipped / (1 - clipped)))
