"""An operator judges by labels that a label server counted, on both API servers."""

import pytest

from operators.rollout.evidence import key
from operators.rollout.spec import GateName
from tests.fakes.operator.operator_desk import POLICY, Desk

LABELLED = {**POLICY, "analysis": {"gates": [{"name": "precision", "margin": 0.05}], "staleAfter": "60s"}}


async def at_25(desk: Desk) -> None:
    await desk.policy(LABELLED)
    await desk.service()
    await desk.look(3)
    await desk.rolls_out()
    desk.labels.since.clear()


def given(desk: Desk, stable: tuple[int, int], candidate: tuple[int, int]) -> None:
    (told,) = (targets[-1] for targets in desk.backend.told.values())
    desk.labels.given = {
        key("stable", told.stable.digest): {GateName.PRECISION: stable},
        key("candidate", told.variants[0].revision.digest): {GateName.PRECISION: candidate},
    }


@pytest.mark.parametrize("restarts", [False, True], ids=["same operator", "another operator"])
async def test_a_candidate_with_more_false_alarms_is_aborted(desk: Desk, restarts: bool):
    await at_25(desk)
    given(desk, (60, 6), (20, 12))
    await desk.look()
    if restarts:
        desk.restart()
    given(desk, (300, 30), (100, 60))
    status = await desk.look(2)
    assert (status["phase"], desk.weight) == ("Aborted", 0), status
    assert len(set(desk.labels.since)) == 1, "always since the rollout began"


async def test_labels_that_do_not_answer_are_one_event_and_what_was_counted_stays(desk: Desk):
    await at_25(desk)
    given(desk, (60, 6), (20, 2))
    await desk.look()
    desk.labels.silent = "http://labels:8095 did not answer"
    status = await desk.look(4)
    assert status["phase"] == "Paused" or status["weight"] == 25
    (gate,) = status["gates"] if "gates" in status else status["rollout"]["assessment"]["gates"]
    assert (gate["stable"], gate["candidate"]) == ([60, 6], [20, 2])
    assert (await desk.reasons()).count("LabelsNotRead") == 1


async def test_nobody_is_asked_for_labels_where_no_gate_wants_them(desk: Desk):
    await desk.at_25()
    await desk.look(2)
    assert desk.labels.since == []
