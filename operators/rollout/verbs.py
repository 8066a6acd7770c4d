"""The verbs of people: each either moves the rollout or is refused with the way out. Pure.

A verb is handled once, by its id. The API server and the webhook check who may use it. Here are the rules of the rollout itself;
operators.rollout.governance has those of approvals."""

from datetime import datetime
from typing import Final

from lifecycle.governance.approvals.judge import ApprovalRefused
from operators.rollout.facts import Facts, within_rollback_window
from operators.rollout.governance import approving
from operators.rollout.moves import (
    Abort,
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
from operators.rollout.spec import ApprovalStep, Revision, RolloutSpec, Step
from operators.rollout.status import Phase, RolloutStatus, VerbRequest

OF_A_STEP: Final = frozenset({"promote", "approve", "break-glass", "review", "reject"})
"""Verbs that mean another thing at the next step; sent twice, they would count twice."""


class _Refused(Exception):
    """A verb cannot be carried out now; the message says why, and what can."""


def answer_verb(
    spec: RolloutSpec, status: RolloutStatus, facts: Facts, requests: tuple[VerbRequest, ...], now: datetime
) -> Move | None:
    """The move for the oldest verb that is not handled; None if there is none.

    operators.rollout.experiments answers `conclude` while an experiment is under way."""
    request = next((r for r in requests if r.id not in status.handled), None)
    if request is None or (request.verb == "conclude" and status.experiment is not None):
        return None
    try:
        _check_target(request, status)
        return _ANSWERS[request.verb](request, spec, status, facts, now)
    except (_Refused, ApprovalRefused) as refusal:
        return Refuse(verb=request.verb, reason=str(refusal), by=request.by, request=request.id)


def _check_target(request: VerbRequest, status: RolloutStatus) -> None:
    """A verb may name its revision and step. Raises _Refused if the rollout has moved on since.

    What stops or ends the revision means the same at each step: an abort that comes just after the next step has begun is carried out."""
    revision = status.candidate or status.stable
    meant = request.args.get("revision")
    if meant and (revision is None or not revision.digest.removeprefix("sha256:").startswith(meant.removeprefix("sha256:"))):
        now_is = revision.digest if revision else "nothing"
        raise _Refused(f"it was meant for revision {meant}, but the revision is now {now_is}; look again")
    step = request.args.get("step")
    if step and request.verb in OF_A_STEP and status.is_under_way and step != str(status.step_index + 1):
        raise _Refused(f"it was meant for step {step}, but the rollout is at step {status.step_index + 1}; look again")


def _under_way(status: RolloutStatus) -> Revision:
    """The candidate as the spec asks for it. Raises _Refused."""
    if status.experiment is not None:
        raise _Refused("an experiment is under way, not a rollout; `conclude` ends it")
    if status.wanted is None:
        raise _Refused(f"no rollout is under way (phase {status.phase}); change spec.revision to start one")
    if status.stable is None:
        raise _Refused("the first revision is coming up and has no steps; there is no stable to go back to")
    return status.wanted


def _step(spec: RolloutSpec, status: RolloutStatus) -> Step | None:
    return spec.steps[status.step_index] if status.step_index < len(spec.steps) else None


def _promote(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    _under_way(status)
    if status.paused_by is not None:
        raise _Refused(f"it is paused by {status.paused_by}; resume it first")
    if facts.desired.is_paused:
        raise _Refused("spec.paused holds it; set it to false first")
    step = _step(spec, status)
    if step is None:
        raise _Refused("all steps are passed and only valid evidence is missing; promote-full promotes without it")
    if step.approval is not None:
        raise _Refused("this step is an approval and cannot be skipped; ask somebody who did not start the rollout to approve")
    if step.pause is None and step.analysis is None:
        raise _Refused(f"step {step.kind} is not skipped: it waits for {status.waiting_for or 'its turn'}")
    return PassStep(reason=_why(request, f"skipped by {request.by}"), by=request.by, request=request.id)


def _promote_full(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    _under_way(status)
    if status.full_by is not None:
        raise _Refused(f"{status.full_by} already did this")
    return PromoteFull(reason=_why(request, "no reason given"), by=request.by, request=request.id)


def _pause(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    _under_way(status)
    if status.paused_by is not None:
        raise _Refused(f"{status.paused_by} already paused it")
    return Pause(reason=_why(request, "no reason given"), by=request.by, request=request.id)


def _resume(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    _under_way(status)
    if status.paused_by is not None:
        return Resume(reason=_why(request, "no reason given"), by=request.by, request=request.id)
    if facts.desired.is_paused:
        raise _Refused("spec.paused holds it; set it to false")
    if status.is_inconclusive:
        return ResumeAnalysis(reason=_why(request, "no reason given"), by=request.by, request=request.id)
    raise _Refused("no person paused it; use `promote` to leave a pause step")


def _abort(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    if status.phase is Phase.HEALTHY and _former(status) is not None:
        raise _Refused(
            "no rollout is under way, the last one was promoted; `undo` makes the stable before it serve everybody again"
        )
    _under_way(status)
    asked = facts.desired.revision
    is_settled = asked is not None and status.is_stable(asked.digest)
    return Abort(reason=_why(request, "no reason given"), by=request.by, request=request.id, is_settled=is_settled)


def _retry(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    if status.phase is not Phase.ABORTED:
        raise _Refused(f"only an aborted rollout is retried (phase {status.phase}); `restart` begins one under way anew")
    revision = facts.desired.revision
    if revision is None:
        raise _Refused("the spec asks for no revision; set spec.revision")
    return Start(
        revision=revision,
        how="retry",
        reason=_why(request, "no reason given"),
        by=request.by,
        request=request.id,
        seen=revision.digest,
        started_by=status.started_by,
    )


def _restart(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    return Start(
        revision=_under_way(status),
        how="restart",
        reason=_why(request, "no reason given"),
        by=request.by,
        request=request.id,
        undo_of=status.undo_of,
        started_by=status.started_by,
    )


def _undo(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    if status.experiment is not None:
        raise _Refused("an experiment is under way; `conclude` ends it")
    if status.is_under_way:
        raise _Refused("a rollout is under way; `abort` ends it, then `undo` takes back the one before")
    back, is_in_window = _former(status), within_rollback_window(status, facts.desired.rollout.rollback_window, now)
    if back is None or status.stable is None:
        raise _Refused("there is no stable before this one in the history")
    reason = _why(request, "no reason given")
    if is_in_window and facts.former.is_everywhere:
        return Undo(reason=reason, by=request.by, request=request.id)
    return Start(
        revision=back,
        how="undo",
        reason=reason,
        by=request.by,
        request=request.id,
        is_full=is_in_window,
        undo_of=status.stable.digest,
    )


def _former(status: RolloutStatus) -> Revision | None:
    """The stable revision before this one: still loaded, or from the history."""
    if status.former is not None:
        return status.former
    return next((f.stable for f in status.history if f.outcome == "promoted" and f.candidate == status.stable), None)


def _approve(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    return approving.approve(request, _approval_step(spec, status), spec, status, facts.desired.governance, now)


def _break_glass(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    return approving.break_glass(request, _approval_step(spec, status), spec, status, facts.desired.governance, now)


def _review(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    return approving.review(request, status, facts.desired.governance)


def _reject(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    _approval_step(spec, status)
    if not request.why.strip():
        raise _Refused("a rejection needs a reason; say --why")
    return Abort(reason=f"rejected: {request.why}", by=request.by, request=request.id, is_rejection=True)


def _approval_step(spec: RolloutSpec, status: RolloutStatus) -> ApprovalStep:
    """The approval step under way. Raises _Refused."""
    _under_way(status)
    step = _step(spec, status)
    if step is None or step.approval is None:
        raise _Refused("the current step is not an approval; approve when the rollout reaches one")
    return step.approval


def _conclude(request: VerbRequest, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    raise _Refused("no experiment is under way; `promote` or `abort` is for rollouts")


def _why(request: VerbRequest, otherwise: str) -> str:
    return request.why or otherwise


_ANSWERS = {
    "promote": _promote,
    "promote-full": _promote_full,
    "pause": _pause,
    "resume": _resume,
    "abort": _abort,
    "retry": _retry,
    "restart": _restart,
    "undo": _undo,
    "approve": _approve,
    "break-glass": _break_glass,
    "reject": _reject,
    "review": _review,
    "conclude": _conclude,
}
