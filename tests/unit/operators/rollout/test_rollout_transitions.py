"""What a move changes, and that an illegal one raises and changes nothing."""

from typing import Any

import pytest

from operators.rollout import moves
from operators.rollout.facts import Desired
from operators.rollout.history import HANDLED, MOVES, pruned, with_handled, with_move
from operators.rollout.moves import IllegalMove
from operators.rollout.spec import ExperimentSpec, ExperimentVariant
from operators.rollout.status import (
    NOTHING_UNDER_WAY,
    Approval,
    Assessment,
    ExperimentReport,
    FinishedRollout,
    HistoryEntry,
    Phase,
    RolloutStatus,
    TargetVariant,
    Verdict,
)
from operators.rollout.transitions import after
from tests.fakes.operator.rollouts import HALF, LOADED, POLICY, A, B, C, at, facts, said, under_way

HEALTHY = RolloutStatus(phase=Phase.HEALTHY, stable=A, seen=A.digest)
FIRST = under_way().model_copy(update={"stable": None})
SPEC = ExperimentSpec(
    variants=(ExperimentVariant(name="stable", weight=50), ExperimentVariant(name="b", weight=50, revision=B))
)
SERVED = (TargetVariant(name="b", revision=B, weight=50),)
RUNNING = RolloutStatus(phase=Phase.EXPERIMENT, stable=A, experiment=SPEC, variants=SERVED, experiment_seen="x")
KEPT = RolloutStatus(phase=Phase.HEALTHY, stable=B, former=A, promoted_at=at(0), seen=B.digest)
REPORT = ExperimentReport(metric=SPEC.metric, goal="lower", started=at(0), at=at(9), is_final=True)
NOW = at(100)

ILLEGAL = [
    pytest.param(HEALTHY, moves.SetWeight(weight=5), {}, id="a weight without a rollout"),
    pytest.param(under_way(), moves.SetWeight(weight=5), {"candidate": HALF}, id="a weight before every replica is loaded"),
    pytest.param(under_way("analysis"), moves.SetWeight(weight=5), {}, id="the same weight again"),
    pytest.param(under_way("analysis"), moves.SetWeight(weight=4), {}, id="a weight that falls"),
    pytest.param(under_way("analysis"), moves.SetWeight(weight=101), {}, id="a weight over 100"),
    pytest.param(FIRST, moves.SetWeight(weight=5), {}, id="a weight without stable"),
    pytest.param(HEALTHY, moves.SetMirror(percent=5), {}, id="a mirror without a rollout"),
    pytest.param(under_way(), moves.SetMirror(percent=5), {"candidate": HALF}, id="a mirror before every replica is loaded"),
    pytest.param(HEALTHY, moves.SetReplicas(replicas=5), {}, id="replicas without a rollout"),
    pytest.param(HEALTHY, moves.PassStep(), {}, id="a step without a rollout"),
    pytest.param(under_way("over"), moves.PassStep(), {}, id="a step after the last"),
    pytest.param(under_way().model_copy(update={"policy": None}), moves.PassStep(), {}, id="a step without a policy"),
    pytest.param(HEALTHY, moves.BreakGlass(at=NOW), {}, id="broken glass without a rollout"),
    pytest.param(under_way("analysis"), moves.BreakGlass(at=NOW), {}, id="broken glass where no approval is waited for"),
    pytest.param(under_way("over"), moves.BreakGlass(at=NOW), {}, id="broken glass after the last step"),
    pytest.param(HEALTHY, moves.Review(), {}, id="a review of nothing"),
    pytest.param(HEALTHY, moves.Promote(), {}, id="promotion without a rollout"),
    pytest.param(under_way("over"), moves.Promote(), {}, id="promotion before all traffic"),
    pytest.param(
        under_way("over", weight=100.0), moves.Promote(), {"candidate": HALF}, id="promotion before every replica is loaded"
    ),
    pytest.param(HEALTHY, moves.Abort(), {}, id="an abort without a rollout"),
    pytest.param(FIRST, moves.Abort(), {}, id="an abort without stable"),
    pytest.param(HEALTHY, moves.Undo(), {"former": LOADED}, id="an undo without a former stable"),
    pytest.param(KEPT, moves.Undo(), {"former": HALF}, id="an undo to what is not loaded everywhere"),
    pytest.param(KEPT.model_copy(update={"experiment": SPEC}), moves.Undo(), {"former": LOADED}, id="an undo in an experiment"),
    pytest.param(KEPT.model_copy(update={"stable": None}), moves.Undo(), {"former": LOADED}, id="an undo of nothing"),
    pytest.param(RUNNING, moves.Start(revision=C), {}, id="a rollout in an experiment"),
    pytest.param(HEALTHY, moves.Start(revision=A), {}, id="a rollout of stable"),
    pytest.param(HEALTHY, moves.Pause(), {}, id="a pause without a rollout"),
    pytest.param(HEALTHY, moves.PromoteFull(), {}, id="promote-full without a rollout"),
    pytest.param(HEALTHY, moves.Calibrate(revision=B), {}, id="a threshold without a rollout"),
    pytest.param(under_way("analysis"), moves.Calibrate(revision=B), {}, id="a threshold after somebody met the candidate"),
    pytest.param(
        under_way(), moves.StartExperiment(experiment=SPEC, variants=(), seen="x"), {}, id="an experiment in a rollout"
    ),
    pytest.param(
        RolloutStatus(), moves.StartExperiment(experiment=SPEC, variants=(), seen="x"), {}, id="an experiment without stable"
    ),
    pytest.param(HEALTHY, moves.SplitTraffic(variants=()), {}, id="a split without an experiment"),
    pytest.param(RUNNING, moves.SplitTraffic(variants=()), {"candidate": HALF}, id="a split before every replica is loaded"),
    pytest.param(HEALTHY, moves.StopVariant(name="b", variants=()), {}, id="a variant stopped without an experiment"),
    pytest.param(HEALTHY, moves.Conclude(report=REPORT), {}, id="a conclusion without an experiment"),
    pytest.param(
        RUNNING.model_copy(update={"stable": None}), moves.Conclude(report=REPORT), {}, id="a conclusion without stable"
    ),
]


