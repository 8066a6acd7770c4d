"""Laws of an operator's looks, on both API servers: what is in the cluster may go or break, and the status tells the truth."""

import json
from datetime import timedelta

import pytest

from operators.api.service_intent import CHANGED_BY
from operators.backends.kube import MODEL_SERVICES, ROLLOUT_POLICIES, KubeError
from tests.fakes.operator.operator_desk import CANDIDATE, POLICY, Desk, condition


@pytest.mark.parametrize("restarts", [False, True], ids=["same operator", "another operator"])
async def test_a_rollout_whose_policy_is_deleted_is_still_aborted_for_harm(desk: Desk, restarts: bool):
    await desk.at_25()

    await desk.drop_policy()
    if restarts:
        desk.restart()
    await desk.look()
    desk.fails()
    status = await desk.look(2)

    assert (status["phase"], desk.weight) == ("Aborted", 0), status
    assert condition(status, "Valid")["status"] == "False"
    assert "careful" in condition(status, "Valid")["message"]


async def test_a_rollout_whose_policy_is_deleted_goes_on_by_the_policy_it_started_with(desk: Desk):
    await desk.at_25()
    await desk.drop_policy()

    await desk.say("promote", "go on")
    status = await desk.look(3)

    assert status["rollout"]["policy"]["steps"][0] == {"setWeight": 25.0}
    assert status["weight"] == 100, status["waitingFor"]


async def test_what_goes_on_to_be_wrong_is_one_event_and_another_one_when_it_comes_back(desk: Desk):
    await desk.at_25()
    for _ in range(2):
        await desk.drop_policy()
        await desk.look(5)
        await desk.policy()
        await desk.look(2)

    assert (await desk.reasons()).count("Refused") == 2


async def test_without_its_policy_nothing_new_begins_and_the_status_says_why_of_which_generation(desk: Desk):
    await desk.policy()
    await desk.service()
    await desk.look(3)

    await desk.drop_policy()
    changed = await desk.change({"revision": {"version": "2", "bundle": CANDIDATE}})
    status = await desk.look(2)

    assert (status["phase"], status["candidate"]) == ("Healthy", "")
    assert condition(status, "Valid")["status"] == "False"
    assert status["observedGeneration"] == changed["metadata"]["generation"]
    await desk.policy()
    assert (await desk.look())["candidate"].startswith("2 ")


def _policies_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """From now on the API server answers so when it is asked for a policy."""
    get = desk.kube.get

    async def answered(kind, namespace, name):
        if kind is ROLLOUT_POLICIES:
            raise KubeError(f"get rolloutpolicies/{name}: {status}", status)
        return await get(kind, namespace, name)

    monkeypatch.setattr(desk.kube, "get", answered)


@pytest.mark.parametrize("answer", [503, 0, 429, 403], ids=["unavailable", "no answer", "too many", "forbidden"])
async def test_a_policy_that_cannot_be_read_for_now_is_not_held_against_the_resource(desk: Desk, monkeypatch, answer: int):
    before = condition(await desk.at_25(), "Valid")
    desk.restart()
    desk.is_listed = False
    _policies_answer(desk, monkeypatch, answer)
    changed = await desk.change({"revision": {"version": "3", "bundle": f"sha256:{'c' * 64}"}})

    status = await desk.look(2)

    assert condition(status, "Valid") == before, "nothing was found out about what is written"
    assert status["candidate"].startswith("2 "), "nothing new begins"
    assert status["observedGeneration"] < changed["metadata"]["generation"]
    assert "Refused" not in await desk.reasons()
    assert desk.after_s is not None
    assert desk.after_s <= 5, "asked again soon"
    desk.fails()
    assert ((await desk.look(2))["phase"], desk.weight) == ("Aborted", 0), "harm is judged by what is known"
    monkeypatch.undo()
    status = await desk.look(2)
    assert condition(status, "Valid")["status"] == "True"
    assert status["observedGeneration"] == changed["metadata"]["generation"]


async def test_a_first_look_that_cannot_read_the_policy_for_now_says_nothing_and_is_tried_again(desk: Desk, monkeypatch):
    desk.is_listed = False
    await desk.service()
    _policies_answer(desk, monkeypatch, 503)

    assert await desk.look() == {}
    assert desk.problem is not None
    assert "503" in desk.problem


async def test_a_first_look_that_may_not_read_the_policy_cannot_tell_whether_the_resource_is_valid(desk: Desk, monkeypatch):
    desk.is_listed = False
    await desk.service()
    _policies_answer(desk, monkeypatch, 403)

    status = await desk.look()

    assert condition(status, "Valid")["status"] == "Unknown"
    assert "403" in condition(status, "Valid")["message"]
    assert desk.problem is not None, "and it is tried again"


async def test_a_backend_that_cannot_be_read_for_now_is_not_called_missing(desk: Desk):
    await desk.policy()
    await desk.service()
    desk.backend.unserved, desk.backend.unserved_from = "get rayservices/flows: 503", KubeError("503", 503)

    status = await desk.look()

    assert (condition(status, "Ready")["status"], condition(status, "Ready")["reason"]) == ("Unknown", "BackendNotRead")
    assert condition(status, "Degraded")["status"] == "Unknown"
    assert status["phase"] == "Waiting"
    assert "BackendMissing" not in await desk.reasons()
    assert desk.after_s is not None
    assert desk.after_s <= 5


async def test_a_service_that_never_had_its_policy_says_of_which_generation(desk: Desk):
    await desk.service()
    await desk.look()
    changed = await desk.change({"paused": True})

    status = await desk.look()

    assert condition(status, "Valid")["status"] == "False"
    assert status["observedGeneration"] == changed["metadata"]["generation"]


