"""One look, whole: what is recorded, what should be true, what people are told; and that the same look twice is the same."""

from dataclasses import replace
from typing import Any

import pytest

from operators.rollout import moves
from operators.rollout.advance import Advance, advance, target
from operators.rollout.analysis import standard_statistics
from operators.rollout.evidence import Tally
from operators.rollout.facts import Calibration, Desired
from operators.rollout.spec import AlertBudget, RolloutSpec
from operators.rollout.status import Approval, Assessment, Phase, RolloutStatus, Verdict
from tests.fakes.operator.rollouts import POLICY, A, B, C, ScriptedJudge, at, observed, said, tools, under_way

DESIRED = Desired(revision=B, rollout=POLICY)
HEALTHY = RolloutStatus(phase=Phase.HEALTHY, stable=A, seen=A.digest)
KEPT = RolloutStatus(phase=Phase.HEALTHY, stable=B, seen=B.digest, former=A, promoted_at=at(0))


def look(status: RolloutStatus, seconds: float = 0, *, desired: Desired = DESIRED, **more: Any) -> Advance:
    judge = more.get("judge") or ScriptedJudge(requests=1000, mirrored=1000)
    seen = more.get("observation") or observed(seconds, A, B)
    return advance(desired, status, seen, more.get("requests", ()), at(seconds), tools(judge, more.get("calibration")))


def served(outcome: Advance) -> list[tuple[str, str, float, float]]:
    assert outcome.target is not None
    names = {A.digest: "A", B.digest: "B", C.digest: "C"}
    first = ("stable", names[outcome.target.stable.digest], 0.0, 0.0)
    return [first, *((v.name, names[v.revision.digest], v.weight, v.mirror) for v in outcome.target.variants)]


def reasons(outcome: Advance) -> list[str]:
    return [e.reason for e in outcome.events]


def test_without_a_revision_nothing_is_served() -> None:
    found = look(RolloutStatus(), desired=Desired(revision=None))
    assert (found.target, found.status) == (None, RolloutStatus())


def test_the_first_revision_is_served_as_stable_while_it_is_loaded() -> None:
    found = look(RolloutStatus(), desired=Desired(revision=A), observation=observed(0))
    assert served(found) == [("stable", "A", 0, 0)]
    assert (found.status.phase, found.status.stable) == (Phase.PROGRESSING, None)
    assert look(found.status, 5, desired=Desired(revision=A)).status.stable == A


def test_a_candidate_is_loaded_dark() -> None:
    found = look(HEALTHY, observation=observed(0, A))
    assert served(found) == [("stable", "A", 0, 0), ("candidate", "B", 0, 0)]


def test_weight_and_mirror_reach_the_target_in_the_look_that_decides_them() -> None:
    assert served(look(under_way("mirror"))) == [("stable", "A", 0, 0), ("candidate", "B", 0, 50)]
    assert served(look(under_way("setWeight"))) == [("stable", "A", 0, 0), ("candidate", "B", 5, 50)]


def test_one_raise_a_look() -> None:
    found = look(under_way("last setWeight"))
    assert (found.status.weight, found.status.step_index) == (50, 8)
    found = look(found.status, 5)
    assert (found.status.weight, found.status.step_index) == (100, 9)
    found = look(found.status, 10)
    assert found.status.stable == B


def test_after_promotion_the_former_stable_is_kept_dark_until_its_window_ends() -> None:
    found = look(under_way("over", weight=100.0))
    assert served(found) == [("stable", "B", 0, 0), ("former", "A", 0, 0)]
    assert served(look(found.status, 86399)) == served(found)
    late = look(found.status, 86400)
    assert served(late) == [("stable", "B", 0, 0)]
    assert (late.status.former, late.status.promoted_at) == (None, None)


def test_beside_a_new_candidate_the_former_stable_stays_loaded() -> None:
    found = look(KEPT, 5, desired=Desired(revision=C, rollout=POLICY))
    assert served(found) == [("stable", "B", 0, 0), ("candidate", "C", 0, 0), ("former", "A", 0, 0)]


def test_a_candidate_that_is_superseded_makes_way_at_once() -> None:
    found = look(under_way("analysis"), desired=Desired(revision=C, rollout=POLICY))
    assert served(found) == [("stable", "A", 0, 0), ("candidate", "C", 0, 0)]


def test_a_candidate_that_is_the_former_stable_is_named_once() -> None:
    found = look(KEPT, 5, desired=Desired(revision=A, rollout=POLICY), observation=observed(5, B))
    assert served(found) == [("stable", "B", 0, 0), ("candidate", "A", 0, 0)]


