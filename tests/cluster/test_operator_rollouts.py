"""Rollouts in a cluster: the operator in a process of its own, an API server, a RayService whose pods serve."""

import itertools
import json
import random
from datetime import UTC, datetime

import httpx
import pytest

from operators.api.types import FINALIZER, REQUESTS_ANNOTATION
from operators.rollout.status import VerbRequest
from tests.fakes.operator.operator_world import MERGE, QUICK, World, digest
from tests.fakes.operator.serving_pods import Group
from tests.ports import free_port
from tests.waiting import until

KILLS = 3
MANY_KILLS = 50


def is_healthy(version: str):
    return lambda s: s.get("phase") == "Healthy" and s.get("stable", "").startswith(f"{version} ")


def looks(port: int) -> float:
    """How many looks of an operator have ended, by its own page."""
    try:
        page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.TransportError:
        return 0.0
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("vedette_operator_looks_total{"))


def weights(group: Group) -> list[float]:
    """The candidate's weights as the pods met them, without repetitions."""
    seen: list[float] = []
    for _, split, _ in group.splits:
        if "candidate" in split and (not seen or seen[-1] != split["candidate"]):
            seen.append(split["candidate"])
    return seen


def has_requests(world: World, namespace: str) -> bool:
    return REQUESTS_ANNOTATION in (world.get(namespace, "ids")["metadata"].get("annotations") or {})


def begin(world: World, namespace: str, operators, **spec) -> Group:
    """A service that is healthy on version 1."""
    world.namespace(namespace)
    group = world.ray(namespace, "ids")
    world.service(namespace, "ids", **spec)
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace)
    world.until(namespace, "ids", is_healthy("1"), 180)
    return group


def test_a_good_candidate_takes_every_step_and_is_promoted(world, namespace, operators):
    group = begin(world, namespace, operators)
    world.want(namespace, "ids", "b")
    status = world.until(namespace, "ids", is_healthy("2"), 180)
    assert weights(group) == [0, 5, 25, 100]
    assert status["observedGeneration"] == world.get(namespace, "ids")["metadata"]["generation"]
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    assert conditions["Ready"] == ("True", "Serving")
    assert conditions["Progressing"] == ("False", "AtRest")
    assert conditions["Degraded"] == ("False", "AsDecided")
    (finished, first) = status["rollout"]["history"]
    assert (finished["outcome"], first["outcome"]) == ("promoted", "promoted")
    moves = [m["weight"] for m in finished["moves"] if m["move"] == "setWeight"]
    assert moves == [5, 25, 100]
    reasons = [e["reason"] for e in world.events(namespace)]
    assert reasons.count("WeightSet") == 3
    assert reasons.count("RolloutStarted") == 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param({"errors": 0.2}, "errors", id="a candidate that errs"),
        pytest.param({"latency": 0.5}, "latency", id="a candidate that is slow"),
        pytest.param({"alertRate": 0.5}, "alertRate", id="a candidate that floods alerts"),
    ],
)
def test_a_bad_candidate_is_aborted_with_its_reason(world, namespace, operators, pods, bad, said):
    gates = [{"name": name, "margin": 0.02} for name in ("errors", "latency", "alertRate")]
    policy = {**QUICK, "analysis": {**QUICK["analysis"], "gates": gates}}
    group = begin(world, namespace, operators, rollout={"policy": policy})
    pods.bad[digest("b")] = bad
    world.want(namespace, "ids", "b")
    status = world.until(namespace, "ids", lambda s: s.get("phase") == "Aborted", 180)
    assert status["stable"].startswith("1 ")
    assert status["verdict"] == "worse"
    assert said in status["rollout"]["message"] or said in str(status["rollout"]["history"][0])
    until(lambda: "candidate" not in group.splits[-1][1], "nobody meets it any more")


def test_a_candidate_that_cannot_be_loaded_meets_nobody(world, namespace, operators, pods):
    group = begin(world, namespace, operators)
    pods.unloadable[digest("b")] = "the golden outputs differ"
    world.want(namespace, "ids", "b")
    status = world.until(namespace, "ids", lambda s: s.get("phase") == "Aborted", 180)
    assert "the golden outputs differ" in status["rollout"]["history"][0]["reason"]
    assert set(weights(group)) == {0}


