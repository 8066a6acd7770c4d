"""What people say: each verb moves the rollout where it makes sense, and is refused with the way out where it does not."""

from typing import Any

import pytest

from operators.rollout.decide import decide
from operators.rollout.facts import Desired
from operators.rollout.moves import (
    Abort,
    Approve,
    Move,
    PassStep,
    Pause,
    PromoteFull,
    Refuse,
    Resume,
    ResumeAnalysis,
    Start,
    Undo,
)
from operators.rollout.spec import ExperimentSpec, ExperimentVariant
from operators.rollout.status import Approval, Assessment, FinishedRollout, HistoryEntry, Phase, RolloutStatus, Verdict
from tests.fakes.operator.rollouts import HALF, LOADED, POLICY, STEP, A, B, C, at, facts, said, under_way

HEALTHY = RolloutStatus(phase=Phase.HEALTHY, stable=B, seen=B.digest)
KEPT = HEALTHY.model_copy(update={"former": A, "promoted_at": at(0)})
LATER = HEALTHY.model_copy(
    update={"history": (FinishedRollout(candidate=B, stable=A, started=at(0), ended=at(0), outcome="promoted"),)}
)
ABORTED = RolloutStatus(phase=Phase.ABORTED, stable=A, seen=B.digest, aborted_revision=B.digest, started_by="grace")
FIRST = under_way().model_copy(update={"stable": None})
EXPERIMENT = RolloutStatus(
    phase=Phase.EXPERIMENT,
    stable=B,
    seen=B.digest,
    experiment=ExperimentSpec(
        variants=(ExperimentVariant(name="stable", weight=50), ExperimentVariant(name="other", weight=50, revision=C))
    ),
)
PAUSED = under_way("analysis", paused_by="bob")
HELD = {"desired": Desired(revision=B, is_paused=True)}
UNSURE = under_way("analysis", is_inconclusive=True, phase=Phase.PAUSED)


def answered(status: RolloutStatus, verb: str, *, by: str = "ada", known: dict[str, Any] | None = None, **args: str) -> Move:
    request = said(verb, by, **args)
    return decide(status.policy or POLICY, status, Assessment(), facts(**(known or {})), (request,), at(60))


ANSWERS = [
    pytest.param("promote", under_way("pause"), {}, PassStep, id="promote goes on from a pause"),
    pytest.param("promote", under_way("timed pause"), {}, PassStep, id="promote ends a timed pause"),
    pytest.param("promote", under_way("analysis"), {}, PassStep, id="promote goes past an analysis: somebody takes it on"),
    pytest.param("promote", UNSURE, {}, PassStep, id="promote goes on from an inconclusive analysis"),
    pytest.param("promote", under_way("approval"), {}, Refuse, id="promote does not go past an approval"),
    pytest.param("promote", under_way("setWeight"), {}, Refuse, id="promote does not go past loading"),
    pytest.param("promote", under_way("mirror"), {}, Refuse, id="promote does not skip a mirror"),
    pytest.param("promote", under_way("over"), {}, Refuse, id="promote does not stand in for valid evidence at the end"),
    pytest.param("promote", PAUSED, {}, Refuse, id="promote does not undo a pause"),
    pytest.param("promote", under_way("pause"), HELD, Refuse, id="promote does not undo the spec's pause"),
    pytest.param("promote-full", under_way("mirror"), {}, PromoteFull, id="promote-full is for any step"),
    pytest.param("promote-full", PAUSED, {}, PromoteFull, id="promote-full also from a pause"),
    pytest.param("promote-full", under_way(full_by="bob"), {}, Refuse, id="promote-full once is enough"),
    pytest.param("pause", under_way("analysis"), {}, Pause, id="pause holds a rollout"),
    pytest.param("pause", PAUSED, {}, Refuse, id="pause of what is paused"),
    pytest.param("resume", PAUSED, {}, Resume, id="resume lets it go on"),
    pytest.param("resume", UNSURE, {}, ResumeAnalysis, id="resume of an inconclusive analysis waits on"),
    pytest.param("resume", under_way("analysis"), {}, Refuse, id="resume of what nobody paused"),
    pytest.param("resume", under_way("analysis"), HELD, Refuse, id="resume does not undo the spec's pause"),
    pytest.param("abort", under_way("analysis"), {}, Abort, id="abort ends a rollout"),
    pytest.param("abort", PAUSED, {}, Abort, id="abort ends a paused one"),
    pytest.param("retry", ABORTED, {}, Start, id="retry begins an aborted one anew"),
    pytest.param("retry", ABORTED, {"desired": Desired(revision=None)}, Refuse, id="retry of nothing"),
    pytest.param("retry", under_way("analysis"), {}, Refuse, id="retry of one under way"),
    pytest.param("retry", HEALTHY, {}, Refuse, id="retry of a promoted one"),
    pytest.param("restart", under_way("analysis"), {}, Start, id="restart begins one under way anew"),
    pytest.param("restart", HEALTHY, {}, Refuse, id="restart of nothing"),
    pytest.param("undo", KEPT, {"former": LOADED}, Undo, id="undo within the rollback window is at once"),
    pytest.param("undo", KEPT, {"former": HALF}, Start, id="undo within the window, not loaded everywhere, loads first"),
    pytest.param("undo", LATER, {}, Start, id="undo after the window is a rollout back"),
    pytest.param("undo", HEALTHY, {}, Refuse, id="undo without a stable before"),
    pytest.param("undo", under_way("analysis"), {}, Refuse, id="undo of one under way: abort it"),
    pytest.param("approve", under_way("approval"), {}, Approve, id="approve an approval"),
    pytest.param("approve", under_way("analysis"), {}, Refuse, id="approve a step that asks for none"),
    pytest.param("approve", under_way("over"), {}, Refuse, id="approve when all steps are over"),
    pytest.param("reject", under_way("approval"), {}, Abort, id="reject ends it at an approval"),
    pytest.param("reject", under_way("analysis"), {}, Refuse, id="reject where no approval is asked for"),
    pytest.param("break-glass", under_way("approval"), {}, Refuse, id="the glass is not broken at a step that lets nobody"),
    pytest.param("break-glass", under_way("analysis"), {}, Refuse, id="the glass is not broken where no approval is asked for"),
    pytest.param("review", under_way("approval"), {}, Refuse, id="review of nothing"),
    pytest.param("conclude", under_way("analysis"), {}, Refuse, id="conclude is for experiments"),
]