def test_an_undo_keeps_what_it_takes_back_loaded_for_that_look() -> None:
    found = look(KEPT, 5, requests=(said("undo"),))
    assert served(found) == [("stable", "A", 0, 0), ("undone", "B", 0, 0)]
    assert found.acts_first
    assert served(look(found.status, 10)) == [("stable", "A", 0, 0)]


def test_a_candidate_that_was_worse_stays_loaded_for_that_look_also_if_another_begins() -> None:
    found = look(under_way("analysis"), judge=ScriptedJudge(verdict=Verdict.WORSE), desired=Desired(revision=C, rollout=POLICY))
    assert served(found) == [("stable", "A", 0, 0), ("candidate", "C", 0, 0), ("candidate-gone", "B", 0, 0)]
    assert [f.outcome for f in found.status.history] == ["aborted"]
    assert found.status.assessment.verdict is Verdict.UNDECIDED, "the new one is not judged by the old one's evidence"


@pytest.mark.parametrize(
    ("status", "requests", "verdict", "expected"),
    [
        pytest.param(under_way("analysis"), (), Verdict.WORSE, True, id="an abort by evidence acts first"),
        pytest.param(under_way("analysis"), (said("abort"),), Verdict.NO_WORSE, True, id="an abort by hand acts first"),
        pytest.param(under_way("setWeight"), (), Verdict.NO_WORSE, False, id="a weight is recorded first"),
        pytest.param(under_way("over", weight=100.0), (), Verdict.NO_WORSE, False, id="a promotion is recorded first"),
        pytest.param(HEALTHY, (), Verdict.NO_WORSE, False, id="a start is recorded first"),
    ],
)
def test_what_takes_traffic_acts_first(status: RolloutStatus, requests: Any, verdict: Verdict, expected: bool) -> None:
    assert look(status, requests=requests, judge=ScriptedJudge(verdict=verdict, requests=999)).acts_first is expected


def test_the_decision_is_the_move_that_counts() -> None:
    assert isinstance(look(HEALTHY, desired=Desired(revision=A)).decision, moves.Hold)
    assert isinstance(look(under_way("analysis"), judge=ScriptedJudge(verdict=Verdict.WORSE)).decision, moves.Abort)
    assert isinstance(look(under_way("setWeight")).decision, moves.SetWeight)


EVENTS = [
    pytest.param(HEALTHY, {"observation": observed(0, A)}, ["RolloutStarted"], id="a start"),
    pytest.param(under_way("mirror"), {}, ["MirrorSet", "StepPassed"], id="steps"),
    pytest.param(under_way("over", weight=100.0), {}, ["RolloutPromoted"], id="a promotion"),
    pytest.param(under_way("analysis"), {"judge": ScriptedJudge(verdict=Verdict.WORSE)}, ["RolloutAborted"], id="an abort"),
    pytest.param(HEALTHY, {"desired": Desired(revision=A), "requests": (said("abort"),)}, ["RequestRefused"], id="a refusal"),
    pytest.param(under_way("pause"), {}, ["WaitingForPeople"], id="a wait for people"),
    pytest.param(under_way("pause", phase=Phase.PAUSED), {}, [], id="which is told once"),
    pytest.param(
        under_way("analysis"),
        {"judge": ScriptedJudge(verdict=Verdict.INVALID)},
        ["EvidenceInvalid"],
        id="evidence that became invalid",
    ),
    pytest.param(
        under_way("analysis", assessment=Assessment(verdict=Verdict.INVALID)),
        {"judge": ScriptedJudge(verdict=Verdict.INVALID)},
        [],
        id="which is told once as well",
    ),
    pytest.param(
        under_way("approval", phase=Phase.PAUSED, approvals=(Approval(by="x", at=at(0)), Approval(by="y", at=at(0)))),
        {},
        ["StepPassed", "WaitingForPeople"],
        id="another wait for people is told",
    ),
    pytest.param(
        under_way("analysis", is_ready=False), {"judge": ScriptedJudge()}, ["CandidateLoaded"], id="a candidate that is loaded"
    ),
    pytest.param(HEALTHY, {"desired": Desired(revision=A)}, [], id="nothing at rest"),
]


@pytest.mark.parametrize(("status", "more", "expected"), EVENTS)
def test_events(status: RolloutStatus, more: dict[str, Any], expected: list[str]) -> None:
    found = look(status, **more)
    assert reasons(found) == expected
    assert all(e.message for e in found.events)


def test_events_say_who_and_why() -> None:
    found = look(under_way("analysis"), requests=(said("abort", "ada", why="pagers"),), judge=ScriptedJudge())
    [event] = found.events
    assert (event.type, event.message) == ("Warning", "pagers (by ada)")


