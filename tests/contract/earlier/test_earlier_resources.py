"""Resources that earlier versions took are taken by this one, mean the same, and lose nothing in the API server."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from operators.api.crds import definitions
from operators.api.read import problems, read, read_policy, read_service
from operators.rollout.advance import advance
from operators.rollout.evidence import Observation
from operators.rollout.facts import Desired
from operators.rollout.status import Phase
from tests import quick_yaml as yaml
from tests.contract.earlier.crd_fields import fields_of, required_in
from tests.contract.operator.installed import GROUP, PLURALS, http

__all__ = ["http"]
DATA = Path(__file__).parent / "data" / "resources"
DOCUMENTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(DATA.glob("*.yaml"))}
UNDER_WAY = json.loads((DATA / "modelservice-under-way.json").read_text())
STORED = {body["spec"]["names"]["plural"]: body for body in definitions().values()}


def schemas():
    for plural, body in STORED.items():
        (version,) = body["spec"]["versions"]
        yield plural, version["schema"]["openAPIV3Schema"]


def test_no_field_of_the_first_schema_is_gone_or_of_another_type():
    now = dict(pair for plural, schema in schemas() for pair in fields_of(schema, plural))
    before = dict(line.split(" ")[:2] for line in (DATA / "fields-v1alpha1.txt").read_text().splitlines())
    assert len(before) > 500
    assert {path: kind for path, kind in before.items() if now.get(path) != kind} == {}


def test_nothing_is_required_of_old_documents_that_was_not():
    lines = (DATA / "fields-v1alpha1.txt").read_text().splitlines()
    known = {line.split(" ")[0] for line in lines}
    needed = {line.split(" ")[0] for line in lines if line.endswith(" required")}
    now = {path for plural, schema in schemas() for path in required_in(schema, plural)}
    added = {path for path in now - needed if path in known or path.rpartition(".")[0] in known}
    assert {path for path in added if ".metadata" not in path} == set()


def test_there_is_one_version_and_it_is_the_one_that_is_stored():
    """A second version needs a conversion, and this test a new policy: docs/reference/compatibility.md."""
    for body in STORED.values():
        assert [(v["name"], v["served"], v["storage"]) for v in body["spec"]["versions"]] == [("v1alpha1", True, True)]
        assert body["spec"].get("conversion", {"strategy": "None"})["strategy"] == "None"


@pytest.mark.parametrize("document", [*DOCUMENTS.values(), UNDER_WAY], ids=[*DOCUMENTS, "under way"])
def test_the_first_documents_have_no_problem(document):
    assert problems(document) == ()


def test_the_first_service_means_what_it_meant():
    spec = read_service(DOCUMENTS["flows"]).spec
    assert spec.revision is not None
    assert (spec.revision.version, spec.revision.operating_point) == ("1", "siem_alerting")
    assert spec.revision.bundle == "sha256:" + "0" * 64
    assert (spec.scaling.min_replicas, spec.scaling.max_replicas) == (2, 6)


def test_the_first_policy_means_what_it_meant():
    spec = read_policy(DOCUMENTS["careful"]).spec
    assert [next(iter(step.model_dump(exclude_none=True, exclude_defaults=True, by_alias=True)), "analysis") for step in spec.steps] == [
        "mirror", "analysis", "setWeight", "analysis", "setWeight", "analysis", "approval", "setWeight",
    ]  # fmt: skip
    assert [(gate.name, gate.margin) for gate in spec.analysis.gates] == [
        ("errors", 0.005), ("latency", 0.02), ("degraded", 0.02), ("alertRate", 0.02),
    ]  # fmt: skip
    assert (spec.progress_deadline, spec.rollback_window) == (timedelta(days=2), timedelta(days=2))


def test_a_rollout_that_an_earlier_operator_began_is_where_it_was_and_goes_on():
    service = read_service(UNDER_WAY)
    rollout = service.status.rollout
    assert rollout is not None
    assert (rollout.phase, rollout.step_index, rollout.weight, rollout.mirror) == (Phase.PROGRESSING, 1, 0.0, 50.0)
    assert (rollout.stable.version, rollout.candidate.version, len(rollout.moves)) == ("1", "2", 3)
    assert rollout.ledger, "the evidence is kept"
    later = rollout.last_progress + timedelta(minutes=31)
    wanted, seen = Desired(revision=rollout.candidate, rollout=rollout.policy), Observation(at=later, expected_replicas=2)
    done = advance(wanted, rollout, seen, (), later)
    assert done.status.candidate == rollout.candidate
    assert done.target is not None
    assert done.target.stable.digest == rollout.stable.digest, "nothing of it is served to everybody"


@pytest.mark.integration
@pytest.mark.parametrize("document", [*DOCUMENTS.values(), UNDER_WAY], ids=[*DOCUMENTS, "under way"])
def test_an_api_server_takes_the_first_documents_and_gives_back_what_they_meant(http, namespace, document):
    path = f"{GROUP}/namespaces/{namespace}/{PLURALS[document['kind']]}"
    body = {**document, "metadata": {"name": document["metadata"]["name"]}}
    made = http.post(path, json=body, params={"fieldValidation": "Strict"})
    assert made.status_code == 201, made.text
    name = document["metadata"]["name"]
    if "status" in document:
        put = http.put(f"{path}/{name}/status", json={**made.json(), "status": document["status"]})
        assert put.status_code == 200, put.text
    kept = http.get(f"{path}/{name}").json()
    assert read(kept).spec == read(document).spec
    if "status" in document:
        assert read(kept).status.rollout == read(document).status.rollout, "no evidence is dropped"