@pytest.mark.parametrize(("status", "move", "known"), ILLEGAL)
def test_an_illegal_move_raises(status: RolloutStatus, move: moves.Move, known: dict[str, Any]) -> None:
    before = status.model_dump_json()
    with pytest.raises(IllegalMove):
        after(status, move, facts(**known), NOW)
    assert status.model_dump_json() == before


def test_a_start_begins_everything_anew() -> None:
    dirty = under_way(
        "analysis",
        paused_by="bob",
        is_inconclusive=True,
        min_replicas=9,
        requests_before=7,
        approvals=(Approval(by="x", at=NOW),),
        ledger={"a": 1},
        is_overdue=True,
        full_by="bob",
        undo_of="y",
        candidate_wanted=C,
        handled=("before",),
        moves=(HistoryEntry(at=at(0), move="start"),),
    )
    found = after(dirty, moves.Start(revision=C, by="eve", reason="newer", request="r1"), facts(), NOW)
    fresh = {
        **NOTHING_UNDER_WAY,
        "attempt": "20260105T080140.000000Z",
        "candidate": C,
        "policy": POLICY,
        "step_started": NOW,
        "last_progress": NOW,
    }
    assert {name: getattr(found, name) for name in fresh} == fresh
    assert (found.started, found.started_by, found.phase, found.stable) == (NOW, "eve", Phase.PROGRESSING, A)
    assert found.handled == ("before", "r1")
    assert [m.move for m in found.moves] == ["start"]
    [superseded] = found.history
    assert (superseded.started, superseded.ended) == (dirty.started, NOW)
    assert (superseded.outcome, superseded.candidate, superseded.by) == ("superseded", B, "eve")
    assert "newer" in superseded.reason


