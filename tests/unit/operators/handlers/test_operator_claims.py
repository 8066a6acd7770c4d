"""A place in a backend has one owner: the oldest that claims it."""

import pytest

from operators.handlers.claims import claimants, competing_claimants, earlier_claimant, refusal, waiting_claimants


def service(name, at=1, *, deleted=False, namespace="soc", **spec):
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": f"2026-01-05T08:00:0{at}Z", "uid": f"u-{name}"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-06T08:00:00Z"
    return {"metadata": metadata, "spec": spec}


OLD = service("old", 1, model="ids")


@pytest.mark.parametrize(
    ("young", "said"),
    [
        pytest.param(service("new", 2, model="ids"), "model ids on RayService soc/vedette", id="the same model and RayService"),
        pytest.param(service("new", 1, model="ids"), None, id="of one second, the uid decides: new is before old"),
        pytest.param(service("new", 2, model="dns"), None, id="another model"),
        pytest.param(service("new", 2, model="ids", backend={"ray": {"rayService": "other"}}), None, id="another RayService"),
        pytest.param(service("new", 2, model="ids", backend={"ray": {"deployment": "Other"}}), None, id="another deployment"),
        pytest.param(service("new", 2, model="ids", backend={"ray": {"rayService": "vedette"}}), "model ids", id="by default"),
        pytest.param(service("new", 2, model="ids", backend={"kserve": {}}), None, id="another backend"),
        pytest.param(service("ids", 2), "model ids", id="a model is called by the resource's name"),
    ],
)
def test_the_oldest_is_followed(young, said):
    found = earlier_claimant(young, [OLD])
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] is OLD
        assert said in refusal(*found)
        assert "ModelService soc/old" in refusal(*found)


def test_of_one_second_the_one_that_is_followed_already_is_the_older():
    followed = {**OLD, "status": {"rollout": {"phase": "Healthy"}}}
    young = service("new", 1, model="ids")
    found = earlier_claimant(young, [followed])
    assert found is not None
    assert found[0] is followed
    assert earlier_claimant(followed, [young]) is None


def test_nobody_comes_before_the_owner():
    assert earlier_claimant(OLD, [OLD, service("new", 2, model="ids"), service("newer", 3, model="ids")]) is None


def test_one_on_its_way_out_owns_its_place_until_it_is_gone():
    leaving = service("old", 1, deleted=True, model="ids")
    young = service("new", 2, model="ids")
    assert earlier_claimant(young, [leaving]) is not None
    assert [d["metadata"]["name"] for d in waiting_claimants(leaving, [young])] == ["new"]
    assert waiting_claimants(young, [leaving]) == []


def test_an_inference_service_has_one_owner_whatever_the_model():
    old = service("old", 1, backend={"kserve": {"inferenceService": "shared"}})
    found = earlier_claimant(service("new", 2, backend={"kserve": {"inferenceService": "shared"}}), [old])
    assert found is not None
    assert "InferenceService soc/shared" in refusal(*found)
    assert earlier_claimant(service("shared", 2, backend={"kserve": {}}), [old]) is not None


def test_the_count_of_a_deployment_has_one_owner_and_a_model_is_not_kept_for_it():
    old, young = service("ids", 1, replicas=3), service("dns", 2, scaling={})
    found = earlier_claimant(young, [old])
    assert found is not None
    assert "take replicas and scaling away" in refusal(*found)
    assert earlier_claimant(service("dns", 2), [old]) is None
    assert waiting_claimants(old, [young]) == []
    assert competing_claimants(old, [young]) == [young]


@pytest.mark.parametrize("counter", ["ids", "dns"])
def test_one_that_does_not_get_its_model_keeps_no_replica_count_from_others(counter):
    """Else nobody would set the count: `twin` may not, and the others would leave it to `twin`."""
    owner = {**service("ids", 2, **({"replicas": 3} if counter == "ids" else {})), "status": {"rollout": {"phase": "Healthy"}}}
    twin, other = service("twin", 1, model="ids", replicas=5), service("dns", 3, replicas=2)
    services = {"ids": owner, "dns": other}
    found = earlier_claimant(twin, [owner, other])
    assert found is not None
    assert "model ids" in refusal(*found)
    assert earlier_claimant(services[counter], [owner, twin, other]) is None


def test_what_cannot_be_parsed_still_claims():
    assert (
        earlier_claimant(service("new", 2, model="ids"), [{**OLD, "spec": {"model": "ids", "revision": "nonsense"}}])
        is not None
    )


REVISION = {"version": "1", "bundle": "sha256:" + "a" * 64}
POLICY = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"}, "spec": {}}


def whole(name, at=1, *, valid="False", rollout=None, **spec):
    """As the API server has it, with what the operator said of it."""
    asked = {"model": "ids", "revision": REVISION, "rollout": {"policyRef": {"name": "careful"}}, **spec}
    status = {"conditions": [{"type": "Valid", "status": valid}]} if valid else {}
    found = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", **service(name, at, **asked)}
    return {**found, "status": {**status, **({"rollout": rollout} if rollout else {})}}


def holding(*others, policies=None):
    found = claimants(others, {("soc", name): p for name, p in (policies or {}).items()}.get)
    return [d["metadata"]["name"] for d in found]


@pytest.mark.parametrize(
    ("other", "policies", "holds"),
    [
        pytest.param(whole("old"), {}, False, id="refused and never served: it has no place"),
        pytest.param(
            whole("old", revision="nonsense"), {"careful": POLICY}, False, id="the same of a spec that cannot be read"
        ),
        pytest.param(
            whole("old", rollout={"phase": "Healthy"}), {}, True, id="one that serves and became invalid keeps its place"
        ),
        pytest.param(whole("old"), {"careful": POLICY}, True, id="refused, and by now it can be followed: its look is due"),
        pytest.param(whole("old", valid=None), {}, True, id="one nobody has looked at yet"),
        pytest.param(whole("old", valid="Unknown"), {}, True, id="one of which nobody can tell"),
    ],
)
def test_one_that_was_refused_before_it_served_keeps_no_place_from_others(other, policies, holds):
    assert holding(other, policies=policies) == (["old"] if holds else [])


def test_one_that_serves_keeps_its_place_when_an_older_one_can_be_followed_at_last():
    old, young = whole("old", 1, valid="True"), whole("young", 2, valid="True", rollout={"phase": "Healthy"})
    assert earlier_claimant(young, [old]) is None
    found = earlier_claimant(old, [young])
    assert found is not None
    assert "soc/young, which has it already" in refusal(*found)


def test_one_whose_first_look_is_under_way_keeps_its_place_like_one_that_serves():
    """It is served in a moment, which its status does not say yet."""
    old, young = whole("old", 1), whole("young", 2, valid=None)
    policies = {("soc", "careful"): POLICY}.get
    assert earlier_claimant(old, claimants([young], policies)) is None
    found = earlier_claimant(old, claimants([young], policies, {("soc", "young")}))
    assert found is not None
    assert "soc/young, which has it already" in refusal(*found)


def test_what_will_never_be_served_is_no_heir():
    leaving = whole("old", 1, valid="True", rollout={"phase": "Healthy"})
    assert waiting_claimants(leaving, claimants([whole("refused", 2)], lambda _: None)) == []
