"""What a move leaves in the log of governed acts: who did what to which service, why, and the evidence at that moment. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.recorded_state import GovernanceView
from operators.rollout import moves
from operators.rollout.governance.approving import starters
from operators.rollout.governance.floor import required
from operators.rollout.governance.tampering import analyses, policy_json
from operators.rollout.spec import Revision, RolloutSpec
from operators.rollout.status import Assessment, RolloutStatus, VerbRequest

_Json = dict[str, Any]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES: Final[dict[type[moves.Move], str]] = {
    moves.Start: "rollout.start",
    moves.Calibrate: "threshold.calibrate",
    moves.PassStep: "rollout.pass",
    moves.Pause: "rollout.pause",
    moves.Resume: "rollout.resume",
    moves.ResumeAnalysis: "rollout.resume",
    moves.Approve: "rollout.approve",
    moves.BreakGlass: "rollout.break-glass",
    moves.Review: "rollout.review",
    moves.PromoteFull: "rollout.promote-full",
    moves.Promote: "rollout.promote",
    moves.Abort: "rollout.abort",
    moves.Undo: "rollout.undo",
    moves.Correct: "rollout.status-edit",
    moves.StartExperiment: "experiment.start",
    moves.StopVariant: "experiment.stop-variant",
    moves.Conclude: "experiment.conclude",
}


def adoption(status: RolloutStatus, asked: RolloutSpec, view: GovernanceView, now: datetime) -> Iterator[Act]:
    """The first act of a service: what was found is taken as it is. Also where a status goes back to an older stable revision."""
    recorded = view.recorded
    if recorded is None or status.stable is None:
        return
    digest = status.stable.digest
    was = (recorded.stable or {}) and Revision.model_validate(recorded.stable).digest
    if not recorded.is_new and (was == digest or digest not in recorded.settled):
        return
    evidence: _Json = {"stable": _json(status.stable), "settled": sorted(_settled(status)), "floor": _floor(asked, view)}
    evidence |= {"variants": [[v.name, v.revision.digest, v.weight] for v in status.variants]} if status.variants else {}
    if status.is_under_way and status.candidate is not None:
        evidence |= _opening(status) | {"candidate": _json(status.candidate)}
        evidence["passed"] = list(range(status.step_index))
        evidence["approved"] = [[a.by, status.step_index + 1] for a in status.approvals]
    why = "the log begins with what is found" if recorded.is_new else "an older revision, promoted before, is stable again"
    yield Act(time_us=_us(now), actor="operator", action="rollout.adopt", subject=view.service, reason=why, evidence=evidence)


def acts_of(
    before: RolloutStatus,
    move: moves.Move,
    after: RolloutStatus,
    asked: RolloutSpec,
    view: GovernanceView,
    requests: Sequence[VerbRequest],
    now: datetime,
) -> Iterator[Act]:
    """The acts of one move. before, after: the status around it. asked: the policy that the resource asks for."""
    if isinstance(move, moves.Refuse):
        request = next((r for r in requests if r.id == move.request), None)
        claimed: _Json = {"claimed_by": move.by, "args": dict(request.args) if request is not None else {}}
        yield _act(move, f"rollout.{move.verb}", view, _common(before, move) | claimed, now, outcome="refused")
        return
    name = _name(before, move)
    if name is None:
        return
    status = after if isinstance(move, moves.Start) else before
    evidence = _common(status, move) | _own(before, move, after, asked, view)
    request = next((r for r in requests if r.id == move.request), None)
    if request is not None and request.args.get("note"):
        evidence |= {"note": request.args["note"], "people": view.people.digest}
    if request is not None and request.args.get("evidence"):
        evidence["seen"] = request.args["evidence"]
    outcome = "refused" if isinstance(move, moves.Correct) else "accepted"
    yield _act(move, name, view, evidence, now, outcome=outcome)
    if isinstance(move, moves.Start) and (move.revision.thresholds or move.revision.operating_point):
        own = {"thresholds": move.revision.thresholds, "operating_point": move.revision.operating_point}
        yield _act(move, "threshold.set", view, _common(after, move) | own, now)
    if isinstance(move, moves.Start) and move.revision.suppressions:
        entries = [entry.model_dump(mode="json", by_alias=True) for entry in move.revision.suppressions]
        yield _act(move, "suppression.set", view, _common(after, move) | {"suppressions": entries}, now)


def _name(status: RolloutStatus, move: moves.Move) -> str | None:
    if isinstance(move, moves.PassStep):
        steps = status.policy.steps if status.policy else ()
        step = steps[status.step_index] if status.step_index < len(steps) else None
        is_judged = step is not None and (step.approval is not None or step.analysis is not None)
        return "rollout.pass" if move.request or is_judged else None
    if isinstance(move, moves.Abort) and move.is_rejection:
        return "rollout.reject"
    return _NAMES.get(type(move))


def _own(before: RolloutStatus, move: moves.Move, after: RolloutStatus, asked: RolloutSpec, view: GovernanceView) -> _Json:
    """What is recorded of this kind of move alone."""
    match move:
        case moves.Start():
            steps = after.policy.steps[: after.step_index] if after.policy else ()
            passed = [i for i, step in enumerate(steps) if step.approval is not None or step.analysis is not None]
            return _opening(after) | {"candidate": _json(move.revision), "passed": passed, "how": move.how}
        case moves.Calibrate():
            return {"revision": move.revision.digest, "candidate": _json(move.revision)}
        case moves.Approve(approval=approval) if approval is not None:
            return {"role": approval.role, "expires": None if approval.expires is None else approval.expires.isoformat()}
        case moves.BreakGlass():
            return {"role": move.role}
        case moves.PassStep():
            return {"approvals": [[a.by, a.role] for a in before.approvals]}
        case moves.Promote() if before.candidate is not None:
            floor = {"floor": _floor(asked, view)} if before.undo_of is None else {}
            return {"candidate": _json(before.candidate), "before": _digest(before.stable)} | floor
        case moves.Undo() if before.former is not None:
            return {"revision": before.former.digest, "candidate": _json(before.former), "before": _digest(before.stable)}
        case moves.Correct():
            return {"ended": move.is_ended, "claimed": {"stable": _digest(before.stable), "candidate": _digest(before.candidate),
                                "approvals": [a.by for a in before.approvals], "weight": before.weight}}  # fmt: skip
        case moves.StartExperiment():
            return {"experiment": move.seen, "variants": [[v.name, v.revision.digest, v.weight] for v in move.variants]}
        case moves.StopVariant():
            return {"variant": move.name}
        case moves.Conclude():
            return {"winner": move.report.winner}
    return {}


def _common(status: RolloutStatus, move: moves.Move) -> _Json:
    """Where the rollout stands, and the figures of its gates."""
    is_under_way = status.candidate is not None
    return {
        "attempt": status.attempt,
        "revision": _digest(status.candidate),
        "stable": _digest(status.stable),
        "step": status.step_index + 1 if is_under_way else None,
        "weight": status.weight,
        "request": move.request,
        "gates": figures(move.assessment or status.assessment) if is_under_way else None,
    }


def figures(seen: Assessment) -> _Json:
    """The evidence of one look, in short."""
    gates = [
        {"name": g.name, "verdict": str(g.verdict), "stable": list(g.stable), "candidate": list(g.candidate),
         "e_worse": g.e_worse, "e_no_worse": g.e_no_worse}
        for g in seen.gates
    ]  # fmt: skip
    return {"verdict": str(seen.verdict), "requests": seen.requests, "reason": seen.reason[:300], "gates": gates}


def _act(move: moves.Move, action: str, view: GovernanceView, evidence: _Json, now: datetime, outcome: str = "accepted") -> Act:
    actor = "unknown" if isinstance(move, moves.Correct) else move.by
    return Act(
        time_us=_us(now), actor=actor, action=action, subject=view.service,
        reason=move.reason[:1500], evidence=evidence, outcome=outcome,
    )  # fmt: skip


def _opening(status: RolloutStatus) -> _Json:
    revisions = [r.digest for r in (status.candidate, status.candidate_wanted) if r is not None]
    return {
        "attempt": status.attempt,
        "revisions": revisions,
        "policy": policy_json(status.policy),
        "starters": sorted(starters(status)),
        "analyses": analyses(status.policy),
        **({"full_by": status.full_by} if status.full_by is not None else {}),
    }


def _settled(status: RolloutStatus) -> set[str]:
    promoted = [r for f in status.history if f.outcome == "promoted" for r in (f.candidate, f.stable)]
    return {r.digest for r in (status.stable, status.former, *promoted) if r is not None}


def _floor(asked: RolloutSpec, view: GovernanceView) -> _Json:
    """The approvals that the next rollout has at least."""
    policy = required(asked, view)
    steps = [s.model_dump(mode="json", by_alias=True, exclude_defaults=True) for s in policy.steps if s.approval is not None]
    return {
        "steps": steps,
        **({"roleGroups": {k: list(v) for k, v in policy.role_groups.items()}} if policy.role_groups else {}),
    }


def _digest(revision: Revision | None) -> str | None:
    return None if revision is None else revision.digest


def _json(revision: Revision) -> _Json:
    return revision.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _us(now: datetime) -> int:
    delta = now - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
