"""The model `simple` that public example clients of the protocol ask: INT32 [n, 16] INPUT0 and INPUT1, their sum and difference."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from serving.models.build import build_bundle
from serving.models.bundle import Bundle


def build_simple(folder: Path, version: str = "1") -> Bundle:
    """Write the bundle to a new folder."""
    shape = [None, 16]
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"], name="sum"),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"], name="difference"),
        ],
        "simple",
        [helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name in ("INPUT0", "INPUT1")],
        [helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name in ("OUTPUT0", "OUTPUT1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    ones = np.ones((1, 16), dtype=np.int32)
    return build_bundle(
        folder,
        model=model.SerializeToString(deterministic=True),
        golden_inputs={"INPUT0": np.arange(16, dtype=np.int32).reshape(1, 16), "INPUT1": ones},
        name="simple",
        version=version,
        description="Sum and difference of two INT32 tensors, as in the protocol's public examples.",
    )