def test_verbs_are_handled_once_and_pruned(world, namespace, operators):
    steps = [{"setWeight": 5}, {"pause": {}}, {"setWeight": 100}]
    begin(world, namespace, operators, rollout={"policy": {**QUICK, "steps": steps}})
    world.want(namespace, "ids", "b")
    world.until(namespace, "ids", lambda s: s.get("phase") == "Paused" and s["weight"] == 5, 180)
    said = datetime.now(UTC)
    world.say(namespace, "ids", VerbRequest(id="r1", verb="promote", by="alice", why="looks good", at=said))
    world.until(namespace, "ids", is_healthy("2"), 180)
    until(lambda: not has_requests(world, namespace), "the verb was never pruned")
    moves = [m for h in world.status(namespace, "ids")["rollout"]["history"] for m in h["moves"]]
    assert sum(m.get("by") == "alice" for m in moves) == 1


def test_a_damaged_verb_is_told_of_once_and_taken_away(world, namespace, operators):
    begin(world, namespace, operators)
    world.patch(namespace, "ids", {"metadata": {"annotations": {REQUESTS_ANNOTATION: "promote!"}}})
    until(lambda: not has_requests(world, namespace))
    assert [e["reason"] for e in world.events(namespace)].count("RequestDamaged") == 1


def test_a_deleted_service_leaves_the_ray_service_as_it_was(world, namespace, operators):
    begin(world, namespace, operators)
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayservices/ids"
    assert "user_config" in world.http.get(path).json()["spec"]["serveConfigV2"]
    where = f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices/ids"
    assert FINALIZER in world.http.get(where).json()["metadata"]["finalizers"]
    world.http.delete(where).raise_for_status()
    until(lambda: world.http.get(where).status_code == 404, "it was never let go of")
    assert "user_config" not in world.http.get(path).json()["spec"]["serveConfigV2"]


def test_a_shared_policy_is_followed_and_says_by_how_many(world, namespace, operators):
    world.namespace(namespace)
    policies = f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/rolloutpolicies"
    world.ray(namespace, "ids")
    world.service(namespace, "ids", rollout={"policyRef": {"name": "careful"}})
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace)
    refused = world.until(namespace, "ids", lambda s: s.get("conditions"), 180)
    assert "has no such RolloutPolicy" in refused["conditions"][0]["message"]
    document = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"}, "spec": QUICK}
    world.create(policies, document)
    world.until(namespace, "ids", is_healthy("1"), 180)
    until(lambda: (world.http.get(f"{policies}/careful").json().get("status") or {}).get("services") == 1)


def test_the_operator_writes_no_annotation_and_no_field_of_people(world, namespace, operators):
    begin(world, namespace, operators)
    before = world.get(namespace, "ids")
    world.want(namespace, "ids", "b")
    world.until(namespace, "ids", is_healthy("2"), 180)
    after = world.get(namespace, "ids")
    assert "annotations" not in after["metadata"]
    assert {**after["spec"], "revision": None} == {**before["spec"], "revision": None}
    ours = [e for e in after["metadata"]["managedFields"] if e["manager"] == "vedette-operator" and not e.get("subresource")]
    assert all("f:spec" not in e["fieldsV1"] for e in ours)


def test_a_backend_that_is_not_there_is_said_once_and_tried_again(world, namespace, operators):
    world.namespace(namespace)
    world.service(namespace, "ids")
    port = free_port()
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace, HTTP_HOST="127.0.0.1", HTTP_PORT=str(port))
    until(lambda: looks(port) >= 5, "it was not tried again")
    assert [e["reason"] for e in world.events(namespace)].count("BackendMissing") == 1
    world.ray(namespace, "ids")
    world.patch(namespace, "ids", {"spec": {"backend": {"ray": {"rayService": "ids", "metricsPort": world.pods.port}}}})
    world.until(namespace, "ids", is_healthy("1"), 180)