async def test_what_a_rollout_was_started_with_is_judged_though_the_spec_can_no_longer_be_read(desk: Desk):
    await desk.at_25()
    desk.spoils = {
        "rollout": {"policyRef": {"name": "careful"}, "policy": {**POLICY, "steps": []}}
    }  # a newer CRD lets it through
    desk.restart()
    await desk.look()
    desk.fails()

    status = await desk.look(2)

    assert (status["phase"], desk.weight) == ("Aborted", 0), status
    assert condition(status, "Valid")["status"] == "False"
    assert (await desk.look(3))["phase"] == "Aborted", "and it stays so"


async def test_a_first_look_that_fails_says_what_is_missing_and_looks_again_soon(desk: Desk):
    await desk.policy()
    await desk.service()
    desk.backend.unserved = "RayService flows: not found; create it, or name another in spec.backend.ray.rayService"

    status = await desk.look()

    assert condition(status, "Ready")["status"] == "False"
    assert "RayService flows" in condition(status, "Ready")["message"]
    assert "RayService flows" in status["waitingFor"]
    assert status["phase"] == "Waiting"
    assert "BackendMissing" in await desk.reasons()
    assert desk.after_s is not None
    assert desk.after_s <= 5
    desk.backend.unserved = None
    assert (await desk.look(3))["phase"] == "Healthy"


async def test_what_was_served_before_is_adopted_though_the_first_look_failed(desk: Desk):
    await desk.policy()
    await desk.service()
    desk.backend.unserved = "no answer"
    await desk.look()
    desk.backend.unserved = None

    status = await desk.look()

    assert "rollout" in status


@pytest.mark.parametrize("text", ["\U0001f600 now", "\x7f\u2028\ufeff", "half \ud83d"])
async def test_any_reason_that_people_give_is_written(desk: Desk, text: str):
    await desk.at_25()

    await desk.say("abort", text)
    status = await desk.look(2)

    assert (status["phase"], desk.weight, desk.problem) == ("Aborted", 0, None)


async def test_a_status_that_cannot_be_written_is_told(desk: Desk, monkeypatch):
    await desk.at_25()
    apply = desk.kube.apply

    async def refuses(kind, namespace, name, fields, *, subresource=None):
        rollout = fields.get("status", {}).get("rollout") or {}
        odd = {**fields, "status": {**fields["status"], "weight": "much"}} if rollout.get("phase") == "Aborted" else fields
        return await apply(kind, namespace, name, odd, subresource=subresource)  # the API server refuses it by its schema

    monkeypatch.setattr(desk.kube, "apply", refuses)
    await desk.say("abort", "stop")
    status = await desk.look()

    assert desk.weight == 0
    assert (status["phase"], status["weight"]) == ("Aborted", 0)
    assert (condition(status, "Degraded")["status"], condition(status, "Degraded")["reason"]) == ("True", "StatusNotWritten")
    assert "StatusNotWritten" in await desk.reasons()
    assert (
        f'vedette_rollout_problem{{kind="recorded",name="flows",namespace="{desk.namespace}"}} 1.0'
        in desk.metrics.render().decode()
    )
    monkeypatch.undo()
    status = await desk.look()
    assert condition(status, "Degraded")["status"] == "False"
    assert (
        f'vedette_rollout_problem{{kind="recorded",name="flows",namespace="{desk.namespace}"}} 0.0'
        in desk.metrics.render().decode()
    )


async def test_a_status_that_cannot_be_written_is_told_though_the_backend_refuses_as_well(desk: Desk, monkeypatch):
    await desk.at_25()

    async def refuses(*_: object, **__: object) -> None:
        raise KubeError("the API server is short of room", 507)

    monkeypatch.setattr(desk.kube, "apply", refuses)
    desk.backend.refuses = "RayService flows is not there"
    await desk.say("abort", "stop")
    await desk.look()

    assert "StatusNotWritten" in await desk.reasons()


async def test_a_name_of_any_length_leaves_the_status_its_bound(desk: Desk):
    await desk.policy()
    await desk.service()
    await desk.look(3)

    await desk.change({"revision": {"version": "2", "bundle": CANDIDATE}}, annotations={CHANGED_BY: "y" * 100_000})
    status = await desk.look(4)

    assert status["weight"] == 25
    assert status["rollout"]["startedBy"].startswith("yyy")
    assert len(json.dumps(status)) < 64 * 1024


async def test_a_deletion_takes_the_model_away_though_the_status_cannot_be_read(desk: Desk):
    """Another release wrote it."""
    await desk.at_25()
    await desk.kube.delete(MODEL_SERVICES, desk.namespace, desk.name)
    found = await desk.kube.get(MODEL_SERVICES, desk.namespace, desk.name)
    desk.restart()
    desk.cache.put_service({**found, "status": {**found["status"], "rollout": {"phase": "Rehearsing"}}})

    await desk.looker.look((desk.namespace, desk.name))

    assert desk.backend.told == {}
    assert await desk.kube.list(MODEL_SERVICES, desk.namespace) == []


async def test_a_service_that_went_unseen_is_forgotten_not_tried_for_ever(desk: Desk):
    await desk.at_25()
    await desk.change(finalizers=None)
    await desk.kube.delete(MODEL_SERVICES, desk.namespace, desk.name)
    desk.fails()
    desk.now += timedelta(minutes=1)

    await desk.looker.look((desk.namespace, desk.name))

    assert desk.cache.service((desk.namespace, desk.name)) is None