@pytest.mark.parametrize(("verb", "status", "known", "expected"), ANSWERS)
def test_answer(verb: str, status: RolloutStatus, known: dict[str, Any], expected: type[Move]) -> None:
    found = answered(status, verb, known=known, groups="sre")
    assert type(found) is expected
    assert (found.by, found.request) == ("ada", f"{verb}-ada"), "who said it, and that it is done"
    assert isinstance(found, Approve) or found.reason


@pytest.mark.parametrize("verb", ["promote", "promote-full", "pause", "resume", "abort", "restart", "approve"])
@pytest.mark.parametrize("status", [HEALTHY, ABORTED, FIRST, EXPERIMENT], ids=["healthy", "aborted", "first", "experiment"])
def test_verbs_of_a_rollout_are_refused_where_there_is_none(verb: str, status: RolloutStatus) -> None:
    assert isinstance(answered(status, verb, groups="sre"), Refuse)


@pytest.mark.parametrize("status", [KEPT, LATER], ids=["within the rollback window", "after it"])
def test_abort_after_the_promotion_names_undo(status: RolloutStatus) -> None:
    assert "`undo`" in answered(status, "abort").reason
    assert not isinstance(answered(status, "undo", known={"former": LOADED}), Refuse), "and that is the way out"


@pytest.mark.parametrize("status", [
    pytest.param(HEALTHY, id="nothing came before"),
    pytest.param(LATER.model_copy(update={"phase": Phase.ABORTED}), id="it was aborted already"),
])  # fmt: skip
def test_abort_does_not_send_everybody_to_undo(status: RolloutStatus) -> None:
    assert "undo" not in answered(status, "abort").reason


@pytest.mark.parametrize("verb", ["retry", "undo"])
def test_an_experiment_is_not_retried_or_undone(verb: str) -> None:
    running = EXPERIMENT.model_copy(update={"former": A, "promoted_at": at(0)})
    assert isinstance(answered(running, verb, known={"former": LOADED}), Refuse)


def test_a_rejection_says_why_and_that_it_is_one() -> None:
    found = answered(under_way("approval"), "reject", why="recall is down")
    assert isinstance(found, Abort)
    assert (found.is_rejection, "recall is down" in found.reason) == (True, True)
    assert isinstance(answered(under_way("approval"), "reject", why=" "), Refuse)


