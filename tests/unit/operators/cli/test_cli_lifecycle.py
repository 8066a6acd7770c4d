"""`vedette train`, `evaluate` and `bundle`, as they are typed."""

import json

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from typer.testing import CliRunner

from lifecycle.datasets.declarations import read_detector
from operators.cli.main import app
from operators.cli.models.train import _identity, ensure_trained
from serving.models.onnx import OnnxModel
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from tests.unit.lifecycle.declared import body, rows

pytestmark = pytest.mark.heavy


@pytest.fixture
def vedette(tmp_path, monkeypatch):
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return CliRunner().invoke(app, [str(w) for w in words])

    return run


@pytest.fixture
def own(tmp_path):
    (tmp_path / "logins.yaml").write_text(yaml.safe_dump(body()))
    rows().to_csv(tmp_path / "logins.csv", index=False)
    return tmp_path


def graph(path, nodes, inputs, outputs, opset=20):
    value = helper.make_tensor_value_info
    made = helper.make_graph(nodes, "g", [value(*i) for i in inputs], [value(*o) for o in outputs])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def test_a_detector_of_ones_own_is_trained_and_shown(vedette, own):
    done = vedette("train", own / "logins.yaml", "--data", own / "logins.csv", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert set(said["operating_points"]) == {"breach_response", "siem_alerting", "executive_dashboard"}
    assert vedette("bundle", "verify", "logins").exit_code == 0
    assert "breach_response" in vedette("bundle", "show", "logins").stdout
    assert "false alarms" in vedette("train", own / "logins.yaml", "--data", own / "logins.csv").stdout


def test_a_detector_is_evaluated_on_rows_it_has_not_seen(vedette, own):
    done = vedette("evaluate", own / "logins.yaml", "--data", own / "logins.csv", "--seeds", 2, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    points = said["summary"][0]["operating_points"]
    assert {p["operating_point"] for p in points} == {"breach_response", "siem_alerting", "executive_dashboard"}
    assert 0 <= points[0]["recall"]["mean"] <= 1
    assert [s["seed"] for s in said["seeds"]] == [0, 1]
    table = vedette("evaluate", own / "logins.yaml", "--data", own / "logins.csv")
    assert "false alarms" in table.stdout


def test_a_detector_that_says_no_split_is_trained_and_told_which_it_got(vedette, own):
    declared = body()
    del declared["split"]
    (own / "logins.yaml").write_text(yaml.safe_dump(declared))
    done = vedette("train", own / "logins.yaml", "--data", own / "logins.csv")
    assert done.exit_code == 0, done.output
    assert "has no split" in done.output
    judged = vedette("evaluate", own / "logins.yaml", "--data", own / "logins.csv")
    assert "Split: The file declares none: rows whose request fields are equal are in one part." in judged.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["train", "flowz"], "built in are", id="a detector that is not there"),
        pytest.param(["train", "nsl-kdd"], "needs data", id="a detector without data"),
        pytest.param(["train", "nsl-kdd", "--data-dir", "."], "no such file", id="a folder without the file"),
        pytest.param(["train", "logins.yaml", "--data", "none.csv"], "no such file", id="data that is not there"),
        pytest.param(["train", "logins.yaml", "--data", "logins.yaml"], "logins.yaml", id="data of another kind"),
        pytest.param(["bundle", "create", "--onnx", "none.onnx"], "no such file", id="a model that is not there"),
        pytest.param(["bundle", "create", "--onnx", "logins.csv"], "not an ONNX model", id="a model that is none"),
        pytest.param(["bundle", "verify", "nobody"], "no model 'nobody'", id="a bundle that is not there"),
    ],
)
def test_what_is_wrong_is_said(vedette, own, words, says):
    done = vedette(*words)
    assert done.exit_code != 0
    assert says in str(done.exception)


