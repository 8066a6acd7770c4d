"""Laws of an operator that never saw the policy of a service, or nobody's: what is known is carried out, and nothing else is said."""

from datetime import timedelta

from tests.fakes.operator.operator_desk import CANDIDATE, POLICY, STABLE, Desk, condition


async def test_what_is_at_rest_is_served_again_by_an_operator_that_never_saw_its_policy(desk: Desk):
    """The RayService is made anew, after the policy was deleted and the operator restarted."""
    await desk.policy({**POLICY, "analysis": {**POLICY["analysis"], "latencyObjective": "250ms"}})
    await desk.service()
    await desk.look(3)
    await desk.drop_policy()
    desk.restart()
    desk.backend.told.clear()

    status = await desk.look(2)

    assert [targets[-1].stable.bundle for targets in desk.backend.told.values()] == [STABLE]
    assert condition(status, "Ready")["status"] == "True"


async def test_what_nobody_knows_stays_as_it_is_where_it_is_served(desk: Desk):
    """On KServe another latency objective is another pod."""
    await desk.policy({**POLICY, "analysis": {**POLICY["analysis"], "latencyObjective": "250ms"}})
    await desk.service()
    await desk.look(3)
    await desk.drop_policy()
    desk.restart()

    await desk.look(2)

    assert [t.latency_objective_ms for targets in desk.backend.told.values() for t in targets[-1:]] == [250]


async def test_what_cannot_be_carried_out_is_said_by_an_operator_that_never_saw_the_policy(desk: Desk):
    await desk.policy()
    await desk.service()
    await desk.look(3)
    await desk.drop_policy()
    desk.restart()
    desk.backend.refuses = desk.backend.silent = "RayService flows is not there"

    status = await desk.look(2)

    assert condition(status, "Degraded")["status"] == "True", "what was decided is not carried out"


async def test_the_former_revision_is_kept_for_undo_while_nobody_knows_for_how_long(desk: Desk):
    await desk.policy({**POLICY, "rollbackWindow": "72h"})
    await desk.service()
    await desk.look(3)
    await desk.change({"revision": {"version": "2", "bundle": CANDIDATE}})
    await desk.look(4)
    await desk.say("promote", "go on")
    desk.fails(bad=0)
    assert (await desk.look(4))["rollout"]["former"]["bundle"] == STABLE
    await desk.drop_policy()
    desk.restart()
    desk.now += timedelta(hours=48)

    status = await desk.look(2)

    assert status["rollout"]["former"]["bundle"] == STABLE


async def test_a_refused_service_does_not_go_on_saying_what_nobody_looks_at(desk: Desk):
    await desk.policy()
    await desk.service()
    desk.backend.unserved = "RayService flows is not there"
    await desk.look()
    await desk.drop_policy()
    await desk.look()
    desk.backend.unserved = None

    status = await desk.look()

    assert {name: condition(status, name)["status"] for name in ("Valid", "Ready", "Degraded")} == {
        "Valid": "False",
        "Ready": "Unknown",
        "Degraded": "Unknown",
    }
    assert "RayService" not in str([c for c in status["conditions"] if c["type"] != "Valid"])
    assert (status.get("phase", ""), status.get("waitingFor", "")) == ("", "")
