"""`vedette bundle`: a bundle of any ONNX model, and what is refused."""

import json

import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.models.bundle import app
from serving.models.errors import BundleError, RunError
from serving.models.golden import decode_golden
from serving.models.store import BundleStore


@pytest.fixture
def onnx_file(tmp_path):
    """FP32 [n, 2] -> its mean [n]."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [None])],
    )
    path = tmp_path / "mean.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def create(tmp_path, *options):
    done = CliRunner().invoke(app, ["create", "--store-dir", str(tmp_path / "store"), "--json", *options])
    if done.exception:
        raise done.exception
    return json.loads(done.stdout)


def manifest_of(tmp_path, made):
    said = made["manifest"]
    return BundleStore(tmp_path / "store").resolve(said["name"], said["version"]).manifest


def test_a_model_alone_is_enough(tmp_path, onnx_file):
    made = create(tmp_path, "--onnx", str(onnx_file))
    manifest = manifest_of(tmp_path, made)
    assert (manifest.name, manifest.version) == ("mean", "1")
    assert manifest.score is None
    assert manifest.golden is not None, "inputs are made up from the signature"
    assert [(t.name, t.shape) for t in manifest.inputs] == [("x", (-1, 2))]


def test_the_next_one_of_a_name_is_the_next_version(tmp_path, onnx_file):
    create(tmp_path, "--onnx", str(onnx_file))
    assert create(tmp_path, "--onnx", str(onnx_file))["manifest"]["version"] == "2"


def test_a_score_with_thresholds_answers_verdicts(tmp_path, onnx_file):
    thresholds = ("--threshold", "siem_alerting=0.8", "--threshold", "night=0.9")
    manifest = manifest_of(tmp_path, create(tmp_path, "--onnx", str(onnx_file), "--score", "mean", *thresholds))
    assert manifest.default_operating_point == "siem_alerting"
    assert {name: point.threshold for name, point in manifest.operating_points.items()} == {"siem_alerting": 0.8, "night": 0.9}


def test_columns_are_put_together_to_tensors(tmp_path, onnx_file):
    manifest = manifest_of(tmp_path, create(tmp_path, "--onnx", str(onnx_file), "--input", "x=a,b", "--name", "by-columns"))
    assert (manifest.name, manifest.assembly[0].columns) == ("by-columns", ("a", "b"))
    assert [(f.name, f.datatype) for f in manifest.request_fields] == [("a", "FP32"), ("b", "FP32")]


RULE = "thresholds:\n  - {id: high, title: a high value, when: a > 0.9, severity: high}\n"


def test_rules_come_along_and_must_hold(tmp_path, onnx_file):
    folder = tmp_path / "rules"
    folder.mkdir()
    options = ("--onnx", str(onnx_file), "--input", "x=a,b", "--score", "mean", "--rules", str(folder))
    with pytest.raises(CommandError, match="has no rules"):
        create(tmp_path, *options)
    (folder / "rules.yaml").write_text(RULE)
    assert "rules/rules.yaml" in manifest_of(tmp_path, create(tmp_path, *options)).files
    (folder / "rules.yaml").write_text(RULE.replace("a > 0.9", "nowhere > 0.9"))
    with pytest.raises(BundleError, match="nowhere"):
        create(tmp_path, *options)


def test_a_golden_request_is_kept(tmp_path, onnx_file):
    request = tmp_path / "request.json"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [3, 5]}
    request.write_text(json.dumps({"inputs": [tensor]}))
    made = create(tmp_path, "--onnx", str(onnx_file), "--golden", str(request))
    bundle = BundleStore(tmp_path / "store").resolve(made["manifest"]["name"])
    (case,) = decode_golden((bundle.folder / "golden.json").read_bytes())
    assert case.outputs["mean"].tolist() == [4.0]


@pytest.mark.parametrize("number", ["9" * 400, "[[1]]", "null", '{"a": 1}'])
def test_a_golden_request_that_is_none_is_refused_in_one_message(tmp_path, onnx_file, number):
    request = tmp_path / "request.json"
    request.write_text('{"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [' + number + "]}]}")
    with pytest.raises((CommandError, RunError), match=r"is not an infer request|refused"):
        create(tmp_path, "--onnx", str(onnx_file), "--golden", str(request))


def test_output_writes_a_folder_and_leaves_the_store_alone(tmp_path, onnx_file):
    made = create(tmp_path, "--onnx", str(onnx_file), "--output", str(tmp_path / "made"))
    assert made["folder"] == str(tmp_path / "made")
    assert BundleStore(tmp_path / "store").entries() == ()


@pytest.mark.parametrize(("options", "error", "says"), [
    pytest.param(["--onnx", "nowhere.onnx"], CommandError, "no such file", id="no file"),
    pytest.param(["--threshold", "a=1"], CommandError, "needs --score", id="a threshold of what?"),
    pytest.param(["--score", "mean", "--threshold", "a=b"], CommandError, "NAME=NUMBER", id="a threshold without a number"),
    pytest.param(["--score", "nope"], CommandError, "no such output", id="a score the model does not have"),
    pytest.param(["--score", "mean:3"], CommandError, "columns", id="a column the score does not have"),
    pytest.param(["--input", "x=a"], CommandError, "takes 2", id="too few columns"),
    pytest.param(["--input", "y=a,b"], CommandError, "the model has", id="columns of no tensor"),
    pytest.param(["--name", "a/b"], BundleError, "name", id="a name that is a path"),
])  # fmt: skip
def test_refusals(tmp_path, onnx_file, options, error, says):
    given = options if "--onnx" in options else ["--onnx", str(onnx_file), *options]
    with pytest.raises(error, match=says):
        create(tmp_path, *given)


def test_verify_names_the_file_that_was_changed(tmp_path, onnx_file):
    create(tmp_path, "--onnx", str(onnx_file), "--output", str(tmp_path / "made"))
    (tmp_path / "made" / "golden.json").write_text("{}")
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "made")])
    assert isinstance(done.exception, BundleError)
    assert "golden.json" in str(done.exception)


def test_verify_runs_the_golden_cases(tmp_path, onnx_file):
    create(tmp_path, "--onnx", str(onnx_file))
    done = CliRunner().invoke(app, ["verify", "mean", "--store-dir", str(tmp_path / "store")])
    assert "golden cases reproduce" in done.stdout


def dropping(tmp_path):
    """FP32 [n, 1] -> the values above -1.5, [m, 1]: few of many rows are dropped, often none of three."""
    limit = helper.make_tensor("limit", TensorProto.FLOAT, [1], [-1.5])
    flat = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    nodes = [
        helper.make_node("Greater", ["x", "limit"], ["is_above"]),
        helper.make_node("Reshape", ["is_above", "flat"], ["keep"]),
        helper.make_node("Compress", ["x", "keep"], ["y"], axis=0),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "dropping", value[:1], value[1:], [limit, flat])
    path = tmp_path / "dropping.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("golden", [(), ("--no-golden",)], ids=["golden cases are made up", "without golden cases"])
def test_a_graph_that_drops_rows_is_refused(tmp_path, golden):
    with pytest.raises(CommandError, match=r"64 generated rows: output 'y' has shape .* a graph that drops or merges rows"):
        create(tmp_path, "--onnx", str(dropping(tmp_path)), "--score", "y", *golden)
    assert not BundleStore(tmp_path / "store").entries()


def test_a_graph_that_drops_rows_is_refused_also_where_its_sizes_must_agree(tmp_path):
    """x [n, k] is multiplied by a matrix of five rows; that k is 5 only a [n, 5] tells."""
    initial = [
        helper.make_tensor("w", TensorProto.FLOAT, [5, 1], [1.0] * 5),
        helper.make_tensor("limit", TensorProto.FLOAT, [1], [-1.5]),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
    ]
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["of_a"]),
        helper.make_node("MatMul", ["x", "w"], ["of_x"]),
        helper.make_node("Add", ["of_a", "of_x"], ["both"]),
        helper.make_node("Greater", ["both", "limit"], ["is_above"]),
        helper.make_node("Reshape", ["is_above", "flat"], ["keep"]),
        helper.make_node("Compress", ["both", "keep"], ["y"], axis=0),
    ]
    shapes = {"a": [None, 5], "x": [None, None], "y": [None, 1]}
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "dropping", value[:2], value[2:], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "agree.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CommandError, match="64 generated rows: output 'y' has shape"):
        create(tmp_path, "--onnx", str(tmp_path / "agree.onnx"), "--score", "y", "--no-golden")


def test_without_a_score_outputs_may_have_any_number_of_rows(tmp_path):
    assert create(tmp_path, "--onnx", str(dropping(tmp_path)))["manifest"]["name"] == "dropping"