def test_any_graph_becomes_a_bundle(vedette, tmp_path):
    strings = graph(
        tmp_path / "strings.onnx",
        [helper.make_node("StringConcat", ["a", "b"], ["c"])],
        [("a", TensorProto.STRING, [None]), ("b", TensorProto.STRING, [None])],
        [("c", TensorProto.STRING, [None])],
    )
    half = graph(
        tmp_path / "half.onnx",
        [helper.make_node("MatMul", ["a", "b"], ["c"]), helper.make_node("Neg", ["c"], ["d"])],
        [("a", TensorProto.FLOAT16, [None, None]), ("b", TensorProto.FLOAT16, [None, 7])],
        [("c", TensorProto.FLOAT16, [None, 7]), ("d", TensorProto.FLOAT16, [None, 7])],
    )
    for path in (strings, half):
        done = vedette("bundle", "create", "--onnx", path)
        assert done.exit_code == 0, done.output
        assert vedette("bundle", "verify", path.stem).exit_code == 0


def test_a_scikit_learn_pipeline_with_zipmap_is_a_detector(vedette, tmp_path):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    path = tmp_path / "logistic.onnx"
    path.write_bytes(to_onnx(LogisticRegression().fit(x, x[:, 0] > 0), x[:1]).SerializeToString())
    made = ["bundle", "create", "--onnx", path, "--name", "mine", "--input", "X=a,b,c", "--score", "output_probability:1"]
    done = vedette(*made, "--threshold", "siem_alerting=0.7", "--threshold", "breach_response=0.2")
    assert done.exit_code == 0, done.output
    bundle = BundleStore(tmp_path / "store").resolve("mine")
    assert bundle.manifest.operating_points["siem_alerting"].investigate == 0.2
    assert OnnxModel(bundle.model_path).run({"X": x})["output_probability"].shape == (50, 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--score", "y"], "no such output", id="a score from nowhere"),
        pytest.param(["--score", "c"], "say which", id="a score of several columns"),
        pytest.param(["--score", "c:9"], "counted from 0", id="a column that is not there"),
        pytest.param(["--score", "c:1", "--threshold", "x=high"], "NAME=NUMBER", id="a threshold that is not a number"),
        pytest.param(["--threshold", "0.5"], "needs --score", id="a threshold for nothing"),
        pytest.param(["--input", "a=x"], "takes 2", id="too few columns"),
        pytest.param(["--input", "z=x"], "the model has", id="a tensor that is not there"),
        pytest.param(["--input", "a"], "write TENSOR=", id="columns without a tensor"),
        pytest.param(["--golden", "request.json"], "is not an infer request", id="golden inputs that are none"),
    ],
)
def test_wrong_options_are_said(vedette, tmp_path, words, says):
    plain = graph(
        tmp_path / "plain.onnx",
        [helper.make_node("Abs", ["a"], ["c"])],
        [("a", TensorProto.FLOAT, [None, 2])],
        [("c", TensorProto.FLOAT, [None, 2])],
    )
    done = vedette("bundle", "create", "--onnx", plain, *words)
    assert done.exit_code != 0
    assert says in str(done.exception)


def test_golden_inputs_may_be_given(vedette, tmp_path):
    plain = graph(
        tmp_path / "plain.onnx",
        [helper.make_node("Abs", ["a"], ["c"])],
        [("a", TensorProto.FLOAT, [None, 2])],
        [("c", TensorProto.FLOAT, [None, 2])],
    )
    request = {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1.0, -2.0]}]}
    (tmp_path / "request.json").write_text(json.dumps(request))
    assert vedette("bundle", "create", "--onnx", plain, "--golden", tmp_path / "request.json").exit_code == 0
    assert "1 golden cases" in vedette("bundle", "verify", "plain").stdout


FEATURES = """
name: with-features
entity_keys: [{name: host, datatype: BYTES}]
request_fields: [{name: a, datatype: FP32}]
feature_service: hosts_v1
assembly: [{tensor: X, columns: [a, host_60s__flows]}]
"""


