"""What a bundle may do and take: control flow, sizes that follow values, files, outputs, time, memory; by graphs made for the purpose."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from serving.models.build import build_bundle
from serving.models.errors import BundleError
from serving.models.graph import check_ops, external_files
from serving.models.limits.bundle_limits import ModelLimits, check_runs, check_size, limits_of
from serving.models.limits.growth import check_growth
from serving.models.onnx import OnnxModel
from serving.settings import ServingSettings
from tests.fakes.probes import probe_once

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def graph(*nodes, inputs=(("x", FLOAT, ["n", 4]),), output=("y", FLOAT, ["n", "m"]), constants=(), functions=(), domains=()):
    made = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*output)],
        [helper.make_tensor(name, kind, [len(values)], values) for name, kind, values in constants],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(made, opset_imports=imports, ir_version=9, functions=list(functions))


def node(kind, inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def turns(count, condition=""):
    """A loop that adds x to itself."""
    body = helper.make_graph(
        [node("Add", ["sum", "x"], ["more"]), node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("sum", FLOAT, None),
        ],
        [helper.make_tensor_value_info("on", BOOL, []), helper.make_tensor_value_info("more", FLOAT, None)],
    )
    return node("Loop", [count, condition, "x"], body=body)


def branch(captured):
    """A branch that gives a value of the graph around it."""
    return helper.make_graph(
        [node("Identity", [captured], ["given"])], "b", [], [helper.make_tensor_value_info("given", INT64, None)]
    )


OPSET = helper.make_opsetid("", 17)
COUNT = ("k", INT64, [1])
BY_VALUE = {
    "ConstantOfShape": graph(node("ConstantOfShape", ["k"]), inputs=[COUNT]),
    "Tile": graph(node("Tile", ["x", "k"]), inputs=[("x", FLOAT, ["n"]), COUNT]),
    "Expand": graph(node("Expand", ["x", "k"]), inputs=[("x", FLOAT, ["n"]), COUNT]),
    "Pad, by a sum": graph(
        node("Add", ["k", "one"], ["more"]), node("Pad", ["x", "more"]), inputs=[("x", FLOAT, []), COUNT], constants=[("one", INT64, [1])]
    ),
    "Range": graph(node("Range", ["zero", "k", "one"]), inputs=[("k", INT64, [])], constants=[("zero", INT64, [0]), ("one", INT64, [1])]),
    "Expand, by a value within": graph(
        node("ReduceMax", ["x"], ["top"], keepdims=0), node("Cast", ["top"], ["whole"], to=INT64),
        node("Unsqueeze", ["whole", "zero"], ["to"]),
        node("Expand", ["x", "to"]), constants=[("zero", INT64, [0])],
    ),
    "Loop": graph(turns("k"), inputs=[("x", FLOAT, ["n"]), ("k", INT64, [])]),
    "Loop, until a condition": graph(turns("", "go"), inputs=[("x", FLOAT, ["n"]), ("go", BOOL, [])]),
    "a branch that captures it": graph(
        node("If", ["always"], ["to"], then_branch=branch("k"), else_branch=branch("k")), node("ConstantOfShape", ["to"]),
        inputs=[COUNT], constants=[("always", BOOL, [True])],
    ),
    "a function of the model": graph(
        helper.make_node("grow", ["x", "k"], ["y"], domain="own"),
        inputs=[("x", FLOAT, ["n"]), COUNT],
        domains=["own"],
        functions=[helper.make_function("own", "grow", ["a", "b"], ["c"], [node("Tile", ["a", "b"], ["c"])], [OPSET])],
    ),
}  # fmt: skip
BY_SHAPE = {
    "Expand": graph(node("Shape", ["x"], ["s"]), node("Expand", ["one", "s"]), constants=[("one", FLOAT, [1.0])]),
    "a constant": graph(node("Tile", ["x", "two"]), constants=[("two", INT64, [2, 2])]),
    "Loop": graph(node("Size", ["x"], ["s"]), turns("s")),
}


@pytest.mark.parametrize("made", BY_VALUE.values(), ids=BY_VALUE)
def test_a_size_that_follows_a_value_is_refused(made):
    with pytest.raises(BundleError, match=r"follows (the value|a condition)"):
        check_growth(made, "bounded")


@pytest.mark.parametrize("made", BY_SHAPE.values(), ids=BY_SHAPE)
def test_a_size_that_follows_a_shape_or_a_constant_is_not(made):
    check_growth(made, "bounded")


@pytest.mark.parametrize(("made", "control_flow", "is_refused"), [
    pytest.param(BY_SHAPE["Loop"], "none", True, id="none: not even a bounded loop"),
    pytest.param(BY_VALUE["Loop"], "any", False, id="any: a loop of any length"),
    pytest.param(BY_VALUE["Tile"], "any", True, id="any: sizes that follow values are refused still"),
    pytest.param(
        graph(helper.make_node("BeamSearch", ["x"], ["y"], domain="com.microsoft"), domains=["com.microsoft"]),
        "bounded", True, id="text that is generated until it stops itself",
    ),
])  # fmt: skip
def test_control_flow_is_a_setting(made, control_flow, is_refused):
    if not is_refused:
        check_growth(made, control_flow)
        return
    with pytest.raises(BundleError, match="is not allowed"):
        check_growth(made, control_flow)


def test_operators_of_others_are_refused():
    with pytest.raises(BundleError, match="its domain is not one of"):
        check_ops(graph(helper.make_node("Run", ["x"], ["y"], domain="evil.example"), domains=["evil.example"]))


@pytest.mark.parametrize("place", ["/etc/passwd", "../../secret", "a/../../b", "C:\\x"])
def test_data_outside_the_bundle_is_refused(place):
    made = graph(node("Add", ["x", "w"]), constants=[("w", FLOAT, [1.0])])
    tensor = made.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    with pytest.raises(BundleError, match="outside the bundle's folder"):
        external_files(made)


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """Four numbers in, eight out: 32 bytes a row."""
    made = graph(node("Concat", ["x", "x"], axis=1), output=("y", FLOAT, ["n", 8]))
    golden = {"x": np.ones((3, 4), np.float32)}
    return build_bundle(
        tmp_path_factory.mktemp("doubling") / "bundle",
        model=made.SerializeToString(),
        golden_inputs=golden,
        name="doubling",
        version="1",
    )


def test_outputs_are_limited_by_the_row(doubling):
    model = OnnxModel(doubling.model_path)
    check_runs(doubling, model, ModelLimits(output_bytes=32))
    with pytest.raises(BundleError, match="32 bytes a row, at most 31"):
        check_runs(doubling, model, ModelLimits(output_bytes=31))


def test_time_is_limited(doubling):
    with pytest.raises(BundleError, match="VEDETTE_MODEL_RUN_S"):
        check_runs(doubling, OnnxModel(doubling.model_path), ModelLimits(run_s=1e-9))


def test_files_are_limited(doubling):
    with pytest.raises(BundleError, match="VEDETTE_MODEL_BYTES"):
        check_size(doubling, ModelLimits(bundle_bytes=10))


def test_the_probe_applies_them(doubling, tmp_path):
    with pytest.raises(BundleError, match="32 bytes a row"):
        probe_once(doubling, limits=ModelLimits(output_bytes=31))
    made = graph(
        node("Shape", ["x"], ["shape"]), node("ReduceMin", ["shape"], ["k"], keepdims=1), node("Tile", ["x", "by"]),
        constants=[("by", INT64, [1, 1])], output=("y", FLOAT, ["n", 4]),
    )  # fmt: skip
    bundle = build_bundle(
        tmp_path / "tiles",
        model=made.SerializeToString(),
        golden_inputs={"x": np.ones((1, 4), np.float32)},
        name="tiles",
        version="1",
    )
    assert probe_once(bundle).golden_cases == 1


def test_the_limits_are_settings():
    settings = ServingSettings(
        model_bytes=1, model_memory_bytes=2, model_output_bytes=3, model_run_s=4, model_control_flow="none"
    )
    assert limits_of(settings) == ModelLimits(1, 2, 3, 4, "none")
    assert limits_of(ServingSettings()) == ModelLimits()