def test_a_verb_is_handled_once() -> None:
    status = under_way("pause", handled=("promote-ada",))
    assert not isinstance(answered(status, "promote"), PassStep)


def test_verbs_are_answered_in_the_order_they_were_said() -> None:
    requests = (said("pause"), said("abort"))
    status, known = under_way("analysis"), facts()
    assert isinstance(decide(POLICY, status, Assessment(), known, requests, at(60)), Pause)
    status = status.model_copy(update={"handled": ("pause-ada",)})
    assert isinstance(decide(POLICY, status, Assessment(), known, requests, at(60)), Abort)


def test_harm_is_answered_before_people() -> None:
    worse = Assessment(verdict=Verdict.WORSE)
    found = decide(POLICY, under_way("pause"), worse, facts(), (said("promote"),), at(60))
    assert isinstance(found, Abort)
    assert found.request is None, "and what they said is still to be answered"


APPROVALS = [
    pytest.param("grace", (), "sre", Refuse, id="who started it does not approve it"),
    pytest.param("ada", ("ada",), "sre", Refuse, id="nobody approves twice"),
    pytest.param("ada", ("bob",), "sre", Approve, id="a second person does"),
    pytest.param("ada", (), "", Refuse, id="a member of no group does not"),
    pytest.param("ada", (), "dev,ops", Refuse, id="a member of other groups does not"),
    pytest.param("ada", (), "dev,sre", Approve, id="a member of one of the groups does"),
    pytest.param("tim", (), "sre", Refuse, id="who retried it does not approve it"),
]


@pytest.mark.parametrize(("by", "given", "groups", "expected"), APPROVALS)
def test_who_may_approve(by: str, given: tuple[str, ...], groups: str, expected: type[Move]) -> None:
    approvals = tuple(Approval(by=g, at=at(0)) for g in given)
    moves = (HistoryEntry(at=at(0), move="retry", by="tim"), HistoryEntry(at=at(0), move="pause", by="ada"))
    status = under_way("approval", approvals=approvals, moves=moves)
    assert type(answered(status, "approve", by=by, groups=groups)) is expected


def test_without_groups_anybody_else_may_approve() -> None:
    step = POLICY.steps[6].model_copy(update={"approval": POLICY.steps[6].approval.model_copy(update={"groups": ()})})  # type: ignore[union-attr]
    policy = POLICY.model_copy(update={"steps": (*POLICY.steps[:6], step, *POLICY.steps[7:])})
    assert isinstance(answered(under_way("approval", policy), "approve"), Approve)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param({"revision": B.digest}, PassStep, id="the revision it is about"),
        pytest.param({"revision": B.digest[:15]}, PassStep, id="the beginning of its digest"),
        pytest.param({"revision": B.digest.removeprefix("sha256:")[:8]}, PassStep, id="without the kind of digest"),
        pytest.param({"revision": C.digest}, Refuse, id="another revision: it was superseded between seeing and saying"),
        pytest.param({"step": "8"}, PassStep, id="the step it is at"),
        pytest.param({"step": "7"}, Refuse, id="another step: it went on between seeing and saying"),
    ],
)
def test_a_verb_may_say_what_it_was_said_of(args: dict[str, str], expected: type[Move]) -> None:
    assert type(answered(under_way("pause"), "promote", **args)) is expected


@pytest.mark.parametrize("verb", ["abort", "pause", "promote-full"])
def test_what_means_the_same_at_each_step_is_not_refused_because_the_next_has_begun(verb: str) -> None:
    assert not isinstance(answered(under_way("pause"), verb, revision=B.digest, step="7"), Refuse)
    assert isinstance(answered(under_way("pause"), verb, revision=C.digest, step="7"), Refuse)


def test_at_rest_a_verb_of_a_step_is_told_that_nothing_is_under_way() -> None:
    found = answered(LATER, "promote", step="9")
    assert isinstance(found, Refuse)
    assert "no rollout is under way" in found.reason


def test_a_verb_at_rest_may_say_which_stable_it_was_said_of() -> None:
    assert isinstance(answered(LATER, "undo", revision=B.digest), Start)
    assert isinstance(answered(LATER, "undo", revision=A.digest), Refuse)
    assert isinstance(answered(LATER, "undo", step="3"), Start), "a step is of a rollout under way"
    assert isinstance(answered(RolloutStatus(), "undo", revision=A.digest, known={"desired": Desired(revision=None)}), Refuse)