def test_a_file_says_where_a_graph_gets_its_features(vedette, tmp_path):
    graph(tmp_path / "g.onnx", [helper.make_node("ReduceSum", ["X"], ["Y"], keepdims=1)], [("X", TensorProto.FLOAT, [None, 2])],
          [("Y", TensorProto.FLOAT, [1, 1])])  # fmt: skip
    (tmp_path / "more.yaml").write_text(FEATURES)
    done = vedette("bundle", "create", "--onnx", "g.onnx", "--describe", "more.yaml", "--version", "7")
    assert done.exit_code == 0, done.output
    manifest = BundleStore(tmp_path / "store").resolve("with-features").manifest
    assert (manifest.version, manifest.feature_service, manifest.entity_keys[0].name) == ("7", "hosts_v1", "host")
    assert vedette("bundle", "create", "--onnx", "g.onnx", "--describe", "more.yaml", "--name", "mine").exit_code == 0
    assert BundleStore(tmp_path / "store").resolve("mine").manifest.version == "1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[]", "holds no fields", id="no mapping"),
        pytest.param("files: {}", "are derived from the model", id="a field that is derived"),
        pytest.param("a: [", "cannot be read", id="no YAML"),
        pytest.param("feature_service: x", "needs an assembly", id="what bundle.json itself refuses"),
        pytest.param("colour: red", "colour", id="a field that is none"),
    ],
)
def test_a_description_that_is_refused(vedette, tmp_path, text, says):
    graph(tmp_path / "g.onnx", [helper.make_node("Identity", ["X"], ["Y"])], [("X", TensorProto.FLOAT, [None, 2])],
          [("Y", TensorProto.FLOAT, [None, 2])])  # fmt: skip
    (tmp_path / "more.yaml").write_text(text)
    done = vedette("bundle", "create", "--onnx", "g.onnx", "--describe", "more.yaml")
    assert done.exit_code == 1
    assert says in str(done.exception)


@pytest.mark.parametrize("memo", ["[1]", "{}", '{"digest": 5}', "null", "{"])
def test_a_note_of_what_was_trained_that_cannot_be_read_leads_to_training_again(vedette, own, memo):
    settings = ServingSettings(store_dir=own / "store")
    declared = body()
    declared["source"]["train"] = "logins.csv"
    (own / "logins.yaml").write_text(yaml.safe_dump(declared))
    (own / "store" / "trained").mkdir(parents=True)
    path = own / "store" / "trained" / f"{_identity(read_detector(str(own / 'logins.yaml')), own)}.json"
    path.write_text(memo)
    bundle = ensure_trained(str(own / "logins.yaml"), own, settings, retrain=False)
    assert json.loads(path.read_text()) == {"digest": bundle.digest}


def test_rates_are_told_by_the_segments_of_a_mapping_and_never_learned_from(vedette, own):
    (own / "entity.yaml").write_text(yaml.safe_dump(body(entity={"key": "user"})), encoding="utf-8")
    names = "".join(f"u{i},{'night' if i % 4 == 0 else 'day'}\n" for i in range(40))
    (own / "shifts.csv").write_text(f"entity,shift\n{names}", encoding="utf-8")
    (own / "methods.csv").write_text("entity,method\nu1,token\n", encoding="utf-8")
    words = ("evaluate", own / "entity.yaml", "--data", own / "logins.csv", "--segments")
    done = vedette(*words, own / "shifts.csv", "--json")
    assert done.exit_code == 0, done.output
    (seed,) = json.loads(done.stdout)["seeds"]
    assert {d["value"] for d in seed["fairness"]["disparities"]} == {"day", "night"}
    assert seed["fairness"]["clustered_by_entity"]
    assert "Fairness by segment: siem_alerting, seed 0" in vedette(*words, own / "shifts.csv").stdout
    refused = vedette(*words, own / "methods.csv")
    assert refused.exit_code != 0
    assert "'method' is an input of detector 'logins'" in str(refused.exception)


def test_an_evaluation_is_written_as_pages_with_what_false_alarms_cost(vedette, own):
    words = ["evaluate", own / "logins.yaml", "--data", own / "logins.csv", "--html", "page.html", "--markdown", "page.md"]
    done = vedette(*words, "--events-per-day", 100_000, "--attack-share", 0.001, "--analysts", 2)
    assert done.exit_code == 0, done.output
    page, text = ((own / name).read_text(encoding="utf-8") for name in ("page.html", "page.md"))
    for said in ("Cost of false alarms", "analysts", "What if", "siem_alerting"):
        assert said in done.stdout
        assert said in page
        assert said in text
    refused = vedette(*words, "--analysts", 2)
    assert "--events-per-day" in str(refused.exception)
    assert "0 to 1" in str(vedette(*words, "--events-per-day", 5, "--attack-share", 7).exception)


