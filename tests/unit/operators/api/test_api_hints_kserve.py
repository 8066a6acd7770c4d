"""What KServe cannot do is said before the backend refuses it."""

import pytest
import yaml

from operators.api.hints import hints
from operators.api.lint import lint
from operators.api.read import read, read_policy, read_service
from operators.api.types import rollout_of
from operators.rollout.spec import RolloutSpec
from tests.fakes.operator.resources import policy, service

KSERVE = {"kserve": {"storageUri": "s3://bundles/{digest}"}}


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        pytest.param({}, [], id="the default steps are ones that KServe can take"),
        pytest.param({"policy": {"steps": [{"mirror": {}}, {"analysis": {}}]}}, ["cannot"], id="a mirror step"),
        pytest.param({"policy": {"steps": [{"setWeight": 2.5}, {"analysis": {}}]}}, ["whole percentages"], id="half a percent"),
        pytest.param({"policy": {"steps": [{"setWeight": 5}, {"analysis": {}}]}}, [], id="whole weights alone"),
        pytest.param({"policyRef": {"name": "careful"}}, [], id="a policy that is elsewhere"),
    ],
)
def test_kserve(rollout, says):
    found = [str(h) for h in hints(read(service(backend=KSERVE, rollout=rollout))) if "KServe" in str(h)]
    assert len(found) == len(says)
    assert all(word in text for word, text in zip(says, found, strict=True))


def test_no_hint_recommends_what_kserve_cannot_count():
    gates = {"analysis": {"gates": [{"name": "alertRate", "margin": 0.1}]}}
    assert not [h for h in hints(read(service(backend=KSERVE, rollout={"policy": gates}))) if "entity" in str(h)]
    (advice,) = [str(h) for h in hints(read(policy(**gates))) if "entity" in str(h)]
    assert "KServe" in advice, "a policy does not know who will follow it"


def test_the_default_steps_on_kserve_mirror_nothing_and_begin_where_evidence_is():
    default = rollout_of(read_service(service(backend=KSERVE)))
    assert default.steps[0].set_weight == 5
    assert not any(step.mirror for step in default.steps)
    assert rollout_of(read_service(service())).steps == RolloutSpec().steps


COUNTING = {"analysis": {"gates": [{"name": "errors", "margin": 0.01, "unit": "entity"}]}}


def test_a_policy_that_counts_entities_is_no_policy_for_kserve():
    named = read_service(service(backend=KSERVE, rollout={"policyRef": {"name": "careful"}}))
    with pytest.raises(LookupError, match=r"unit: entity.*KServe.*take unit away"):
        rollout_of(named, read_policy(policy(**COUNTING)))
    assert rollout_of(read_service(service(rollout={"policyRef": {"name": "careful"}})), read_policy(policy(**COUNTING)))


def test_lint_refuses_a_service_on_kserve_with_a_policy_that_counts_entities():
    documents = [service(backend=KSERVE, rollout={"policyRef": {"name": "careful"}}), policy(**COUNTING)]
    report = lint([("f.yaml", yaml.safe_dump_all(documents))])
    (error,) = [n for n in report.notes if n.level == "error"]
    assert error.path == "spec.rollout.policyRef.name"
    assert "careful" in error.what
    assert "unit: entity" in error.what


def test_ray_is_not_held_to_it():
    assert not [h for h in hints(read(service())) if "KServe" in str(h)]
    assert not [h for h in hints(read(policy())) if "KServe" in str(h)]