def test_a_start_in_full_has_no_steps() -> None:
    found = after(HEALTHY, moves.Start(revision=B, is_full=True, by="eve"), facts(), NOW)
    assert (found.step_index, found.full_by) == (len(POLICY.steps), "eve")


@pytest.mark.parametrize(("seen", "expected"), [(None, A.digest), (C.digest, C.digest)])
def test_a_start_remembers_what_the_spec_asked_for_only_if_that_is_why(seen: str | None, expected: str) -> None:
    assert after(HEALTHY, moves.Start(revision=C, seen=seen), facts(), NOW).seen == expected


def test_a_retry_remembers_who_started_it_first() -> None:
    found = after(HEALTHY, moves.Start(revision=C, by="tim", started_by="grace", how="retry"), facts(), NOW)
    assert (found.started_by, found.moves[0].move, found.moves[0].by) == ("grace", "retry", "tim")


def test_a_step_that_passes_counts_evidence_from_there_and_forgets_its_approvals() -> None:
    before = under_way("analysis", is_inconclusive=True, is_overdue=True, approvals=(Approval(by="x", at=at(0)),))
    seen = facts(tally=facts().tally.model_copy(update={"requests": 321}))
    found = after(before, moves.PassStep(by="ada", assessment=Assessment(verdict=Verdict.BETTER)), seen, NOW)
    assert (found.step_index, found.step_started, found.last_progress) == (6, NOW, NOW)
    assert (found.requests_before, found.approvals, found.is_inconclusive, found.is_overdue) == (321, (), False, False)
    [entry] = found.moves
    assert (entry.move, entry.step, entry.by, entry.weight) == ("pass analysis", 6, "ada", 5)
    assert entry.assessment is not None
    assert entry.assessment.verdict is Verdict.BETTER, "the evidence behind the move is kept with it"


def test_a_threshold_of_its_own_makes_the_evidence_begin_anew() -> None:
    tuned = B.model_copy(update={"thresholds": {"siem_alerting": 0.7}})
    before = under_way(
        "mirror", mirror=50.0, ledger={"a": 1}, requests_before=3, assessment=Assessment(verdict=Verdict.NO_WORSE)
    )
    found = after(before, moves.Calibrate(revision=tuned), facts(), NOW)
    assert (found.candidate, found.candidate_wanted, found.mirror) == (tuned, B, 50)
    assert (found.ledger, found.assessment, found.requests_before, found.is_ready) == ({}, Assessment(), 0, False)


def test_a_promotion_keeps_the_former_stable_for_the_way_back() -> None:
    tuned = B.model_copy(update={"thresholds": {"siem_alerting": 0.7}})
    found = after(under_way("over", weight=100.0, candidate=tuned, candidate_wanted=B), moves.Promote(), facts(), NOW)
    assert (found.phase, found.stable, found.stable_wanted, found.former) == (Phase.HEALTHY, tuned, B, A)
    assert (found.promoted_at, found.weight, found.mirror, found.candidate) == (NOW, 0, 0, None)
    assert found.is_stable(B.digest)
    assert found.is_stable(tuned.digest)
    assert not found.is_stable(A.digest)
    [ended] = found.history
    assert (ended.outcome, ended.candidate, ended.stable) == ("promoted", tuned, A)
    assert ended.moves[-1].move == "promote"


def test_the_first_promotion_has_no_way_back() -> None:
    found = after(FIRST, moves.Promote(), facts(), NOW)
    assert (found.stable, found.former, found.promoted_at) == (B, None, None)


def test_a_rollout_back_ends_as_undone_and_what_it_took_back_is_not_tried_again() -> None:
    found = after(under_way("over", weight=100.0, undo_of=A.digest), moves.Promote(), facts(), NOW)
    assert (found.phase, found.stable, found.former, found.promoted_at) == (Phase.ABORTED, B, None, None)
    assert (found.aborted_revision, found.history[0].outcome) == (A.digest, "undone")


