"""The model and the requests that every server under test gets.

The model has 200 trees of depth 5 over 40 features, like a gradient-boosted detector, with seeded random splits. Its answers mean
nothing, its costs are real. This module only writes files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import orjson
from numpy.typing import NDArray
from onnx import TensorProto, helper

from loadtests.stubs import messages

MODEL: Final = "bench"
INPUT: Final = "features"
OUTPUT: Final = "score"
FEATURES: Final = 40
TREES: Final = 200
DEPTH: Final = 5
INFER_PATH: Final = f"/v2/models/{MODEL}/infer"

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one row each, which the load generators rotate. inputs: shape (n, 40). answers: shape (n,). json_bodies: a file with
    one JSON body per line."""

    model: Path
    inputs: Rows
    answers: NDArray[np.float32]
    json_bodies: Path

    def grpc_body(self, index: int) -> bytes:
        """A gRPC message (flag, length, protobuf) of one ModelInfer request, as it goes into an HTTP/2 DATA frame."""
        message: bytes = infer_request(self.inputs[index % len(self.inputs)]).SerializeToString()
        return b"\0" + len(message).to_bytes(4, "big") + message


def build_workload(folder: Path, *, requests: int = 256, seed: int = 7, inputs: Rows | None = None) -> Workload:
    """Write model and bodies to `folder`. onnxruntime itself gives the answers. inputs: use these rows instead of random ones."""
    import onnxruntime

    folder.mkdir(parents=True, exist_ok=True)
    if inputs is None:
        inputs = np.random.default_rng(seed + 1).standard_normal((requests, FEATURES), dtype=np.float32)
    model = folder / "model.onnx"
    model.write_bytes(tree_model(seed, inputs.shape[1]))
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    answers = np.concatenate([session.run([OUTPUT], {INPUT: r[None, :]})[0].reshape(-1) for r in inputs])
    bodies = folder / "bodies.jsonl"
    bodies.write_bytes(b"\n".join(json_body(r) for r in inputs) + b"\n")
    return Workload(model, inputs, answers, bodies)


def json_body(values: Rows) -> bytes:
    """An infer request over HTTP for one row."""
    tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, len(values)], "data": values}
    return orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def infer_request(values: Rows) -> Any:
    """An infer request over gRPC for one row, as raw contents."""
    tensor = messages.ModelInferRequest.InferInputTensor(name=INPUT, datatype="FP32", shape=[1, len(values)])
    return messages.ModelInferRequest(model_name=MODEL, inputs=[tensor], raw_input_contents=[values.tobytes()])


def tree_model(seed: int, features: int = FEATURES, *, trees: int = TREES) -> bytes:
    """An ONNX model of complete binary trees; the same seed gives the same bytes."""
    inner, nodes = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    rng = np.random.default_rng(seed)
    ids = np.tile(np.arange(nodes), trees)
    numbers = np.repeat(np.arange(trees), nodes)
    branch = ids < inner
    leaves = np.flatnonzero(~branch)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [OUTPUT],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=_ints(numbers),
        nodes_nodeids=_ints(ids),
        nodes_modes=["BRANCH_LEQ" if b else "LEAF" for b in branch],
        nodes_featureids=_ints(np.where(branch, rng.integers(0, features, len(ids)), 0)),
        nodes_values=np.where(branch, rng.standard_normal(len(ids)), 0).astype(np.float32).tolist(),
        nodes_truenodeids=_ints(np.where(branch, 2 * ids + 1, 0)),
        nodes_falsenodeids=_ints(np.where(branch, 2 * ids + 2, 0)),
        target_treeids=_ints(numbers[leaves]),
        target_nodeids=_ints(ids[leaves]),
        target_ids=[0] * len(leaves),
        target_weights=(rng.standard_normal(len(leaves)) / trees).astype(np.float32).tolist(),
    )
    graph = helper.make_graph(
        [node],
        MODEL,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _ints(values: Sequence[int] | NDArray[np.int64]) -> list[int]:
    return [int(v) for v in values]
