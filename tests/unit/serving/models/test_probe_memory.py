"""A bundle that eats memory is refused by its probe; the process that asked is not touched."""

import resource

import numpy as np
import pytest
from onnx import TensorProto, helper

from serving.models.build import build_bundle
from serving.models.errors import BundleError
from serving.models.probe import free_bytes, probe

MIB = 1 << 20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Sums 600 MiB of zeros, which its graph asks for by a constant, and adds its input."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["all"], keepdims=1),
        helper.make_node("Add", ["all", "x"], ["sum"]),
    ]
    made = helper.make_graph(
        nodes,
        "hungry",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1])],
        [helper.make_tensor("size", TensorProto.INT64, [1], [600 * MIB // 4])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    golden = {"x": np.ones(1, np.float32)}
    folder = tmp_path_factory.mktemp("hungry") / "bundle"
    return build_bundle(folder, model=model.SerializeToString(), golden_inputs=golden, name="hungry", version="1")


@pytest.mark.heavy
@pytest.mark.usefixtures("cold_probe")
def test_a_bundle_that_needs_more_memory_than_the_probe_may_take_is_refused(bundle):
    with pytest.raises(BundleError, match="its limit of 512 MiB"):
        probe(bundle, memory_bytes=512 * MIB)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY, "the limit is the child's"


@pytest.mark.parametrize(("limit", "files", "free"), [
    pytest.param("1000000\n", 0, 400_000, id="of a pod with a limit"),
    pytest.param("1000000\n", 150_000, 700_000, id="files that the system keeps in memory may go"),
    pytest.param("max\n", 0, 8_000 * 1024, id="of the machine where there is none"),
    pytest.param("100\n", 0, 0, id="of a pod that is full"),
])  # fmt: skip
def test_free_memory(tmp_path, limit, files, free):
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000 kB\nMemFree: 1 kB\nMemAvailable:    8000 kB\nBuffers: 1 kB\n")
    (group / "memory.max").write_text(limit)
    (group / "memory.current").write_text("600000\n")
    (group / "memory.stat").write_text(f"anon 1\nfile {3 * files}\nactive_file {files}\ninactive_file {files}\n")
    assert free_bytes(tmp_path) == free