@pytest.mark.parametrize(("is_settled", "phase"), [(False, Phase.ABORTED), (True, Phase.HEALTHY)])
def test_an_abort_gives_stable_everything(is_settled: bool, phase: Phase) -> None:
    worse = Assessment(verdict=Verdict.WORSE)
    found = after(under_way("analysis"), moves.Abort(reason="errors", is_settled=is_settled, assessment=worse), facts(), NOW)
    assert (found.phase, found.stable, found.candidate, found.weight, found.mirror) == (phase, A, None, 0, 0)
    assert (found.aborted_revision, found.message, found.seen) == (B.digest, "errors", B.digest)
    assert found.history[0].moves[-1].assessment == worse
    assert found.history[0].reason == "errors"


def test_an_abort_by_the_spec_remembers_what_it_asks_for() -> None:
    assert after(under_way(), moves.Abort(seen=A.digest, is_settled=True), facts(), NOW).seen == A.digest


@pytest.mark.parametrize(("seen", "phase"), [(None, Phase.ABORTED), (A.digest, Phase.HEALTHY)])
def test_an_undo_is_at_once(seen: str | None, phase: Phase) -> None:
    found = after(KEPT, moves.Undo(seen=seen, by="ada", reason="floods"), facts(former=LOADED), NOW)
    assert (found.stable, found.phase, found.former, found.promoted_at) == (A, phase, None, None)
    assert (found.aborted_revision, found.seen) == (B.digest, seen or B.digest)
    assert (found.history[0].outcome, found.history[0].by, found.history[0].candidate) == ("undone", "ada", B)


def test_an_undo_supersedes_what_is_under_way() -> None:
    found = after(under_way(former=C, promoted_at=at(0)), moves.Undo(seen=C.digest), facts(former=LOADED), NOW)
    assert [f.outcome for f in found.history] == ["undone", "superseded"]
    assert (found.stable, found.candidate) == (C, None)


def test_stable_again_settles_an_abort() -> None:
    aborted = RolloutStatus(phase=Phase.ABORTED, stable=A, seen=B.digest, aborted_revision=B.digest)
    settled = after(aborted, moves.NoteSpec(seen=A.digest), facts(), NOW)
    assert (settled.phase, settled.seen, settled.aborted_revision) == (Phase.HEALTHY, A.digest, None)
    progressing = after(under_way(seen=C.digest), moves.NoteSpec(seen=B.digest), facts(), NOW)
    assert (progressing.phase, progressing.seen) == (Phase.PROGRESSING, B.digest)


def test_pause_and_resume() -> None:
    paused = after(under_way("analysis"), moves.Pause(by="ada"), facts(), NOW)
    assert (paused.phase, paused.paused_by) == (Phase.PAUSED, "ada")
    resumed = after(paused, moves.Resume(by="ada"), facts(), at(200))
    assert (resumed.phase, resumed.paused_by, resumed.last_progress) == (Phase.PROGRESSING, None, at(200))


def test_after_waiting_for_people_the_deadline_begins_anew() -> None:
    waited = under_way("analysis", phase=Phase.PAUSED)
    assert after(waited, moves.Hold(phase=Phase.PROGRESSING), facts(), NOW).last_progress == NOW
    assert after(under_way("analysis"), moves.Hold(phase=Phase.PROGRESSING), facts(), NOW).last_progress == at(0)
    assert after(waited, moves.Hold(phase=Phase.PAUSED), facts(), NOW).last_progress == at(0)


def test_giving_up_and_waiting_on() -> None:
    unsure = after(under_way("analysis"), moves.MarkInconclusive(reason="undecided"), facts(), NOW)
    assert (unsure.phase, unsure.is_inconclusive) == (Phase.PAUSED, True)
    waiting = after(unsure, moves.ResumeAnalysis(by="ada"), facts(), at(200))
    assert (waiting.phase, waiting.is_inconclusive, waiting.step_started) == (Phase.PROGRESSING, False, at(200))


