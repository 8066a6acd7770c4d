"""onnxruntime reports its use to its maker from the moment it is loaded, and keeps what it has not sent in $HOME: not in Vedette."""

import os
import subprocess
import sys

RUN = """
import onnx.helper as h, onnx
from serving.models.onnx import OnnxModel
one = [h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
graph = h.make_graph([h.make_node("Identity", ["x"], ["y"])], "g", one[:1], one[1:])
OnnxModel(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8).SerializeToString())
"""


def test_a_process_that_loads_a_model_leaves_nothing_at_home_and_so_has_nothing_to_send(tmp_path):
    own = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    subprocess.run([sys.executable, "-c", RUN], env={**own, "HOME": str(tmp_path)}, check=True, timeout=120)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == []
