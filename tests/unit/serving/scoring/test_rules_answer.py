"""When the features or the model are out, the bundle's rules answer, and the answer says so."""

import json

import msgspec
import numpy as np
import orjson
import pytest

from serving.doors.oip.json_codec import write_answer
from serving.errors import Internal, Unavailable
from serving.messages import Tensor
from serving.models.bundle import read_bundle
from serving.models.errors import BundleError
from serving.models.probe import probe
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo
from tests.fakes.serving.features import FakeFeatureReader
from tests.unit.serving.scoring.variants import World, request, spec, tensors, threat

RULES = b"""
thresholds:
  - {id: high-level, title: a high level, when: level > 3.0, severity: high}
  - {id: some-level, when: level > 1.0 && host.startsWith("10."), severity: medium}
  - {id: quiet, when: level < -5.0, severity: informational}
  - {id: many, when: host_60s__flows > 100.0, severity: critical}
"""
INFO = FeatureServiceInfo(
    "hosts", (FieldInfo("host", "BYTES"),), (), (FeatureInfo("host_60s__flows", "FP32", "host_60s", 0.0, 60.0),)
)
CALIBRATION = {"scores": [0.0, 0.5], "low": [0.1, 0.6], "high": [0.2, 0.9], "rows": 100}


class Breaking:
    """A model that fails as long as it is told to."""

    def __init__(self, model):
        self.model, self.problem = model, None

    def run(self, *args, **kwargs):
        if self.problem is not None:
            raise self.problem
        return self.model.run(*args, **kwargs)


async def world_with(tmp_path, text=RULES, **fields):
    features = FakeFeatureReader(INFO)
    fields = {
        "feature_service": "hosts",
        "assembly": [{"tensor": "level", "columns": ["level"]}],
        "calibration": CALIBRATION,
        "rules": {},
        **fields,
    }
    files = {} if text is None else {"rules/rules.yaml": text, **fields.pop("files", {})}
    if text is None:
        del fields["rules"]
    bundle = threat(tmp_path / "bundle", "1", files=files, **fields)
    world = World(tmp_path, features=features)
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    world.features = features
    return world


def outputs(answer):
    return {t.name: t.data.tolist() for t in answer.outputs}


WITHOUT_FEATURES = RULES.replace(b"  - {id: many, when: host_60s__flows > 100.0, severity: critical}\n", b"")


async def test_features_out(tmp_path):
    world = await world_with(tmp_path, WITHOUT_FEATURES)
    ask = request("10.0.0.1", "10.0.0.2", "x", level=[4.0, 2.0, 2.0])
    assert (await world.service.infer(ask)).parameters["source"] == "model"
    world.features.is_down = True
    answer = await world.service.infer(ask)
    found = outputs(answer)
    assert found["verdict"] == [b"alert", b"investigate", b"investigate"], "matched high, medium, and none: looked at"
    assert np.isnan(found["score"]).all()
    assert np.isnan([found["probability"], found["probability_low"], found["probability_high"]]).all()
    assert found["degraded"] == [True] * 3
    assert answer.parameters["source"] == "rules"
    assert answer.parameters["degraded"] is True
    assert json.loads(answer.parameters["rules"]) == [["high-level", "some-level"], ["some-level"], []]
    assert world.audit.records[-1].source == "rules"
    assert world.audit.records[-1].verdicts == ["alert", "investigate", "investigate"]
    assert world.audit.records[-1].rules == [["high-level", "some-level"], ["some-level"], []]
    series = world.series()
    assert series["vedette_rules_answers_total"] == {("threat", "features", "stable", "1"): 3.0}
    assert series["vedette_rules_matches_total"] == {("threat", "high-level"): 1.0, ("threat", "some-level"): 2.0}
    world.features.is_down = False
    assert (await world.service.infer(ask)).parameters["source"] == "model"


async def test_a_score_that_nobody_gave_is_null_in_json(tmp_path):
    world = await world_with(tmp_path, WITHOUT_FEATURES)
    world.features.is_down = True
    body = write_answer(await world.service.infer(request("10.0.0.1")))
    document = orjson.loads(body)
    assert {o["name"]: o["data"] for o in document["outputs"]}["score"] == [None]