def test_promote_full_ends_waiting() -> None:
    found = after(under_way("analysis", paused_by="bob", is_inconclusive=True), moves.PromoteFull(by="ada"), facts(), NOW)
    assert (found.full_by, found.paused_by, found.is_inconclusive) == ("ada", None, False)


def test_an_experiment_s_way() -> None:
    dark = tuple(v.model_copy(update={"weight": 0.0}) for v in SERVED)
    begun = after(HEALTHY, moves.StartExperiment(experiment=SPEC, variants=dark, seen="x", by="ada"), facts(), NOW)
    assert (begun.phase, begun.variants, begun.split_since, begun.experiment_seen) == (Phase.EXPERIMENT, dark, None, "x")
    split = after(begun, moves.SplitTraffic(variants=SERVED), facts(), at(200))
    assert (split.variants, split.split_since) == (SERVED, at(200))
    stopped = after(split, moves.StopVariant(name="b", variants=dark, reason="errors"), facts(), at(300))
    assert (stopped.stopped, stopped.variants) == ({"b": "errors"}, dark)
    over = after(stopped, moves.Conclude(report=REPORT, by="ada"), facts(), at(400))
    assert (over.phase, over.experiment, over.variants, over.report) == (Phase.HEALTHY, None, (), REPORT)
    assert over.experiment_seen == "x", "the same experiment does not begin again by itself"
    assert (over.history[0].outcome, over.history[0].candidate, over.history[0].report) == ("concluded", B, REPORT)
    assert (over.history[0].started, over.history[0].ended) == (NOW, at(400))
    assert [m.move for m in over.history[0].moves] == ["start experiment", "split", "stop b", "conclude"]
    assert after(over, moves.ForgetExperiment(), facts(), at(500)).experiment_seen is None


def test_a_long_reason_is_cut_so_that_the_status_can_be_read_back() -> None:
    found = after(under_way(), moves.Abort(reason="x" * 100_000), facts(), NOW)
    assert RolloutStatus.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_refusal_is_in_the_history() -> None:
    found = after(HEALTHY, moves.Refuse(verb="abort", by="ada", request="r1", reason="nothing is under way"), facts(), NOW)
    assert (found.moves[-1].move, found.moves[-1].by, found.handled) == ("refuse abort", "ada", ("r1",))
    assert found.moves[-1].step is None, "there is no step at rest"


def test_moves_are_bounded_and_keep_the_start() -> None:
    status = under_way()
    for i in range(100):
        status = with_move(status, HistoryEntry(at=at(i), move=f"m{i}"))
    assert (len(status.moves), status.moves[0].move, status.moves[-1].move) == (MOVES, "m0", "m99")


def test_finished_rollouts_are_bounded_the_newest_first() -> None:
    desired = Desired(revision=B, rollout=POLICY.model_copy(update={"history_limit": 2}))
    status = HEALTHY
    for i in range(4):
        status = after(status, moves.Start(revision=B, reason=str(i)), facts(desired=desired), at(i))
        status = after(status, moves.Abort(reason=str(i)), facts(desired=desired), at(i))
    assert [f.reason for f in status.history] == ["3", "2"]


def test_handled_verbs_are_remembered_as_long_as_somebody_says_them() -> None:
    status = HEALTHY
    for i in range(HANDLED + 10):
        status = with_handled(with_handled(status, f"r{i}"), f"r{i}")
    assert len(status.handled) == HANDLED + 10
    kept = pruned(status, (said("abort", id="r3"),))
    assert (len(kept.handled), kept.handled[0], kept.handled[1]) == (HANDLED + 1, "r3", "r10")
    assert with_handled(status, None) is status


KEPT_AT_REST = {
    "phase", "stable", "stable_wanted", "seen", "experiment_seen", "report", "started", "started_by", "waiting_for", "message",
    "assessment", "former", "promoted_at", "aborted_revision", "moves", "history", "handled", "break_glass",
}  # fmt: skip
"""Fields that outlive what was under way, or that each move sets by itself."""


