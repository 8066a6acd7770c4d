"""KServe's V1 and TensorFlow Serving's shapes over the HTTP door."""

import pytest

from tests.fakes.serving.doors import open_doors

ROW = list(range(16))
ONES = [1] * 16
SUM = [i + 1 for i in range(16)]
DIFFERENCE = [i - 1 for i in range(16)]


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        pytest.param(
            "simple",
            {"instances": [{"INPUT0": ROW, "INPUT1": ONES}]},
            {"predictions": [{"OUTPUT0": SUM, "OUTPUT1": DIFFERENCE}]},
            id="rows of named inputs: one prediction a row",
        ),
        pytest.param(
            "simple",
            {"inputs": {"INPUT0": [ROW], "INPUT1": [ONES]}, "signature_name": "serving_default"},
            {"outputs": {"OUTPUT0": [SUM], "OUTPUT1": [DIFFERENCE]}},
            id="columns of named inputs; the signature's name is ignored",
        ),
        pytest.param("echo", {"instances": [1, 2.5]}, {"predictions": [1.0, 2.5]}, id="rows of the only input, bare"),
        pytest.param("echo", {"inputs": [1, 2.5]}, {"outputs": [1.0, 2.5]}, id="the only input as a column, bare"),
        pytest.param(
            "words",
            {"instances": ["a", {"b64": "/w=="}]},
            {"predictions": [["a"], [{"b64": "/w=="}]]},
            id="strings; bytes that are not text in base64; a trailing 1 where the model has one",
        ),
        pytest.param(
            "flows",
            {"instances": [{"bytes": 1, "proto": "tcp"}, {"bytes": 2, "proto": "udp"}]},
            {"predictions": [{"bytes": 1.0, "proto": "tcp"}, {"bytes": 2.0, "proto": "udp"}]},
            id="rows of a model's columns",
        ),
        pytest.param(
            "flows",
            {"instances": [{"bytes": 1, "proto": "tcp", "when": "2011-08-18T13:52:31Z"}]},
            {"predictions": [{"bytes": 1.0, "proto": "tcp", "when": "2011-08-18T13:52:31Z"}]},
            id="the time of an event as text",
        ),
        pytest.param(
            "flows",
            {"inputs": {"bytes": [1], "when": [5]}},
            {"outputs": {"bytes": [1.0], "when": [5]}},
            id="or in microseconds",
        ),
        pytest.param(
            "flows",
            {"instances": [[1, 2], [3, 4]]},
            {"predictions": [[1.0, 2.0], [3.0, 4.0]]},
            id="bare rows are the only tensor's",
        ),
    ],
)
def test_predictions(doors, model, body, expected):
    answer = doors.http("POST", f"/v1/models/{model}:predict", body)
    assert answer.status == 200, answer.body
    got = answer.json
    assert got.pop("parameters") == {"variant": "stable", "age_ms": 1.5}
    assert got == expected


def test_a_version(doors):
    assert (
        doors.http("POST", "/v1/models/simple/versions/1:predict", {"instances": [{"INPUT0": ROW, "INPUT1": ONES}]}).status
        == 200
    )
    assert doors.service.seen[-1].version == "1"
    assert doors.http("POST", "/v1/models/simple/versions/9:predict", {"instances": [1]}).status == 404


@pytest.mark.parametrize(
    ("model", "body", "said"),
    [
        pytest.param("echo", {}, "neither instances nor inputs", id="neither form"),
        pytest.param("echo", {"instances": [1], "inputs": [1]}, "both instances and inputs", id="both forms"),
        pytest.param("echo", {"instances": []}, "at least one", id="no instance"),
        pytest.param("echo", {"instances": {}}, "not an array", id="instances that are no array"),
        pytest.param("echo", {"instances": [[1], [2, 3]]}, "not all of length", id="ragged instances"),
        pytest.param("echo", {"instances": ["x"]}, "FP32 needs a number", id="a string for a number"),
        pytest.param("echo", {"instances": [1, {"x": 2}]}, "must be alike", id="bare and named instances"),
        pytest.param("echo", {"instances": [{"x": 1}, {"y": 1}]}, "same keys", id="instances with different keys"),
        pytest.param("echo", {"instances": [{"z": 1}]}, "has no input 'z'; it has x", id="an unknown input"),
        pytest.param("simple", {"instances": [1]}, "several inputs", id="a bare instance for several inputs"),
        pytest.param("echo", {"inputs": {}}, "inputs is empty", id="no columns"),
        pytest.param("words", {"instances": [{"b64": "!"}]}, "not base64", id="base64 that is none"),
        pytest.param("words", {"instances": [3]}, "neither a string", id="a number for a string"),
        pytest.param(
            "echo", {"instances": [1], "parameters": {"timeout": "x"}}, "timeout", id="a timeout that is not a number"
        ),
        pytest.param("echo", {"inputs": 5}, None, id="a bare scalar is a scalar"),
        pytest.param("echo", {"instances": [eval("[" * 40 + "]" * 40)]}, "deeper than 32", id="nesting without end"),
    ],
)
def test_what_is_refused(doors, model, body, said):
    answer = doors.http("POST", f"/v1/models/{model}:predict", body)
    if said is None:
        assert answer.status == 200
    else:
        assert (answer.status, said in answer.json["error"]) == (400, True), answer.body


def test_status_for_kserve_and_tensorflow_serving(doors):
    assert "simple" in doors.http("GET", "/v1/models").json["models"]
    status = doors.http("GET", "/v1/models/simple").json
    assert (status["name"], status["ready"]) == ("simple", True)
    assert [(v["version"], v["state"]) for v in status["model_version_status"]] == [("1", "AVAILABLE"), ("2", "AVAILABLE")]
    assert doors.http("GET", "/v1/models/nope").status == 404


def test_tensorflow_servings_metadata(doors):
    described = doors.http("GET", "/v1/models/simple/metadata").json
    assert described["model_spec"] == {"name": "simple", "signature_name": "", "version": "2"}
    signature = described["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["INPUT0"]["dtype"] == "DT_INT32"
    assert signature["inputs"]["INPUT0"]["tensor_shape"]["dim"][1]["size"] == "16"