REST = [
    pytest.param(HEALTHY, Desired(revision=A), id="healthy"),
    pytest.param(KEPT, Desired(revision=B), id="within a rollback window"),
    pytest.param(RolloutStatus(), Desired(revision=None), id="nothing asked"),
    pytest.param(
        RolloutStatus(phase=Phase.ABORTED, stable=A, seen=B.digest, waiting_for="a new revision, or retry"),
        DESIRED,
        id="aborted",
    ),
]


@pytest.mark.parametrize(("status", "desired"), REST)
@pytest.mark.parametrize("verdict", list(Verdict))
def test_at_rest_nothing_is_to_be_recorded(status: RolloutStatus, desired: Desired, verdict: Verdict) -> None:
    judge = ScriptedJudge(verdict=verdict, requests=5)
    assert look(status, 60, desired=desired, judge=judge).status == status
    assert judge.splits == [], "and nothing is judged"


def test_the_split_in_force_is_that_of_the_look_before() -> None:
    judge = ScriptedJudge(requests=999, mirrored=999)
    status = look(under_way("setWeight"), judge=judge).status
    look(status, 5, judge=judge)
    assert judge.splits == [{"candidate": 0}, {"candidate": 5}]


def test_a_clock_set_back_makes_nobody_wait_for_the_old_time() -> None:
    early = look(under_way("timed pause"), -1e7).status
    assert early.step_started == at(-1e7)
    assert look(early, -1e7 + 60).status.step_index > 3
    kept = look(KEPT, -1e7).status
    assert look(kept, -1e7 + 86400).status.former is None


def test_a_policy_edited_meanwhile_counts_from_the_next_start() -> None:
    edited = POLICY.model_copy(update={"steps": ()})
    found = look(under_way("analysis"), desired=Desired(revision=B, rollout=edited), judge=ScriptedJudge())
    assert (found.status.policy, found.status.step_index) == (POLICY, 5)
    anew = look(
        found.status, 5, desired=Desired(revision=B, rollout=edited), requests=(said("restart"),), judge=ScriptedJudge()
    )
    assert anew.status.policy == edited


def test_an_alert_budget_sets_the_threshold_and_the_evidence_begins_anew() -> None:
    policy = POLICY.model_copy(update={"alert_budget": AlertBudget(min_requests=1000)})
    found = look(under_way("mirror", policy, mirror=50.0, ledger={"looks": 7}), calibration=Calibration(0.7, "equal at 0.7"))
    candidate = found.status.candidate
    assert candidate is not None
    assert (candidate.thresholds, found.status.candidate_wanted) == ({"siem_alerting": 0.7}, B)
    assert (found.status.step_index, found.status.is_ready, found.status.ledger) == (0, False, {})
    assert found.target is not None
    assert found.target.variants[0].revision == candidate
    few = look(
        under_way("mirror", policy, mirror=50.0), judge=ScriptedJudge(mirrored=999), calibration=Calibration(0.7, "too early")
    )
    assert few.status.candidate == B
    unchanged = look(found.status, 5, calibration=Calibration(0.6, "never asked again"))
    assert unchanged.status.candidate == candidate
    loaded = look(found.status, 5, observation=observed(5, A, candidate))
    assert loaded.status.step_index > 0, "once it is loaded the step passes"
    promoted = look(
        under_way("over", weight=100.0, candidate=candidate, candidate_wanted=B), observation=observed(0, A, candidate)
    )
    assert (promoted.status.stable, promoted.status.stable_wanted) == (candidate, B)
    assert look(promoted.status, 5).status == promoted.status, "the spec's own revision is no new one"


@pytest.mark.parametrize(
    ("desired", "floor", "expected"),
    [
        (Desired(revision=B), 3, None),
        (Desired(revision=B, replicas=2), None, 2),
        (Desired(revision=B, replicas=2), 3, 3),
        (Desired(revision=B, replicas=2, max_replicas=4), 9, 4),
        (Desired(revision=B, replicas=2, min_replicas=3), None, 3),
    ],
)
def test_the_count_has_one_owner(desired: Desired, floor: int | None, expected: int | None) -> None:
    found = target(desired, under_way(min_replicas=floor))
    assert found is not None
    assert found.replicas == expected


