"""A model without a score that answers fewer rows than it was sent: its fault, and said so, as one with a score."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from serving.errors import ModelFault
from serving.loading.served_file import newest_of_each
from serving.messages import InferRequest, RequestedOutput, Tensor
from serving.models.build import build_bundle
from tests.unit.serving.replica.test_service import World


def dropping(folder, rows, kept, *, score=None):
    """x FP32 [rows, 1] -> of it what is over 0 as `y` [kept, 1], all of it as `z` [rows, 1], and their number `n` [1]."""
    limit = helper.make_tensor("limit", TensorProto.FLOAT, [1], [0.0])
    flat = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    nodes = [
        helper.make_node("Greater", ["x", "limit"], ["is_above"]),
        helper.make_node("Reshape", ["is_above", "flat"], ["keep"]),
        helper.make_node("Compress", ["x", "keep"], ["y"], axis=0),
        helper.make_node("Identity", ["x"], ["z"]),
        helper.make_node("Size", ["y"], ["size"]),
        helper.make_node("Reshape", ["size", "flat"], ["n"]),
    ]
    floats = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [d, 1]) for n, d in (("x", rows), ("y", kept), ("z", rows))]
    outputs = [*floats[1:], helper.make_tensor_value_info("n", TensorProto.INT64, [1])]
    graph = helper.make_graph(nodes, "dropping", floats[:1], outputs, [limit, flat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    judged = {
        "operating_points": {"usual": {"threshold": 0.5, "investigate": 0.1, "requirement": "none"}},
        "default_operating_point": "usual",
    }
    fields = {} if score is None else {"score": {"output": score}, **judged}
    golden = {"x": np.array([[1.0], [2.0]], np.float32)}
    return build_bundle(folder, model=model, name="simple", version="1", golden_inputs=golden, **fields)


def ask(*values, outputs=()):
    return InferRequest("simple", None, (Tensor("x", "FP32", np.array(values, np.float32).reshape(-1, 1)),), outputs=outputs)


@pytest.fixture
def serving(tmp_path):
    async def serve(*dimensions, **options):
        world = World(tmp_path, dropping(tmp_path / "bundle", *dimensions, **options))
        await world.service.apply(newest_of_each(world.store))
        assert world.service.is_ready(), world.service.why_not_ready()
        return world.service

    return serve


@pytest.mark.parametrize("dimensions", [(None, None), ("n", "n"), ("n", None)])
@pytest.mark.parametrize("values", [(1, -1, 1), (-1,)])
async def test_a_row_that_is_dropped_is_the_model_s_fault(serving, dimensions, values):
    service = await serving(*dimensions)
    kept = sum(v > 0 for v in values)
    with pytest.raises(
        ModelFault, match=rf"does not answer every row: output 'y' has shape \[{kept}, 1\] for {len(values)} row"
    ):
        await service.infer(ask(*values))
    assert [t.data.tolist() for t in (await service.infer(ask(1, 2))).outputs] == [[[1.0], [2.0]], [[1.0], [2.0]], [2]]


async def test_an_output_whose_rows_are_called_otherwise_may_have_any_number_of_them(serving):
    service = await serving("n", "m")
    assert [t.data.tolist() for t in (await service.infer(ask(1, -1, 2))).outputs] == [
        [[1.0], [2.0]],
        [[1.0], [-1.0], [2.0]],
        [2],
    ]


async def test_beside_a_score_that_is_whole_another_output_may_not_drop_rows_either(serving):
    service = await serving(None, None, score="z")
    await service.infer(ask(1, -1))
    with pytest.raises(ModelFault, match="output 'y' has shape"):
        await service.infer(ask(1, -1, outputs=(RequestedOutput("y"),)))