async def test_the_model_out(tmp_path, monkeypatch):
    world = await world_with(tmp_path, WITHOUT_FEATURES)
    model = Breaking(world.variants.stable.revision.model)
    world.serve("stable", model=model)
    model.problem = Unavailable("the breaker is open")
    answer = await world.service.infer(request("10.0.0.1", level=4.0))
    assert (answer.parameters["source"], outputs(answer)["verdict"]) == ("rules", [b"alert"])
    answer = await world.service.infer(tensors(4.0, 0.0))
    assert outputs(answer)["verdict"] == [b"alert", b"investigate"], "rules see the columns of a tensor"
    assert world.series()["vedette_rules_answers_total"] == {("threat", "model", "stable", "1"): 3.0}
    model.problem = None
    assert (await world.service.infer(request("10.0.0.1", level=4.0))).parameters["source"] == "model"


async def test_the_graphs_own_outputs_are_the_models_alone(tmp_path):
    world = await world_with(tmp_path, WITHOUT_FEATURES)
    model = Breaking(world.variants.stable.revision.model)
    world.serve("stable", model=model)
    model.problem = Unavailable("the breaker is open")
    with pytest.raises(Unavailable, match="the breaker is open"):
        await world.service.infer(request("10.0.0.1", outputs=["risk"]))


async def test_without_rules_all_is_as_before(tmp_path):
    world = await world_with(tmp_path, None)
    world.features.is_down = True
    answer = await world.service.infer(request("10.0.0.1"))
    assert (answer.parameters["source"], answer.parameters["degraded"]) == ("model", True)
    model = Breaking(world.variants.stable.revision.model)
    world.serve("stable", model=model)
    model.problem = RuntimeError("broken")
    with pytest.raises(Internal):
        await world.service.infer(request("10.0.0.1"))


async def test_rules_that_all_need_the_features_leave_the_model_its_defaults(tmp_path):
    rules = b"thresholds:\n  - {id: many, when: host_60s__flows > 100.0, severity: critical}\n"
    assembly = [{"tensor": "level", "columns": ["host_60s__flows"]}]
    world = await world_with(tmp_path, rules, assembly=assembly)
    world.features.is_down = True
    answer = await world.service.infer(request("10.0.0.1"))
    assert answer.parameters["source"] == "model"


async def test_many_rows_are_judged_in_pieces(tmp_path):
    world = await world_with(tmp_path, WITHOUT_FEATURES + b"otherwise: benign\n")
    world.features.is_down = True
    hosts = [f"10.0.0.{n}" for n in range(200)]
    answer = await world.service.infer(request(*hosts, level=[4.0 if n % 3 == 0 else 0.0 for n in range(200)]))
    assert outputs(answer)["verdict"] == [b"alert" if n % 3 == 0 else b"benign" for n in range(200)]


SIGMA = b"""
title: PowerShell
id: 5a6e1e16-07de-48d8-8aae-faa766c05e88
level: critical
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: '\\powershell.exe'}, condition: s}
"""


