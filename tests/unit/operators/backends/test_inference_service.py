"""An InferenceService for a target, within what KServe 0.20 can do."""

import json

import pytest

from operators.api.types import KserveBackend
from operators.backends.inference_service import (
    SERVED,
    VARIANTS,
    Held,
    candidate_replicas,
    fields_of,
    held_by,
    is_within,
    predictor_name,
    served_by,
)
from operators.ports import BackendError, ServiceRef
from operators.rollout.status import Target, TargetVariant
from serving.spec import ServingSpec
from tests.fakes.operator.rollouts import A, B

SERVICE = ServiceRef("soc", "ids", "ids")
PLACE = KserveBackend(storage_uri="s3://bundles/{model}/{digest}")


def target(weight: float = 25, mirror: float = 0) -> Target:
    return Target(stable=A, variants=(TargetVariant(name="candidate", revision=B, weight=weight, mirror=mirror),))


def test_each_revision_is_a_predictor_told_what_it_serves():
    fields = fields_of(SERVICE, PLACE, target(), 4)
    predictor, (canary,) = fields["spec"]["predictor"], fields["spec"]["canary"]
    assert (predictor["name"], predictor["minReplicas"]) == (predictor_name(A), 4)
    assert (canary["trafficPercent"], canary["predictor"]["minReplicas"]) == (25, 1)
    assert canary["predictor"]["model"]["storageUri"] == f"s3://bundles/ids/{B.bundle[7:]}"
    (env,) = canary["predictor"]["model"]["env"]
    served = ServingSpec.model_validate_json(env["value"])
    assert env["name"] == SERVED
    assert served.models[0].revision.digest == B.digest
    assert fields["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"


def test_promotion_keeps_the_candidates_pods():
    before = fields_of(SERVICE, PLACE, target(100), 2)["spec"]["canary"][0]["predictor"]
    after = fields_of(SERVICE, PLACE, Target(stable=B), 2)["spec"]["predictor"]
    assert after["name"] == before["name"]
    assert after["model"] == before["model"]


def test_an_objective_that_nobody_says_is_the_one_that_is_served():
    told = fields_of(SERVICE, PLACE, Target(stable=A, latency_objective_ms=250), 1)
    unsaid = Target(stable=A, latency_objective_ms=None)
    assert unsaid.objective_ms(served_by(told)) == 250
    assert unsaid.objective_ms(served_by(None)) == 100
    told["spec"]["predictor"]["model"]["env"][0]["value"] = "{not ours"
    assert served_by(told) is None


def test_who_holds_what_is_read_back():
    fields = fields_of(SERVICE, PLACE, target(), 1)
    assert held_by(fields) == (
        Held("candidate", predictor_name(B), B.digest),
        Held("stable", predictor_name(A), A.digest),
    )
    assert json.loads(json.dumps(fields)) == fields


@pytest.mark.parametrize(
    "text", [None, "{stable", "5", '["stable"]', '{"stable": "r1"}', '{"stable": ["r1"]}', '{"stable": null}']
)
def test_what_somebody_wrote_in_place_of_who_holds_what_is_refused_in_words(text):
    """The look goes on to its act, which writes it again."""
    found = {"metadata": {"name": "ids", "namespace": "soc", "annotations": {VARIANTS: text}}}
    with pytest.raises(BackendError, match=r"InferenceService soc/ids: its annotation vedette\.dev/variants"):
        held_by(found)


@pytest.mark.parametrize(
    ("replicas", "weight", "expected"),
    [
        pytest.param(4, 0, 1, id="a dark candidate has one replica, or nobody could look at it"),
        pytest.param(4, 25, 1, id="its share"),
        pytest.param(4, 26, 2, id="its share, rounded up"),
        pytest.param(4, 100, 4, id="all"),
        pytest.param(0, 50, 1, id="stable sleeps"),
    ],
)
def test_the_candidate_scales_too(replicas, weight, expected):
    assert candidate_replicas(replicas, weight) == expected


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param(target(0, 10), "cannot mirror", id="a mirror"),
        pytest.param(target(2.5), "whole percentages", id="half percents"),
        pytest.param(
            Target(stable=A, variants=(TargetVariant(name="candidate", revision=A),)), "the same revision", id="a twin"
        ),
    ],
)
def test_what_kserve_cannot_do_is_refused_in_words(wrong, expected):
    with pytest.raises(BackendError, match=expected) as refused:
        fields_of(SERVICE, PLACE, wrong, 1)
    assert not refused.value.can_retry


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, True, id="fields of others do not count"),
        pytest.param({"a": [1]}, {"a": [1, 2]}, False, id="a list is ours whole"),
        pytest.param({"a": []}, {"a": None}, True, id="an empty list may be gone"),
        pytest.param({"a": {"b": 1}}, {"a": 5}, False, id="another type"),
    ],
)
def test_within(wanted, found, expected):
    assert is_within(wanted, found) is expected
