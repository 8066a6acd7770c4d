"""The approval step of a rollout: asks lifecycle.governance.approvals about what people said. Pure."""

from collections.abc import Mapping
from datetime import datetime

from lifecycle.governance.approvals.judge import (
    ApprovalClaim,
    ApprovalRefused,
    ApprovalRule,
    GivenApproval,
    accept,
    accept_break_glass,
    counting,
    missing,
    proven,
)
from lifecycle.governance.approvals.note import REVIEW, ApprovalSubject
from lifecycle.governance.approvals.recorded_state import GovernanceView
from operators.rollout.moves import Approve, BreakGlass, Hold, Move, PassStep, Review
from operators.rollout.spec import ApprovalStep, RolloutSpec
from operators.rollout.status import Approval, Phase, RolloutStatus, VerbRequest

STARTING = ("start", "retry", "restart", "undo")


def starters(status: RolloutStatus) -> set[str]:
    """Everybody who started or restarted the rollout under way; none of them may approve it."""
    return {status.started_by} | {m.by for m in status.moves if m.move in STARTING}


def involved(step: ApprovalStep, status: RolloutStatus, view: GovernanceView) -> Mapping[str, str]:
    """The people who must not approve, and what each did. If the step asks for roles, the people who made the bundle are among them."""
    opened = view.recorded.opened if view.recorded is not None else None
    recorded = opened.starters if opened is not None else frozenset()
    made = view.involved if step.roles else {}
    return {**made, **dict.fromkeys(starters(status) | recorded, "started this rollout")}


def rule_of(step: ApprovalStep, spec: RolloutSpec) -> ApprovalRule:
    """The step as the core of approvals takes it."""
    return ApprovalRule(
        approvers=step.approvers,
        groups=step.groups,
        roles=step.roles,
        role_groups=spec.role_groups,
        valid_for=step.valid_for,
        needs_reason=step.reason_required,
        needs_signature=step.signed,
        break_glass_roles=step.break_glass_roles,
    )


def subject_of(status: RolloutStatus, view: GovernanceView) -> ApprovalSubject:
    """What is to be approved now."""
    revision = status.candidate.digest if status.candidate is not None else ""
    return ApprovalSubject(view.service, status.attempt, revision, status.step_index + 1)


def approve(
    request: VerbRequest, step: ApprovalStep, spec: RolloutSpec, status: RolloutStatus, view: GovernanceView, now: datetime
) -> Move:
    """The move for an approval. Raises ApprovalRefused."""
    _must_know_people(view)
    _must_mean(request, status)
    rule, subject, barred = rule_of(step, spec), subject_of(status, view), involved(step, status, view)
    good, _ = counting(rule, subject, map(given, status.approvals), view.people, barred, now)
    yes = accept(rule, subject, _claim(request, view), view.people, barred, good, now)
    return Approve(reason=request.why, by=yes.by, request=request.id, at=yes.at, approval=_kept(yes))


def break_glass(
    request: VerbRequest, step: ApprovalStep, spec: RolloutSpec, status: RolloutStatus, view: GovernanceView, now: datetime
) -> Move:
    """The move for an emergency approval. Raises ApprovalRefused."""
    _must_know_people(view)
    _must_mean(request, status)
    subject = subject_of(status, view)
    yes = accept_break_glass(rule_of(step, spec), subject, _claim(request, view), view.people, now)
    return BreakGlass(reason=request.why, by=yes.by, request=request.id, at=yes.at, role=yes.role)


def review(request: VerbRequest, status: RolloutStatus, view: GovernanceView) -> Move:
    """The move for a review of what was passed in an emergency. Raises ApprovalRefused."""
    _must_know_people(view)
    if not status.break_glass:
        raise ApprovalRefused("no step was passed by break-glass; there is nothing to review")
    if request.by in {use.by for use in status.break_glass}:
        raise ApprovalRefused(f"{request.by} used break-glass; somebody else must review it")
    if not request.why.strip():
        raise ApprovalRefused("a review must say what was found; give --why")
    last = status.break_glass[-1]
    proven(ApprovalSubject(view.service, last.attempt, last.revision, last.step), _claim(request, view), view.people, REVIEW)
    return Review(reason=request.why, by=request.by, request=request.id)


def next_move(step: ApprovalStep, spec: RolloutSpec, status: RolloutStatus, view: GovernanceView, now: datetime) -> Move:
    """Pass the step if enough approvals count now; else wait."""
    rule, subject, barred = rule_of(step, spec), subject_of(status, view), involved(step, status, view)
    good, _ = counting(rule, subject, map(given, status.approvals), view.people, barred, now)
    lacks = missing(rule, good)
    if view.people_problem:
        return Hold(phase=Phase.PAUSED, waiting_for=f"{lacks or 'approvals to be judged'}; {view.people_problem}")
    if not lacks:
        return PassStep(reason=f"approved by {', '.join(a.by for a in good)}")
    return Hold(phase=Phase.PAUSED, waiting_for=lacks)


def _must_mean(request: VerbRequest, status: RolloutStatus) -> None:
    """An approval may name its rollout. Raises ApprovalRefused if another one is under way, be it of the same revision."""
    meant = request.args.get("attempt")
    if meant and meant != status.attempt:
        raise ApprovalRefused(f"it was meant for the rollout {meant}, but the rollout is now {status.attempt}; look again")


def _must_know_people(view: GovernanceView) -> None:
    """Raises ApprovalRefused."""
    if view.people_problem:
        raise ApprovalRefused(f"it is not known who may: {view.people_problem}")


def given(approval: Approval) -> GivenApproval:
    """A status' approval as the core takes it."""
    return GivenApproval(approval.by, approval.at, approval.why, approval.role, expires=approval.expires, note=approval.note)


def _kept(yes: GivenApproval) -> Approval:
    return Approval(by=yes.by, at=yes.at, why=yes.why, role=yes.role, expires=yes.expires, note=yes.note)


def _claim(request: VerbRequest, view: GovernanceView) -> ApprovalClaim:
    return ApprovalClaim(
        by=request.by,
        at=request.at,
        why=request.why,
        role=request.args.get("role"),
        groups=frozenset(g for g in request.args.get("groups", "").split(",") if g),
        note=request.args.get("note", ""),
        is_checked=request.id in view.checked,
        evidence=request.args.get("evidence", ""),
    )