REASONS = [
    pytest.param("promote", under_way("approval"), {}, "cannot be skipped", id="promote at an approval"),
    pytest.param("resume", under_way("analysis"), HELD, "spec.paused", id="resume of the spec's pause"),
    pytest.param("undo", under_way("analysis", former=A), {}, "`abort`", id="undo of one under way"),
    pytest.param("abort", EXPERIMENT, {}, "`conclude`", id="abort of an experiment"),
    pytest.param("abort", HEALTHY, {}, "phase Healthy", id="abort of nothing"),
    pytest.param("undo", HEALTHY, {}, "no stable before", id="undo without history"),
]


@pytest.mark.parametrize(("verb", "status", "known", "words"), REASONS)
def test_a_refusal_says_why(verb: str, status: RolloutStatus, known: dict[str, Any], words: str) -> None:
    found = answered(status, verb, known=known)
    assert isinstance(found, Refuse)
    assert words in found.reason


def test_without_a_why_it_says_so() -> None:
    request = said("abort", why="")
    found = decide(POLICY, under_way("analysis"), Assessment(), facts(), (request,), at(60))
    assert found.reason == "no reason given"


def test_retry_keeps_who_started_it_from_approving() -> None:
    found = answered(ABORTED, "retry", by="ada")
    assert isinstance(found, Start)
    assert (found.started_by, found.by, found.seen, found.revision) == ("grace", "ada", B.digest, B)


def test_restart_takes_the_revision_as_it_was_asked_for() -> None:
    calibrated = B.model_copy(update={"thresholds": {"siem_alerting": 0.7}})
    found = answered(under_way("analysis", candidate=calibrated, candidate_wanted=B, undo_of=C.digest), "restart")
    assert isinstance(found, Start)
    assert (found.revision, found.undo_of, found.is_full) == (B, C.digest, False)


@pytest.mark.parametrize(("status", "is_full"), [(KEPT, True), (LATER, False)], ids=["within the window", "after it"])
def test_undo_that_has_to_load_is_a_rollout_back(status: RolloutStatus, is_full: bool) -> None:
    found = answered(status, "undo", known={"former": HALF})
    assert isinstance(found, Start)
    assert (found.revision, found.is_full, found.undo_of) == (A, is_full, B.digest)


def test_after_the_window_the_former_stable_takes_the_steps_even_if_it_is_still_loaded() -> None:
    request = said("undo")
    found = decide(POLICY, KEPT, Assessment(), facts(former=LOADED), (request,), at(86400))
    assert isinstance(found, Start)
    assert not found.is_full


def test_undo_goes_to_the_stable_before_this_one_not_to_any() -> None:
    other = FinishedRollout(candidate=C, stable=A, started=at(0), ended=at(0), outcome="promoted")
    failed = FinishedRollout(candidate=B, stable=C, started=at(0), ended=at(0), outcome="aborted")
    assert isinstance(answered(HEALTHY.model_copy(update={"history": (failed, other)}), "undo"), Refuse)


@pytest.mark.parametrize("asked", [None, A, B])
def test_an_abort_by_hand_is_settled_only_if_nothing_else_is_asked_for(asked: Any) -> None:
    found = answered(
        under_way("analysis", seen=asked.digest if asked else None), "abort", known={"desired": Desired(revision=asked)}
    )
    assert isinstance(found, Abort)
    assert found.is_settled is (asked is A)


@pytest.mark.parametrize("step", STEP)
def test_every_refusal_says_a_way_out_or_why(step: str) -> None:
    for verb in ("promote", "resume", "retry", "undo", "approve", "conclude"):
        found = answered(under_way(step), verb)
        assert not isinstance(found, Refuse) or len(found.reason) > 20


@pytest.mark.parametrize("verb", ["promote", "approve", "break-glass", "review", "reject"])
def test_what_means_another_thing_at_the_next_step_holds_for_the_step_that_was_seen(verb: str) -> None:
    found = answered(under_way("approval"), verb, step="3")
    assert isinstance(found, Refuse)
    assert "it was meant for step 3" in found.reason


@pytest.mark.parametrize("verb", ["approve", "break-glass"])
def test_an_approval_of_an_earlier_rollout_of_the_same_revision_is_refused(verb: str) -> None:
    found = answered(under_way("approval"), verb, attempt="earlier")
    assert isinstance(found, Refuse)
    assert "it was meant for the rollout earlier" in found.reason
