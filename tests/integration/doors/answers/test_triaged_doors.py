"""Triage over real sockets: every door and encoding says which rows it ended, and the prediction log and the metrics have them.

The bundle's cheap model is sigmoid(level) with the bound 0.4, so a level of -3 is ended and a level of 2 is the model's."""

import http.client
import json
import urllib.request

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.app import compose
from serving.audit.encoding import decode_array
from serving.audit.reader import read_records
from serving.doors.grpc import stubs
from serving.doors.oip.tensors import from_raw, to_raw
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from serving.spec import RevisionSpec, TriageSwitch
from tests.unit.serving.scoring.triage.test_triage import with_triage
from tests.unit.serving.scoring.variants import spec
from tests.waiting import HANG_S, until

LEVELS = np.array([[-3.0], [2.0], [-1.0]], np.float32)
PATH = "/v2/models/threat/infer"


class Served:
    """A replica whose revision has triage on, and where its prediction log is."""

    def __init__(self, root):
        store, bundle = BundleStore(root / "store"), with_triage(root / "bundle")
        store.add(bundle)
        settings = ServingSettings(http_port=0, grpc_port=0, store_dir=root / "store")
        self.audit, self.replica = root / "store" / "audit", ReplicaHost(settings, compose)
        self.ports = self.replica.start()
        revision = RevisionSpec(bundle=bundle.digest, triage=TriageSwitch(audit_share=0.0))
        self.replica.reconfigure(spec(bundle, revision=revision).model_dump(mode="json"))

    def record(self, receipt):
        """The record of this answer, as soon as it is written."""
        until(lambda: any(record.receipt == receipt for record in read_records(self.audit)))
        (found,) = [record for record in read_records(self.audit) if record.receipt == receipt]
        return found

    def triaged_rows(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}/metrics", timeout=HANG_S) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {s.labels["outcome"]: s.value for f in families for s in f.samples if s.name == "vedette_triage_rows_total"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(tmp_path_factory.mktemp("triaged"))
    yield made
    made.replica.stop()


def tensor(levels, **more):
    return {"name": "level", "datatype": "FP32", "shape": list(levels.shape), **more}


def post(served, body, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", served.ports.http, timeout=HANG_S)
    try:
        connection.request("POST", PATH, body, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return {name.lower(): value for name, value in answer.getheaders()}, text
    finally:
        connection.close()


def http_json(served, levels):
    """JSON has no NaN: a row without a score has null."""
    _, text = post(served, json.dumps({"inputs": [tensor(levels, data=levels.ravel().tolist())]}))
    assert b"NaN" not in text
    answer = json.loads(text)
    found = {output["name"]: output["data"] for output in answer["outputs"]}
    return answer["parameters"], found["verdict"], [np.nan if s is None else s for s in found["score"]]


def http_binary(served, levels):
    raw = levels.tobytes()
    asked = {"parameters": {"binary_data_output": True}, "inputs": [tensor(levels, parameters={"binary_data_size": len(raw)})]}
    head = json.dumps(asked).encode()
    said, body = post(served, head + raw, {"Inference-Header-Content-Length": str(len(head))})
    length = int(said["inference-header-content-length"])
    answer, at, found = json.loads(body[:length]), length, {}
    for output in answer["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = from_raw(
            memoryview(body[at : at + size]), output["datatype"], output["shape"], len(levels), "x"
        )
        at += size
    return answer["parameters"], [v.decode() for v in found["verdict"]], found["score"].tolist()


def call(served, asked):
    with grpc.insecure_channel(f"127.0.0.1:{served.ports.grpc}") as channel:
        infer = channel.unary_unary(
            f"/{stubs.SERVICE}/ModelInfer", stubs.ModelInferRequest.SerializeToString, stubs.ModelInferResponse.FromString
        )
        answer = infer(asked, timeout=HANG_S)
    parameters = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in answer.parameters.items()}
    return parameters, answer


def message(levels):
    asked = stubs.ModelInferRequest(model_name="threat")
    asked.inputs.add(name="level", datatype="FP32", shape=levels.shape)
    return asked


def grpc_typed(served, levels):
    asked = message(levels)
    asked.inputs[0].contents.fp32_contents.extend(levels.ravel().tolist())
    parameters, answer = call(served, asked)
    found = {output.name: output.contents for output in answer.outputs}
    return parameters, [v.decode() for v in found["verdict"].bytes_contents], list(found["score"].fp32_contents)


def grpc_raw(served, levels):
    asked = message(levels)
    asked.raw_input_contents.append(to_raw(levels, "FP32"))
    parameters, answer = call(served, asked)
    found = {
        output.name: from_raw(memoryview(raw), output.datatype, list(output.shape), len(levels), "x")
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }
    return parameters, [v.decode() for v in found["verdict"]], found["score"].tolist()


SENT = [
    pytest.param(LEVELS, "model+triage", "[0, 2]", id="some rows"),
    pytest.param(LEVELS[:1], "triage", "[0]", id="the only row"),
    pytest.param(LEVELS[1:2], "model", None, id="no row"),
]


@pytest.mark.parametrize(("levels", "source", "triaged"), SENT)
@pytest.mark.parametrize("door", [http_json, http_binary, grpc_typed, grpc_raw])
def test_every_door_says_which_rows_triage_ended(served, door, levels, source, triaged):
    before = served.triaged_rows()
    parameters, verdicts, scores = door(served, levels)
    ended = (levels[:, 0] < -0.41).tolist()
    assert (parameters["source"], parameters.get("triaged")) == (source, triaged)
    assert verdicts == ["benign" if is_ended else "alert" for is_ended in ended]
    assert np.isnan(scores).tolist() == ended
    record = served.record(parameters["receipt"])
    assert (record.source, record.door) == (source, "grpc" if door in (grpc_typed, grpc_raw) else "http")
    assert record.triage == ["ended" if is_ended else "passed" for is_ended in ended]
    assert np.isnan(decode_array(record.scores)).tolist() == ended
    counted = {outcome: n - before.get(outcome, 0.0) for outcome, n in served.triaged_rows().items()}
    assert counted.get("ended", 0.0) == sum(ended)
    assert counted.get("passed", 0.0) == len(ended) - sum(ended)