def test_the_selection_never_touches_the_test_file(vedette, own, tmp_path):
    """The same bundle, whatever the test file holds, and where there is none."""
    declared = body()
    declared["source"] |= {"train": "logins.csv", "test": "unseen.csv"}
    (own / "logins.yaml").write_text(yaml.safe_dump(declared))
    unseen = rows(300, seed=5)
    turned = unseen.assign(verdict=np.where(unseen["verdict"] == "attack", "fine", "attack"))
    digests, recalls = set(), set()
    for test in (unseen, turned):
        test.to_csv(own / "unseen.csv", index=False)
        judged = json.loads(vedette("evaluate", own / "logins.yaml", "--data-dir", own, "--json").stdout)
        digests.add(judged["seeds"][0]["digest"])
        recalls.add(judged["seeds"][0]["units"][0]["operating_points"][0]["recall"]["value"])
    (own / "unseen.csv").unlink()
    trained = json.loads(vedette("train", own / "logins.yaml", "--data-dir", own, "--json").stdout)
    assert digests == {trained["digest"]}
    assert len(recalls) == 2, "it was judged on the file"


def test_two_bundles_are_compared_on_rows_that_neither_was_trained_on(vedette, own):
    data = ("--data", own / "logins.csv")
    for seed in (1, 2):
        assert vedette("train", own / "logins.yaml", *data, "--seed", seed).exit_code == 0
    words = ("compare", "logins/1", "logins/2", *data, "--budget", 0.1)
    done = vedette(*words, "--html", "page.html", "--markdown", "page.md")
    assert done.exit_code == 0, done.output
    for said in ("at equal alert budget", "p, corrected", "McNemar"):
        assert said in done.stdout
        assert said in (own / "page.html").read_text(encoding="utf-8")
        assert said in (own / "page.md").read_text(encoding="utf-8")
    record = json.loads(vedette(*words, "--json").stdout)
    assert record["rows_from"].startswith("split")
    assert record["notes"] == []
    assert {"delong", "mcnemar", "bootstrap"} == {f["test"] for f in record["units"][0]["figures"]}
    shuffled = rows(seed=3)
    shuffled.to_csv(own / "other.csv", index=False)
    other = json.loads(vedette("compare", "logins/1", "logins/1", "--data", own / "other.csv", "--json").stdout)
    assert [n.split(" (")[0] for n in other["notes"]][:1] == ["the first was trained on other data"]
    assert other["notes"][-1] == "both are the same bundle"
    unseen = json.loads(vedette("compare", "logins/1", "logins/2", "--test", own / "other.csv", "--json").stdout)
    assert unseen["rows_from"] == "test file, 600 rows"
    assert "expected shares" in str(vedette(*words, "--budget", 7).exception)


def test_a_model_made_elsewhere_is_compared_by_a_detector_that_is_named(vedette, own):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    frame = rows()
    x = frame[["failures", "seconds"]].to_numpy(dtype=np.float32)
    (own / "lr.onnx").write_bytes(to_onnx(LogisticRegression().fit(x, frame["verdict"] == "attack"), x[:1]).SerializeToString())
    made = ("bundle", "create", "--onnx", "lr.onnx", "--name", "mine", "--input", "X=failures,seconds")
    assert vedette(*made, "--score", "output_probability:1", "--threshold", "siem_alerting=0.5").exit_code == 0
    assert vedette("train", own / "logins.yaml", "--data", own / "logins.csv").exit_code == 0
    words = ("compare", "mine", "logins", "--data", own / "logins.csv")
    assert "give --detector FILE" in str(vedette(*words).exception)
    record = json.loads(vedette(*words, "--detector", own / "logins.yaml", "--json").stdout)
    assert {f["where"] for f in record["units"][0]["figures"]} >= {"", "siem_alerting"}
    assert record["notes"] == ["the first was made elsewhere: whether it was trained on these rows is not known"]
