"""The rules that move a rollout by itself. The ids, read alone, are the rules."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.rollout.decide import decide
from operators.rollout.facts import Calibration, Desired, Loading
from operators.rollout.moves import (
    Abort,
    Calibrate,
    Correct,
    Hold,
    MarkInconclusive,
    Move,
    PassStep,
    Promote,
    ReportOverdue,
    SetMirror,
    SetReplicas,
    SetWeight,
)
from operators.rollout.spec import AlertBudget, RolloutSpec
from operators.rollout.status import Approval, Assessment, Phase, RolloutStatus, Verdict
from tests.fakes.operator.rollouts import HALF, LOADED, POLICY, STEP, B, at, facts, revision, under_way

V = Verdict
YES = (Approval(by="alan", at=at(0)), Approval(by="barbara", at=at(0)))
FAILED = Loading(ready=1, expected=2, failure="replica r1 could not load it: golden outputs differ")
EMPTY = Loading(ready=0, expected=0)
STALE = Loading(ready=2, expected=2, is_fresh=False)


def decided(status: RolloutStatus, verdict: Verdict = V.UNDECIDED, seconds: float = 0, **more: Any) -> Move:
    policy = status.policy or POLICY
    return decide(policy, status, Assessment(verdict=verdict, reason=f"it is {verdict}"), facts(**more), (), at(seconds))


STEPS = [
    pytest.param(
        "mirror", V.UNDECIDED, 0, {"candidate": HALF}, Hold, id="mirroring waits until every replica has the candidate"
    ),
    pytest.param("mirror", V.UNDECIDED, 0, {}, SetMirror, id="a mirror step mirrors"),
    pytest.param("analysis of the mirror", V.NO_WORSE, 0, {}, PassStep, id="no worse on enough mirrored requests passes"),
    pytest.param("analysis of the mirror", V.BETTER, 0, {}, PassStep, id="better passes"),
    pytest.param("analysis of the mirror", V.UNDECIDED, 0, {}, Hold, id="undecided waits"),
    pytest.param("analysis of the mirror", V.INVALID, 0, {}, Hold, id="an error in measuring does not pass an analysis"),
    pytest.param(
        "analysis of the mirror",
        V.UNDECIDED,
        1e6,
        {},
        ReportOverdue,
        id="an analysis without maxDuration is never inconclusive",
    ),
    pytest.param("setWeight", V.UNDECIDED, 0, {}, SetWeight, id="a weight step gives traffic"),
    pytest.param("setWeight", V.UNDECIDED, 0, {"candidate": HALF}, Hold, id="no weight before every replica has the candidate"),
    pytest.param("setWeight", V.UNDECIDED, 0, {"candidate": EMPTY}, Hold, id="no weight when no replica is expected"),
    pytest.param("setWeight", V.UNDECIDED, 0, {"candidate": STALE}, Hold, id="no weight on an old look at what is loaded"),
    pytest.param("setWeight", V.INVALID, 0, {}, Hold, id="an error in measuring never promotes: no more weight"),
    pytest.param("timed pause", V.NO_WORSE, 59, {}, Hold, id="a young pause is given its time"),
    pytest.param("timed pause", V.NO_WORSE, 60, {}, PassStep, id="a pause that is over makes way"),
    pytest.param("timed pause", V.INVALID, 60, {}, PassStep, id="a pause needs no evidence: it gives nobody traffic"),
    pytest.param("setReplicas", V.NO_WORSE, 0, {}, SetReplicas, id="a replicas step asks for them"),
    pytest.param("analysis", V.NO_WORSE, 599, {}, PassStep, id="a live analysis passes on its own minRequests"),
    pytest.param("analysis", V.UNDECIDED, 599, {}, Hold, id="an analysis waits up to its maxDuration"),
    pytest.param(
        "analysis",
        V.UNDECIDED,
        600,
        {},
        MarkInconclusive,
        id="after maxDuration an undecided analysis is inconclusive, not failed",
    ),
    pytest.param(
        "analysis", V.INVALID, 600, {}, MarkInconclusive, id="after maxDuration what could not be measured is inconclusive"
    ),
    pytest.param("analysis", V.NO_WORSE, 600, {}, PassStep, id="at maxDuration good evidence still passes"),
    pytest.param("approval", V.NO_WORSE, 0, {}, Hold, id="an approval waits for people"),
    pytest.param("pause", V.NO_WORSE, 1e6, {}, Hold, id="a pause without duration waits for people, however long"),
    pytest.param("over", V.UNDECIDED, 0, {}, SetWeight, id="after the last step all traffic comes before promotion"),
    pytest.param("over", V.INVALID, 0, {}, Hold, id="but not on an error in measuring"),
    pytest.param("over", V.UNDECIDED, 0, {"candidate": HALF}, Hold, id="nor while a replica lacks the candidate"),
]


@pytest.mark.parametrize(("step", "verdict", "seconds", "more", "expected"), STEPS)
def test_next_move(step: str, verdict: Verdict, seconds: float, more: dict[str, Any], expected: type[Move]) -> None:
    assert type(decided(under_way(step), verdict, seconds, **more)) is expected


@pytest.mark.parametrize("step", STEP)
def test_worse_aborts_at_every_step(step: str) -> None:
    assert isinstance(decided(under_way(step), V.WORSE), Abort)


@pytest.mark.parametrize("step", STEP)
def test_a_candidate_that_cannot_be_loaded_aborts_at_every_step_with_the_reason(step: str) -> None:
    found = decided(under_way(step), candidate=FAILED)
    assert isinstance(found, Abort)
    assert "golden outputs differ" in found.reason


@pytest.mark.parametrize("step", STEP)
@pytest.mark.parametrize("verdict", [V.INVALID, V.UNDECIDED])
def test_what_is_not_known_never_blames(step: str, verdict: Verdict) -> None:
    assert not isinstance(decided(under_way(step), verdict, 1e5), Abort)


@pytest.mark.parametrize("held", [{"paused_by": "ada"}, {"is_inconclusive": True}, {"full_by": "ada"}])
def test_worse_aborts_also_what_people_hold_or_push(held: dict[str, Any]) -> None:
    assert isinstance(decided(under_way("analysis", **held), V.WORSE), Abort)


HOLDS = [
    pytest.param({"paused_by": "ada"}, {}, id="paused by somebody"),
    pytest.param({}, {"desired": Desired(revision=B, is_paused=True)}, id="paused by the spec"),
    pytest.param({"is_inconclusive": True}, {}, id="inconclusive: people decide, also if the evidence comes round"),
]


@pytest.mark.parametrize(("held", "more"), HOLDS)
def test_what_is_held_stays(held: dict[str, Any], more: dict[str, Any]) -> None:
    found = decided(under_way("analysis", **held), V.NO_WORSE, **more)
    assert isinstance(found, Hold)
    assert found.phase is Phase.PAUSED
    assert found.waiting_for


def test_evidence_of_the_steps_before_does_not_count_for_this_one() -> None:
    status = under_way("analysis", requests_before=961)
    assert isinstance(decided(status, V.NO_WORSE), Hold)
    assert isinstance(decided(status.model_copy(update={"requests_before": 960}), V.NO_WORSE), PassStep)


def test_once_it_is_live_mirrored_requests_do_not_stand_in_for_live_ones() -> None:
    tally = facts().tally.model_copy(update={"requests": 39})
    assert isinstance(decided(under_way("analysis"), V.NO_WORSE, tally=tally), Hold)
    tally = facts().tally.model_copy(update={"requests": 40, "mirrored": 0})
    assert isinstance(decided(under_way("analysis"), V.NO_WORSE, tally=tally), PassStep)


def test_before_it_is_live_mirrored_requests_count() -> None:
    tally = facts().tally.model_copy(update={"requests": 0, "mirrored": 100})
    assert isinstance(decided(under_way("analysis of the mirror"), V.NO_WORSE, tally=tally), PassStep)
    tally = facts().tally.model_copy(update={"requests": 1000, "mirrored": 99})
    assert isinstance(decided(under_way("analysis of the mirror"), V.NO_WORSE, tally=tally), Hold)


def test_a_step_that_is_served_already_makes_way() -> None:
    assert isinstance(decided(under_way("mirror", mirror=50.0)), PassStep)
    assert isinstance(decided(under_way("setWeight", weight=5.0)), PassStep)
    assert isinstance(decided(under_way("setWeight", weight=5.0), V.INVALID), PassStep)
    assert isinstance(decided(under_way("setReplicas", min_replicas=3)), PassStep)


def test_set_replicas_waits_until_they_are_there() -> None:
    found = decided(under_way("setReplicas", min_replicas=3), replicas=2)
    assert isinstance(found, Hold)
    assert "2 of 3" in found.waiting_for


def test_a_weight_is_the_steps_own() -> None:
    assert decided(under_way("setWeight")).weight == 5  # type: ignore[attr-defined]
    assert decided(under_way("last setWeight")).weight == 50  # type: ignore[attr-defined]
    assert decided(under_way("over")).weight == 100  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("approvals", "expected"),
    [
        pytest.param(YES[:1], Hold, id="one yes of two is not enough"),
        pytest.param((YES[0], YES[0]), Hold, id="the same person twice is one"),
        pytest.param(YES, PassStep, id="two people are enough"),
    ],
)
def test_approvals(approvals: tuple[Approval, ...], expected: type[Move]) -> None:
    assert type(decided(under_way("approval", approvals=approvals))) is expected


@pytest.mark.parametrize("is_checked", [True, False], ids=["checked", "not checked"])
def test_an_approval_step_says_where_nobody_checks_who_started(is_checked: bool) -> None:
    move = decided(under_way("approval"), desired=Desired(revision=B, is_by_checked=is_checked))
    assert isinstance(move, Hold)
    assert ("it is not known" in move.waiting_for) is not is_checked
    enough = decided(under_way("approval", approvals=YES), desired=Desired(revision=B, is_by_checked=is_checked))
    assert isinstance(enough, PassStep)


def test_approvals_where_nobody_is_asked_for_one_are_dropped_before_anything_else() -> None:
    move = decided(under_way("analysis", approvals=YES), V.WORSE)
    assert isinstance(move, Correct)
    assert (move.approvals, move.is_ended) == ((), False)


FINISH = [
    pytest.param(V.NO_WORSE, {}, Promote, id="no worse is promoted"),
    pytest.param(V.BETTER, {}, Promote, id="better is promoted"),
    pytest.param(V.UNDECIDED, {}, Promote, id="undecided is promoted: its analysis steps had the evidence they asked for"),
    pytest.param(V.INVALID, {}, Hold, id="an error in measuring never promotes"),
    pytest.param(V.NO_WORSE, {"candidate": HALF}, Hold, id="no promotion while a replica lacks the candidate"),
]


@pytest.mark.parametrize(("verdict", "more", "expected"), FINISH)
def test_with_all_traffic(verdict: Verdict, more: dict[str, Any], expected: type[Move]) -> None:
    assert type(decided(under_way("over", weight=100.0), verdict, **more)) is expected


def test_with_analysis_steps_promotion_asks_for_no_requests_of_its_own() -> None:
    status = under_way("over", weight=100.0)
    assert isinstance(
        decided(status, V.UNDECIDED, tally=facts().tally.model_copy(update={"requests": 1, "mirrored": 0})), Promote
    )


@pytest.mark.parametrize("step", ["analysis", "over"])
def test_an_error_in_measuring_is_said(step: str) -> None:
    found = decided(under_way(step), V.INVALID)
    assert isinstance(found, Hold)
    assert "valid evidence" in found.waiting_for


BARE = RolloutSpec.model_validate({"steps": [{"setWeight": 100}], "analysis": {"minRequests": 100}})


@pytest.mark.parametrize(
    ("verdict", "live", "mirrored", "expected"),
    [
        pytest.param(V.UNDECIDED, 99, 0, Hold, id="silence is not success: minRequests first"),
        pytest.param(V.UNDECIDED, 100, 0, Promote, id="undecided on enough requests is promoted"),
        pytest.param(V.UNDECIDED, 0, 100, Promote, id="mirrored requests count"),
        pytest.param(V.NO_WORSE, 0, 0, Promote, id="no worse needs no more than it had"),
        pytest.param(V.INVALID, 1000, 0, Hold, id="an error in measuring never promotes"),
    ],
)
def test_a_policy_without_an_analysis_step(verdict: Verdict, live: int, mirrored: int, expected: type[Move]) -> None:
    status = under_way("mirror", policy=BARE, step_index=1, weight=100.0)
    tally = facts().tally.model_copy(update={"requests": live, "mirrored": mirrored})
    assert type(decided(status, verdict, tally=tally)) is expected


FULL = [
    pytest.param("analysis", {}, V.UNDECIDED, PassStep, id="promote-full passes an analysis"),
    pytest.param("pause", {}, V.INVALID, PassStep, id="promote-full passes a pause"),
    pytest.param("setWeight", {}, V.INVALID, PassStep, id="promote-full passes weights on the way"),
    pytest.param("approval", {}, V.NO_WORSE, Hold, id="promote-full does not pass an approval"),
    pytest.param(
        "analysis", {"is_inconclusive": True}, V.UNDECIDED, PassStep, id="promote-full passes an inconclusive analysis"
    ),
    pytest.param("analysis", {"paused_by": "bob"}, V.NO_WORSE, Hold, id="promote-full, then pause: it is paused"),
    pytest.param("over", {}, V.INVALID, SetWeight, id="promote-full goes to all traffic without evidence"),
    pytest.param("over", {"weight": 100.0}, V.INVALID, Promote, id="promote-full promotes without evidence"),
]


@pytest.mark.parametrize(("step", "more", "verdict", "expected"), FULL)
def test_promote_full(step: str, more: dict[str, Any], verdict: Verdict, expected: type[Move]) -> None:
    assert type(decided(under_way(step, full_by="ada", **more), verdict)) is expected


@pytest.mark.parametrize("weight", [50.0, 100.0])
def test_promote_full_waits_for_loading_all_the_same(weight: float) -> None:
    assert isinstance(decided(under_way("over", full_by="ada", weight=weight), candidate=HALF), Hold)


FIRST = under_way().model_copy(update={"stable": None})


@pytest.mark.parametrize(
    ("candidate", "verdict", "expected"),
    [
        pytest.param(LOADED, V.UNDECIDED, Promote, id="it is stable as soon as every replica has it"),
        pytest.param(HALF, V.UNDECIDED, Hold, id="not before"),
        pytest.param(FAILED, V.UNDECIDED, Hold, id="if it cannot be loaded there is nothing to go back to"),
        pytest.param(HALF, V.WORSE, Hold, id="there is nothing it could be worse than"),
    ],
)
def test_the_first_revision_ever(candidate: Loading, verdict: Verdict, expected: type[Move]) -> None:
    found = decided(FIRST, verdict, candidate=candidate)
    assert type(found) is expected
    if candidate is FAILED:
        assert "golden outputs differ" in found.waiting_for  # type: ignore[attr-defined]


DEADLINE = [
    pytest.param("analysis of the mirror", {}, 3600, Hold, id="within the deadline"),
    pytest.param("analysis of the mirror", {}, 3601, ReportOverdue, id="after it, once"),
    pytest.param("analysis of the mirror", {"is_overdue": True}, 3601, Hold, id="reported already"),
    pytest.param("mirror", {}, 3601, ReportOverdue, id="loading that does not end is overdue as well"),
    pytest.param("pause", {"phase": Phase.PAUSED}, 1e6, Hold, id="waiting for people is not lack of progress"),
    pytest.param("approval", {"phase": Phase.PAUSED}, 1e6, Hold, id="nor is waiting for an approval"),
]


@pytest.mark.parametrize(("step", "more", "seconds", "expected"), DEADLINE)
def test_progress_deadline(step: str, more: dict[str, Any], seconds: float, expected: type[Move]) -> None:
    assert type(decided(under_way(step, **more), seconds=seconds, candidate=HALF)) is expected


def test_a_timed_pause_longer_than_the_deadline_is_not_overdue() -> None:
    step = POLICY.steps[3].model_copy(
        update={"pause": POLICY.steps[3].pause.model_copy(update={"duration": timedelta(hours=9)})}
    )  # type: ignore[union-attr]
    policy = POLICY.model_copy(update={"steps": (*POLICY.steps[:3], step, *POLICY.steps[4:])})
    assert isinstance(decided(under_way("timed pause", policy), seconds=8 * 3600), Hold)


def test_a_deadline_aborts_where_the_policy_says_so() -> None:
    policy = POLICY.model_copy(update={"abort_on_deadline": True})
    assert isinstance(decided(under_way("analysis of the mirror", policy), seconds=3601), Abort)
    first = under_way("analysis of the mirror", policy).model_copy(update={"stable": None})
    assert isinstance(decided(first, seconds=3601, candidate=HALF), ReportOverdue), "but there must be something to go back to"


def test_without_a_deadline_nothing_is_overdue() -> None:
    policy = POLICY.model_copy(update={"progress_deadline": None})
    assert isinstance(decided(under_way("analysis of the mirror", policy), seconds=1e7), Hold)


BUDGET = POLICY.model_copy(update={"alert_budget": AlertBudget(min_requests=1000)})
FOUND = Calibration(0.73, "alerts are equal at 0.73")


@pytest.mark.parametrize(
    ("more", "known", "expected"),
    [
        pytest.param({}, {"calibration": FOUND}, Calibrate, id="with scores enough the threshold is set"),
        pytest.param({}, {}, Hold, id="without a result it waits"),
        pytest.param(
            {}, {"calibration": Calibration(None, "no threshold is near enough")}, Hold, id="no threshold fits: it waits"
        ),
        pytest.param({"candidate_wanted": B}, {"calibration": FOUND}, PassStep, id="once it is set the step passes"),
        pytest.param({"candidate": revision("b", None)}, {"calibration": FOUND}, Hold, id="it must be known whose threshold"),
    ],
)
def test_alert_budget(more: dict[str, Any], known: dict[str, Any], expected: type[Move]) -> None:
    status = under_way("mirror", BUDGET, mirror=50.0, **more)
    found = decided(status, **known, desired=Desired(revision=None))
    assert type(found) is expected
    if isinstance(found, Calibrate):
        assert found.revision.thresholds == {"siem_alerting": 0.73}


def test_alert_budget_waits_for_its_rows() -> None:
    status = under_way("mirror", BUDGET, mirror=50.0)
    tally = facts().tally.model_copy(update={"mirrored_rows": 999})
    found = decided(status, tally=tally, calibration=FOUND)
    assert isinstance(found, Hold)
    assert "1 more" in found.waiting_for


def test_an_alert_budget_needs_a_mirror_that_mirrors() -> None:
    step = POLICY.steps[0].model_copy(update={"mirror": POLICY.steps[0].mirror.model_copy(update={"percent": 0.0})})  # type: ignore[union-attr]
    policy = BUDGET.model_copy(update={"steps": (step, *POLICY.steps[1:])})
    assert isinstance(decided(under_way("mirror", policy)), PassStep)


@pytest.mark.parametrize("verdict", [V.UNDECIDED, V.INVALID, V.NO_WORSE])
@pytest.mark.parametrize("step", STEP)
def test_who_waits_says_what_for(step: str, verdict: Verdict) -> None:
    found = decided(under_way(step), verdict, candidate=HALF)
    assert not isinstance(found, Hold) or found.waiting_for


def test_waiting_for_evidence_says_how_much() -> None:
    status, known = under_way("analysis of the mirror"), facts()
    said = decide(POLICY, status, Assessment(more=2500), known, (), at(0))
    assert "about 2500 more" in said.waiting_for  # type: ignore[attr-defined]
    short = replace(known, tally=known.tally.model_copy(update={"mirrored": 30}))
    said = decide(POLICY, status, Assessment(verdict=V.NO_WORSE), short, (), at(0))
    assert "70 more" in said.waiting_for  # type: ignore[attr-defined]
