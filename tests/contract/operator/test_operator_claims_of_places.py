"""Laws of several services that claim one place in a backend, on both API servers; and of an operator that stops leading."""

import asyncio

import pytest

from operators.ports import BackendError
from tests.fakes.operator.operator_desk import CANDIDATE, Desk, condition


async def test_an_older_service_that_takes_the_replica_count_leaves_a_rollout_its_judgement_of_harm(desk: Desk):
    await desk.at_25()
    await desk.change({"replicas": 2})
    await desk.look()
    older = {
        "metadata": {"name": "dns", "namespace": desk.namespace, "uid": "0", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"model": "dns", "backend": {"ray": {"rayService": "flows"}}, "replicas": 3},
    }
    desk.cache.put_service(older)
    await desk.look()
    (told,) = desk.backend.told.values()
    assert told[-1].replicas is None, "both set the count"

    desk.fails()
    status = await desk.look(2)

    assert (status["phase"], desk.weight) == ("Aborted", 0), status
    assert condition(status, "Valid")["status"] == "False"
    assert "ModelService" in condition(status, "Valid")["message"]
    assert "/dns" in condition(status, "Valid")["message"]


async def test_an_older_service_that_was_refused_and_never_served_leaves_its_model_to_others(desk: Desk):
    await desk.policy()
    await desk.service()
    older = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "old", "namespace": desk.namespace, "uid": "0", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {
            "model": "flows",
            "revision": {"version": "1", "bundle": CANDIDATE},
            "rollout": {"policyRef": {"name": "nosuch"}},
            "backend": {"ray": {"rayService": "flows"}},
        },
    }
    refused = {"status": {"conditions": [{"type": "Valid", "status": "False", "reason": "Refused"}]}}
    desk.cache.put_service(older)
    assert condition(await desk.look(), "Valid")["status"] == "False", "the older one is looked at first"
    assert desk.after_s is not None
    assert desk.after_s <= 30, "and this one again when that is done"
    desk.cache.put_service({**older, **refused})

    assert (await desk.look(3))["phase"] == "Healthy"

    desk.cache.put_service({**older, "spec": {**older["spec"], "rollout": {"policyRef": {"name": "careful"}}}, **refused})
    status = await desk.look(2)
    assert (status["phase"], condition(status, "Valid")["status"]) == ("Healthy", "True"), "it keeps what it serves"


async def test_an_older_service_that_becomes_valid_while_a_younger_one_is_first_looked_at_writes_nothing(
    desk: Desk, monkeypatch
):
    """Both would be served by one entry, each for a while: the younger one's status does not say yet that it is."""
    names = [desk.name, "twin"]
    for desk.name in names:
        await desk.service(model="flows", rollout={"policyRef": {"name": "late"}})
        assert condition(await desk.look(), "Valid")["status"] == "False"
    ages = {
        (d["creationTimestamp"], d["uid"]): d["name"]
        for d in [desk.cache.service((desk.namespace, n))["metadata"] for n in names]
    }
    older, younger = (ages[age] for age in sorted(ages))
    look, is_looked_at, may_go_on = desk.backend.look, asyncio.Event(), asyncio.Event()

    async def slow(service):
        is_looked_at.set()
        await may_go_on.wait()
        return await look(service)

    desk.name = younger
    await desk.change({"rollout": {"policyRef": None}})
    monkeypatch.setattr(desk.backend, "look", slow)
    under_way = asyncio.create_task(desk.look())
    await is_looked_at.wait()
    monkeypatch.setattr(desk.backend, "look", look)
    await desk.policy(name="late")
    desk.name = older
    await desk.look()
    may_go_on.set()
    await under_way

    assert [service.name for service in desk.backend.told] == [younger]
    for desk.name, state in ((older, "False"), (younger, "True")):
        status = await desk.look()
        assert condition(status, "Valid")["status"] == state, status
    desk.name = "twin"
    await desk.leave()
    desk.name = "flows"


@pytest.mark.parametrize("missing", ["policy", "backend"])
async def test_an_operator_that_stops_leading_within_a_look_writes_nothing(desk: Desk, monkeypatch, missing: str):
    get = desk.kube.get

    async def policy_is_gone(kind, namespace, name):
        if name == "nosuch":
            desk.leads = False
        return await get(kind, namespace, name)

    async def backend_is_gone(_: object) -> None:
        desk.leads = False
        raise BackendError("RayService flows is not there")

    if missing == "policy":
        monkeypatch.setattr(desk.kube, "get", policy_is_gone)
        await desk.service(rollout={"policyRef": {"name": "nosuch"}})
    else:
        monkeypatch.setattr(desk.backend, "serves", backend_is_gone)
        await desk.policy()
        await desk.service()

    status = await desk.look()

    assert not desk.leads
    assert status == {}
    assert desk.problem == "this operator no longer leads"