def killed_rollout(world: World, namespace: str, operators, rng: random.Random, number: int, group: Group) -> None:
    """One rollout, with the operator killed after a random number of reads of its evidence, and started anew."""
    letter, version = ("b", "2") if number % 2 == 0 else ("a", "1")
    del group.splits[:]
    world.want(namespace, "ids", letter, version)
    looks_at, pods = rng.randrange(0, 60), world.pods
    seen = pods.scrapes
    until(lambda: pods.scrapes >= seen + looks_at, every_s=0.002)
    operators.last.kill()
    operators.last = operators.start(world.api.kubeconfig(), NAMESPACES=namespace)
    status = world.until(namespace, "ids", is_healthy(version), 240)
    seen = weights(group)
    assert seen == [0, 5, 25, 100], f"rollout {number}: no step is lost, doubled or taken back: {group.splits}"
    moves = [(m["move"], m.get("weight")) for m in status["rollout"]["history"][0]["moves"]]
    assert [w for m, w in moves if m == "setWeight"] == [5, 25, 100]
    assert [m for m, _ in moves].count("promote") == 1


def kill_often(world: World, namespace: str, operators, kills: int) -> None:
    world.namespace(namespace)
    group = world.ray(namespace, "ids")
    world.service(namespace, "ids", rollout={"policy": {**QUICK, "rollbackWindow": "0s"}})
    operators.last = operators.start(world.api.kubeconfig(), NAMESPACES=namespace)
    world.until(namespace, "ids", is_healthy("1"), 180)
    rng = random.Random(7)
    for number in range(kills):
        killed_rollout(world, namespace, operators, rng, number, group)


def test_killed_at_random_moments_every_rollout_ends_the_same(world, namespace, operators):
    kill_often(world, namespace, operators, KILLS)


@pytest.mark.soak
def test_killed_at_50_random_moments_every_rollout_ends_the_same(world, namespace, operators):
    kill_often(world, namespace, operators, MANY_KILLS)


def test_errors_conflicts_and_lost_answers_of_the_api_change_nothing(fake_world, operators):
    world, faults = fake_world, fake_world.api.faults
    world.namespace("soc")
    group = world.ray("soc", "ids")
    world.service("soc", "ids")
    operators.start(world.api.kubeconfig())
    world.until("soc", "ids", is_healthy("1"), 180)
    faults.order(verb="patch", plural="modelservices", subresource="status", status=500, times=3)
    faults.order(verb="patch", plural="modelservices", subresource="status", status=409, times=3)
    faults.order(verb="patch", plural="modelservices", subresource="status", after=True, times=2)
    faults.order(verb="patch", plural="rayservices", after=True, status=500, times=2)
    faults.order(verb="get", plural="rayservices", status=503, times=3)
    faults.order(verb="create", plural="events", status=500, times=2)
    faults.drop_watches("modelservices")
    world.want("soc", "ids", "b")
    faults.forget_history()
    faults.drop_watches("modelservices")
    status = world.until("soc", "ids", is_healthy("2"), 240)
    assert weights(group) == [0, 5, 25, 100]
    moves = [m["weight"] for m in status["rollout"]["history"][0]["moves"] if m["move"] == "setWeight"]
    assert moves == [5, 25, 100]
    assert json.loads(json.dumps(status))


def test_somebody_else_edits_all_the_while(world, namespace, operators):
    """Annotations and labels of others change at every moment: the operator reads again, and loses nothing."""
    group = begin(world, namespace, operators)
    world.want(namespace, "ids", "b")
    numbers = itertools.count()

    def is_promoted() -> bool:
        world.patch(namespace, "ids", {"metadata": {"labels": {"edit": str(next(numbers))}}})
        return is_healthy("2")(world.status(namespace, "ids"))

    until(is_promoted)
    assert weights(group) == [0, 5, 25, 100]
    assert world.http.patch(
        f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/modelservices/ids",
        json={"metadata": {"labels": {"edit": None}}},
        headers=MERGE,
    ).is_success