async def test_sigma_rules_see_the_event_of_a_field(tmp_path):
    world = await world_with(
        tmp_path,
        b"otherwise: benign",
        files={"rules/ps.yml": SIGMA},
        feature_service=None,
        rules={"event_field": "event"},
        request_fields=[{"name": "level", "datatype": "FP32"}, {"name": "event", "datatype": "BYTES"}],
    )
    model = Breaking(world.variants.stable.revision.model)
    world.serve("stable", model=model)
    model.problem = Unavailable("the breaker is open")
    shell = {"Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": "C:\\PowerShell.exe"}
    said = {"logsource": {"product": "windows", "category": "process_creation"}, "Image": "x\\powershell.exe"}
    bodies = [orjson.dumps(shell), orjson.dumps({**shell, "EventID": 3}), orjson.dumps(said), b"no json"]
    ask = request("a", "b", "c", "d")
    event = Tensor("event", "BYTES", np.array(bodies, dtype=object))
    ask = msgspec.structs.replace(ask, inputs=(*ask.inputs, event))
    answer = await world.service.infer(ask)
    assert outputs(answer)["verdict"] == [b"alert", b"benign", b"alert", b"benign"]
    assert json.loads(answer.parameters["rules"])[0] == ["5a6e1e16-07de-48d8-8aae-faa766c05e88"]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        pytest.param("thresholds: [{id: a, when: lvel > 1.0, severity: high}]", "no column .'lvel'.", id="an unknown column"),
        pytest.param("thresholds: [{id: a, when: level + 1.0, severity: high}]", "expected true or false", id="no claim"),
        pytest.param(
            "thresholds: [{id: a, when: 'level >', severity: high}]", "is not valid CEL.*1:8", id="no CEL, with the place"
        ),
        pytest.param("thresholds: [{id: a, when: level > 'x', severity: high}]", "cannot be evaluated", id="the wrong type"),
        pytest.param("thresholds: [{id: a, when: 1 < 2, severity: high}]", "uses no column", id="the same of every row"),
        pytest.param("thresholds: [{id: a, when: level > 1.0, severity: grave}]", "severity", id="an unknown severity"),
        pytest.param("otherwise: maybe", "otherwise", id="an unknown verdict"),
        pytest.param("thresholds: [", "is not YAML", id="no YAML"),
        pytest.param("otherwise: 2026-99-99", "is not YAML", id="a date that there is not"),
        pytest.param(
            "thresholds: [{id: a, when: level > 1.0, severity: low}, {id: a, when: level > 2.0, severity: low}]",
            "more than once",
            id="an id twice",
        ),
        pytest.param("logsources: [{product: linux}]", "`when` is missing", id="a log source of nothing"),
    ],
)
def test_rules_that_do_not_hold_make_no_bundle(tmp_path, rules, says):
    with pytest.raises(BundleError, match=says):
        threat(tmp_path / "b", "1", rule_files={"rules.yaml": rules.encode()})
    assert not (tmp_path / "b").exists()


def test_the_probe_refuses_them_too_and_the_digest_covers_them(tmp_path):
    first = threat(tmp_path / "a", "1", rule_files={"rules.yaml": b"thresholds: [{id: a, when: level > 1.0, severity: high}]"})
    second = threat(tmp_path / "b", "1", rule_files={"rules.yaml": b"thresholds: [{id: a, when: level > 2.0, severity: high}]"})
    assert first.digest != second.digest
    assert probe(first).digest == first.digest
    (tmp_path / "a" / "rules" / "rules.yaml").write_bytes(b"otherwise: benign")
    with pytest.raises(BundleError, match="rules"):
        read_bundle(tmp_path / "a")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"rules": {}}, "or neither", id="none there"),
        pytest.param({"files": {"rules/rules.yaml": b""}}, "or neither", id="there and not said"),
        pytest.param(
            {"rules": {"event_field": "event"}, "files": {"rules/rules.yaml": b""}}, "not a request field", id="no such field"
        ),
        pytest.param({"rules": {}, "files": {"rules/x.exe": b""}}, "are not rule files", id="no rule file"),
    ],
)
def test_a_manifest_that_contradicts_its_files(tmp_path, fields, says):
    with pytest.raises(BundleError, match=says):
        threat(tmp_path / "b", "1", **fields)


async def test_rules_that_are_not_supported_are_said_when_a_bundle_is_loaded(tmp_path, caplog):
    late = SIGMA.replace(b"condition: s", b"timeframe: 5m, condition: s")
    await world_with(tmp_path, WITHOUT_FEATURES, files={"rules/late.yml": late}, feature_service=None)
    (said,) = [r.getMessage() for r in caplog.records if "is ignored" in r.getMessage()]
    assert "5a6e1e16-07de-48d8-8aae-faa766c05e88" in said
    assert "late.yml" in said
    assert "it has a timeframe" in said