def test_each_field_of_the_status_is_reset_with_what_was_under_way_or_kept_on_purpose():
    reset = set(NOTHING_UNDER_WAY)
    assert reset | KEPT_AT_REST == set(RolloutStatus.model_fields), "a new field must be in one of the two"
    assert not reset & KEPT_AT_REST


def test_what_is_reset_is_what_a_status_begins_with():
    assert RolloutStatus().model_copy(update=dict(NOTHING_UNDER_WAY)) == RolloutStatus()
    assert RolloutStatus.model_validate(dict(NOTHING_UNDER_WAY)) == RolloutStatus()


def test_a_change_of_a_field_that_there_is_not_is_refused():
    with pytest.raises(TypeError, match="RolloutStatus has no field wieght"):
        RolloutStatus().model_copy(update={"wieght": 5.0})


def test_an_approval_is_kept_as_it_was_given_and_takes_the_place_of_an_older_one():
    before = under_way("approval", approvals=(Approval(by="x", at=at(0)), Approval(by="y", at=at(0))))
    yes = Approval(by="x", at=at(5), role="soc-manager", expires=at(500), note="signed")
    found = after(before, moves.Approve(by="x", at=at(5), approval=yes), facts(), NOW)
    assert found.approvals == (Approval(by="y", at=at(0)), yes)
    plain = after(before, moves.Approve(by="z", at=at(5), reason="ok"), facts(), NOW)
    assert plain.approvals[-1] == Approval(by="z", at=at(5), why="ok")


def test_broken_glass_passes_the_step_and_is_kept_until_it_is_reviewed():
    before = under_way("approval", attempt="a1", approvals=(Approval(by="x", at=at(0)),))
    found = after(before, moves.BreakGlass(by="dan", at=at(5), role="commander", reason="tonight"), facts(), NOW)
    (use,) = found.break_glass
    assert (use.by, use.role, use.why, use.revision, use.attempt, use.step) == (
        "dan", "commander", "tonight", B.digest, "a1", before.step_index + 1
    )  # fmt: skip
    assert (found.step_index, found.approvals, found.moves[-1].move) == (before.step_index + 1, (), "break-glass")
    assert after(found, moves.Review(by="bob", reason="seen"), facts(), NOW).break_glass == ()


def _promoted(candidate, stable):
    return FinishedRollout(candidate=candidate, stable=stable, started=at(0), ended=at(0), outcome="promoted")


def test_a_status_that_was_changed_by_hand_ends_at_the_stable_that_was_recorded():
    aborted = _promoted(C, A).model_copy(update={"outcome": "aborted"})
    history = (_promoted(A, None), _promoted(A, B), _promoted(C, A), aborted)
    before = under_way("analysis", weight=50.0, former=C, promoted_at=at(0), stable_wanted=C, history=history)
    move = moves.Correct(reason="by hand", stable=A, settled=frozenset({A.digest}))
    found = after(before, move, facts(desired=Desired(revision=C)), NOW)
    assert (found.phase, found.stable, found.stable_wanted, found.former, found.promoted_at) == (
        Phase.ABORTED,
        A,
        None,
        None,
        None,
    )
    assert (found.candidate, found.weight, found.aborted_revision, found.seen) == (None, 0.0, B.digest, C.digest)
    assert [f.outcome for f in found.history] == ["aborted", "promoted", "aborted"], "what no act shows is forgotten"
    assert found.history[1] == history[0]
    unasked = after(before, move, facts(desired=Desired(revision=None)), NOW)
    assert unasked.seen == before.seen


def test_false_approvals_are_dropped_and_the_rollout_goes_on():
    yes = Approval(by="bob", at=at(0))
    before = under_way("approval", approvals=(yes, Approval(by="eve", at=at(0))))
    found = after(before, moves.Correct(reason="forged", approvals=(yes,), is_ended=False), facts(), NOW)
    assert (found.approvals, found.candidate, found.step_index) == ((yes,), B, before.step_index)
    assert found.moves[-1].move == "refuse approvals"