def test_what_is_slow_is_the_policy_s_to_say() -> None:
    policy = POLICY.model_copy(update={"analysis": POLICY.analysis.model_copy(update={"latency_objective": at(0.25) - at(0)})})
    found = target(Desired(revision=B, rollout=policy), HEALTHY)
    assert found is not None
    assert found.latency_objective_ms == 250
    found = target(Desired(revision=B, rollout=policy), under_way())
    assert found is not None
    assert found.latency_objective_ms == 100, "of the policy that the rollout keeps to"
    found = target(Desired(revision=B, is_rollout_known=False), HEALTHY)
    assert found is not None
    assert found.latency_objective_ms is None, "nobody knows the policy"
    found = target(Desired(revision=B, is_rollout_known=False), under_way())
    assert found is not None
    assert found.latency_objective_ms == 100, "a rollout under way keeps its own"


def test_while_nobody_knows_the_window_the_former_stable_is_kept() -> None:
    unknown = Desired(revision=None, is_rollout_known=False)
    assert look(KEPT, 1e7, desired=unknown).status.former == A


@pytest.mark.parametrize("seconds", [0, 7, 1e6])
@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("step", ["mirror", "analysis", "approval", "over"])
def test_the_same_look_twice_is_the_same(step: str, verdict: Verdict, seconds: float) -> None:
    requests = (said("approve", groups="sre"), said("promote"))
    status = under_way(step)
    first, second = (look(status, seconds, requests=requests, judge=ScriptedJudge(verdict=verdict)) for _ in range(2))
    assert first == second


def test_budgets_are_asked_for_only_where_they_are_needed() -> None:
    asked = []

    def calibrate(budget: AlertBudget, tally: Tally) -> Calibration:
        asked.append(tally.mirrored_rows)
        return Calibration(None, "none")

    policy = POLICY.model_copy(update={"alert_budget": AlertBudget(min_requests=1000)})
    for rows, status in (
        (999, under_way("mirror", policy, mirror=50.0)),
        (1001, under_way("mirror", policy, candidate_wanted=C)),
    ):
        advance(
            DESIRED, status, observed(0, A, B), (), at(0), replace(tools(ScriptedJudge(mirrored=rows)), calibrate=calibrate)
        )
    assert asked == []
    advance(
        DESIRED,
        under_way("mirror", policy),
        observed(0, A, B),
        (),
        at(0),
        replace(tools(ScriptedJudge(mirrored=1000)), calibrate=calibrate),
    )
    assert set(asked) == {1000}


def test_the_project_s_own_judge_is_the_default() -> None:
    status = under_way("mirror", mirror=50.0)
    seen = observed(0, A, B)
    assert advance(DESIRED, status, seen, (), at(0)) == advance(DESIRED, status, seen, (), at(0), standard_statistics())


def test_the_project_s_own_judge_goes_with_it() -> None:
    status = under_way("mirror", mirror=50.0)
    for i in range(5):
        found = advance(DESIRED, status, observed(5 * i, A, B), (), at(5 * i), standard_statistics())
        status = RolloutStatus.model_validate_json(found.status.model_dump_json(by_alias=True))
        assert status == found.status
    assert status.assessment.verdict is Verdict.UNDECIDED
    assert status.weight == 0


def test_a_policy_of_as_many_steps_as_there_may_be_is_walked_in_one_look() -> None:
    policy = RolloutSpec.model_validate({"steps": [{"setWeight": 100}] * 64, "analysis": {"minRequests": 10}})
    status = look(under_way("mirror", policy), desired=replace(DESIRED, rollout=policy)).status
    assert status.weight == 100
    ended = look(status, 5, desired=replace(DESIRED, rollout=policy)).status
    assert (ended.phase, ended.stable) == (Phase.HEALTHY, B)


def test_mirrors_that_change_at_every_step_are_walked_in_one_look() -> None:
    policy = RolloutSpec.model_validate({"steps": [{"mirror": {"percent": n % 2}} for n in range(63)] + [{"analysis": {}}]})
    assert look(under_way("mirror", policy), desired=replace(DESIRED, rollout=policy)).status.step_index == 63


def test_more_verbs_than_one_look_answers_wait_for_the_next_and_harm_is_seen_meanwhile() -> None:
    requests = tuple(said("approve", f"user{n}") for n in range(200))
    found = look(under_way("analysis"), requests=requests, judge=ScriptedJudge(Verdict.UNDECIDED))
    assert 0 < len(found.status.handled) < 200
    harmed = look(found.status, 5, requests=requests, judge=ScriptedJudge(Verdict.WORSE))
    assert harmed.status.phase is Phase.ABORTED
    status = found.status
    for seconds in range(10, 100, 5):
        status = look(status, seconds, requests=requests, judge=ScriptedJudge(Verdict.UNDECIDED)).status
    assert {r.id for r in requests} <= set(status.handled)
