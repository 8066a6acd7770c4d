"""Explanations over real sockets: every door and encoding says the same of the same rows."""

import http.client
import json

import grpc
import numpy as np
import pytest

from serving.app import compose
from serving.doors.grpc import stubs
from serving.doors.oip.tensors import from_raw, to_raw
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.unit.serving.scoring.variants import threat
from tests.waiting import HANG_S

LEVELS = np.array([[2.0], [-2.0]], np.float32)
ASKED = {"explain": "shap"}


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    root = tmp_path_factory.mktemp("explained")
    store = BundleStore(root / "store")
    store.add(threat(root / "1", "1", 1.0))
    replica = ReplicaHost(ServingSettings(http_port=0, grpc_port=0, store_dir=root / "store", audit="off"), compose)
    try:
        yield replica.start()
    finally:
        replica.stop()


def post(ports, path, body, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", ports.http, timeout=HANG_S)
    try:
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def level(**more):
    return {"name": "level", "datatype": "FP32", "shape": [2, 1], **more}


def http_json(ports):
    body = {"parameters": ASKED, "inputs": [level(data=LEVELS.ravel().tolist())]}
    status, _, text = post(ports, "/v2/models/threat/infer", body)
    assert status == 200, text
    return [json.loads(line) for line in json.loads(text)["outputs"][-1]["data"]]


def http_binary(ports):
    raw = LEVELS.tobytes()
    inputs = [level(parameters={"binary_data_size": len(raw)})]
    head = json.dumps({"parameters": {**ASKED, "binary_data_output": True}, "inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    status, said, body = post(ports, "/v2/models/threat/infer", head + raw, headers)
    assert status == 200, body
    length = int({k.lower(): v for k, v in said.items()}["inference-header-content-length"])
    output = json.loads(body[:length])["outputs"][-1]
    tail = body[len(body) - output["parameters"]["binary_data_size"] :]
    return [json.loads(line) for line in from_raw(memoryview(tail), "BYTES", [2], 2, "explanation")]


def http_named_binary(ports):
    """Only the explanation is raw, because its output says so."""
    outputs = [{"name": "verdict"}, {"name": "explanation", "parameters": {"binary_data": True}}]
    body = {"parameters": ASKED, "inputs": [level(data=LEVELS.ravel().tolist())], "outputs": outputs}
    status, said, body = post(ports, "/v2/models/threat/infer", body)
    assert status == 200, body
    length = int({k.lower(): v for k, v in said.items()}["inference-header-content-length"])
    verdict, output = json.loads(body[:length])["outputs"]
    assert verdict["data"] == ["alert", "benign"]
    assert len(body) - length == output["parameters"]["binary_data_size"]
    return [json.loads(line) for line in from_raw(memoryview(body[length:]), "BYTES", [2], 2, "explanation")]


def message(**parameters):
    asked = stubs.ModelInferRequest(model_name="threat")
    for name, value in parameters.items():
        asked.parameters[name].string_param = value
    asked.inputs.add(name="level", datatype="FP32", shape=[2, 1])
    return asked


def call(ports, asked):
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        infer = channel.unary_unary(
            f"/{stubs.SERVICE}/ModelInfer", stubs.ModelInferRequest.SerializeToString, stubs.ModelInferResponse.FromString
        )
        return infer(asked, timeout=HANG_S)


def grpc_typed(ports):
    asked = message(**ASKED)
    asked.inputs[0].contents.fp32_contents.extend(LEVELS.ravel().tolist())
    answer = call(ports, asked)
    assert answer.parameters["explain"].string_param == "shap"
    return [json.loads(line) for line in answer.outputs[-1].contents.bytes_contents]


def grpc_raw(ports):
    asked = message(**ASKED)
    asked.raw_input_contents.append(to_raw(LEVELS, "FP32"))
    raw = call(ports, asked).raw_output_contents[-1]
    return [json.loads(line) for line in from_raw(memoryview(raw), "BYTES", [2], 2, "explanation")]


def v1_rows(ports):
    rows = [{"host": "a", "level": float(value)} for value in LEVELS.ravel()]
    status, _, text = post(ports, "/v1/models/threat:explain", {"instances": rows})
    assert status == 200, text
    answer = json.loads(text)
    assert [row["verdict"] for row in answer["predictions"]] == ["alert", "benign"]
    assert answer["parameters"]["explain"] == "shap"
    return answer["explanations"]


def v1_columns(ports):
    body = {"inputs": {"host": ["a", "a"], "level": LEVELS.ravel().tolist()}}
    status, _, text = post(ports, "/v1/models/threat:explain", body)
    assert status == 200, text
    answer = json.loads(text)
    assert answer["outputs"]["verdict"] == ["alert", "benign"]
    return answer["explanations"]


@pytest.mark.parametrize("door", [http_binary, http_named_binary, grpc_typed, grpc_raw, v1_rows, v1_columns])
def test_every_door_says_the_same_of_the_same_rows(ports, door):
    expected = http_json(ports)
    assert [body["reasons"][0]["column"] for body in expected] == ["level", "level"]
    assert door(ports) == expected


def test_v1_asks_for_another_method_by_the_parameter(ports):
    body = {"instances": [{"host": "a", "level": 2.0}], "parameters": {"explain": "counterfactual"}}
    status, _, text = post(ports, "/v1/models/threat:explain", body)
    (explained,) = json.loads(text)["explanations"]
    assert (status, explained["method"], explained["wanted"]) == (200, "counterfactual", "benign")


def test_what_cannot_be_asked_is_said_at_every_door(ports):
    body = {"parameters": {"explain": "lime"}, "inputs": [level(data=[1.0, 2.0])]}
    status, _, text = post(ports, "/v2/models/threat/infer", body)
    assert (status, json.loads(text)["error"]) == (
        400,
        "parameter 'explain' is 'lime', expected one of shap, rules, counterfactual",
    )
    asked = message(explain="lime")
    asked.inputs[0].contents.fp32_contents.extend([1.0, 2.0])
    with pytest.raises(grpc.RpcError, match="expected one of shap, rules, counterfactual"):
        call(ports, asked)
