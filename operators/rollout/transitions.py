"""What a move changes in the status. Pure; a move that is illegal where the rollout stands raises and changes nothing.

operators.rollout.decide chooses the move. Each move adds an entry to the history, with the evidence behind it. Moves of experiments
are in operators.rollout.experiments.transitions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from operators.rollout import history, moves
from operators.rollout.experiments import transitions as experiments
from operators.rollout.facts import Desired, Facts
from operators.rollout.history import record
from operators.rollout.moves import IllegalMove, require
from operators.rollout.status import (
    NOTHING_UNDER_WAY,
    Approval,
    Assessment,
    BreakGlassUse,
    FinishedRollout,
    HistoryEntry,
    Phase,
    RolloutStatus,
)

REASON_CHARS: Final = 1500
"""A move's reason is cut to this many characters."""


def after(status: RolloutStatus, move: moves.Move, facts: Facts, now: datetime) -> RolloutStatus:
    """The status after `move`. Raises IllegalMove."""
    brief = replace(move, reason=move.reason[:REASON_CHARS])
    changed = _APPLY[type(move)](status, brief, facts, now)
    return history.with_handled(changed, move.request)


def _changed(status: RolloutStatus, **update: Any) -> RolloutStatus:
    return status.model_copy(update=update)


def _progress(status: RolloutStatus, now: datetime, **update: Any) -> RolloutStatus:
    return _changed(status, phase=Phase.PROGRESSING, last_progress=now, is_overdue=False, waiting_for="", **update)


def _hold(status: RolloutStatus, move: moves.Hold, facts: Facts, now: datetime) -> RolloutStatus:
    waited = status.phase is Phase.PAUSED and move.phase is Phase.PROGRESSING
    progress = {"last_progress": now} if waited else {}
    return _changed(status, phase=move.phase, waiting_for=move.waiting_for[:2048], **progress)


def _start(status: RolloutStatus, move: moves.Start, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.experiment is None, "a rollout starts while an experiment is under way")
    require(not status.is_stable(move.revision.digest), "the candidate is what stable serves")
    status = _ended(status, "superseded", move.by, f"{move.how} by {move.by}: {move.reason}", facts.desired, now)
    started = _changed(
        status,
        **{
            **NOTHING_UNDER_WAY,
            "phase": Phase.PROGRESSING,
            "candidate": move.revision,
            "policy": facts.desired.rollout,
            "started": now,
            "attempt": now.strftime("%Y%m%dT%H%M%S.%fZ"),
            "step_index": len(facts.desired.rollout.steps) if move.is_full else 0,
            "step_started": now,
            "last_progress": now,
            "started_by": move.started_by or move.by,
            "full_by": move.by if move.is_full else None,
            "undo_of": move.undo_of,
            "seen": move.seen or status.seen,
            "assessment": Assessment(),
            "aborted_revision": None,
            "moves": (),
            "waiting_for": "loading",
            "message": move.reason,
        },
    )
    return record(started, move, move.how, now)


def _note_spec(status: RolloutStatus, move: moves.NoteSpec, facts: Facts, now: datetime) -> RolloutStatus:
    """After an abort the spec asks for stable again: the service is healthy."""
    settled = {"phase": Phase.HEALTHY, "waiting_for": "", "message": move.reason, "aborted_revision": None}
    return _changed(status, seen=move.seen, **(settled if status.phase is Phase.ABORTED else {}))


def _require_loaded(status: RolloutStatus, facts: Facts, what: str) -> None:
    require(status.is_under_way, f"{what}, but no rollout is under way")
    require(facts.candidate.is_everywhere, f"{what}, but {facts.candidate.words}")


def _mirror(status: RolloutStatus, move: moves.SetMirror, facts: Facts, now: datetime) -> RolloutStatus:
    _require_loaded(status, facts, "mirroring to the candidate")
    changed = _progress(status, now, mirror=move.percent, split_since=now)
    return record(changed, move, "mirror", now, weight=status.weight)


def _weight(status: RolloutStatus, move: moves.SetWeight, facts: Facts, now: datetime) -> RolloutStatus:
    _require_loaded(status, facts, f"weight {move.weight:g}")
    require(status.stable is not None, "a weight without a stable revision")
    require(status.weight < move.weight <= 100, f"weight {move.weight:g} after {status.weight:g}; weights only rise")
    changed = _progress(status, now, weight=move.weight, split_since=now)
    return record(changed, move, "setWeight", now, weight=move.weight)


def _replicas(status: RolloutStatus, move: moves.SetReplicas, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.is_under_way, "setReplicas, but no rollout is under way")
    return record(_progress(status, now, min_replicas=move.replicas), move, "setReplicas", now)


def _calibrate(status: RolloutStatus, move: moves.Calibrate, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.is_under_way and status.weight == 0, "the threshold must be set before the candidate gets traffic")
    wanted = status.wanted
    noted = record(status, move, "calibrate", now)
    return _progress(
        noted,
        now,
        candidate=move.revision,
        candidate_wanted=wanted,
        ledger={},
        totals={},
        assessment=Assessment(),
        requests_before=0,
        split_since=now,
        is_ready=False,
    )


def _pass(status: RolloutStatus, move: moves.PassStep, facts: Facts, now: datetime) -> RolloutStatus:
    steps = status.policy.steps if status.policy else ()
    require(status.step_index < len(steps), "a step passes, but no rollout is under way, or its steps are over")
    return _next(record(status, move, f"pass {steps[status.step_index].kind}", now, weight=status.weight), facts, now)


def _next(status: RolloutStatus, facts: Facts, now: datetime) -> RolloutStatus:
    """The status at the step after this one."""
    return _progress(
        status,
        now,
        step_index=status.step_index + 1,
        step_started=now,
        requests_before=facts.judged_requests(status),
        approvals=(),
        is_inconclusive=False,
    )


def _mark_inconclusive(status: RolloutStatus, move: moves.MarkInconclusive, facts: Facts, now: datetime) -> RolloutStatus:
    return record(_changed(status, phase=Phase.PAUSED, is_inconclusive=True, message=move.reason), move, "inconclusive", now)


def _resume_analysis(status: RolloutStatus, move: moves.ResumeAnalysis, facts: Facts, now: datetime) -> RolloutStatus:
    return record(_progress(status, now, is_inconclusive=False, step_started=now), move, "resume", now)


def _overdue(status: RolloutStatus, move: moves.ReportOverdue, facts: Facts, now: datetime) -> RolloutStatus:
    return record(_changed(status, is_overdue=True), move, "overdue", now)


def _pause(status: RolloutStatus, move: moves.Pause, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.is_under_way, "pause, but no rollout is under way")
    return record(_changed(status, phase=Phase.PAUSED, paused_by=move.by), move, "pause", now)


def _resume(status: RolloutStatus, move: moves.Resume, facts: Facts, now: datetime) -> RolloutStatus:
    return record(_progress(status, now, paused_by=None), move, "resume", now)


def _approve(status: RolloutStatus, move: moves.Approve, facts: Facts, now: datetime) -> RolloutStatus:
    yes = move.approval or Approval(by=move.by, at=move.at, why=move.reason)
    others = tuple(a for a in status.approvals if a.by != yes.by)
    return record(_changed(status, approvals=(*others, yes)), move, "approve", now)


def _break_glass(status: RolloutStatus, move: moves.BreakGlass, facts: Facts, now: datetime) -> RolloutStatus:
    candidate, steps = status.candidate, status.policy.steps if status.policy else ()
    if candidate is None or status.step_index >= len(steps) or steps[status.step_index].approval is None:
        raise IllegalMove("break-glass, but no approval is waited for")
    use = BreakGlassUse(
        by=move.by,
        at=move.at,
        why=move.reason,
        role=move.role,
        revision=candidate.digest,
        attempt=status.attempt,
        step=status.step_index + 1,
    )
    noted = record(_changed(status, break_glass=(*status.break_glass, use)), move, "break-glass", now, weight=status.weight)
    return _next(noted, facts, now)


def _review(status: RolloutStatus, move: moves.Review, facts: Facts, now: datetime) -> RolloutStatus:
    require(bool(status.break_glass), "a review, but no step was passed by break-glass")
    return record(_changed(status, break_glass=()), move, "review", now)


def _correct(status: RolloutStatus, move: moves.Correct, facts: Facts, now: datetime) -> RolloutStatus:
    """Drop false claims of the status: approvals only, or the rollout and a stable revision that no recorded act settled."""
    if not move.is_ended:
        return record(_changed(status, approvals=move.approvals), move, "refuse approvals", now)
    ended = _ended(record(status, move, "refuse status", now, weight=0.0), "aborted", move.by, move.reason, facts.desired, now)
    kept = tuple(f for f in ended.history if f.outcome != "promoted" or _is_known(f, move.settled))
    return _changed(
        ended,
        **{
            **NOTHING_UNDER_WAY,
            "phase": Phase.ABORTED,
            "stable": move.stable,
            "stable_wanted": None,
            "former": None,
            "promoted_at": None,
            "aborted_revision": next((r.digest for r in (status.candidate, status.stable) if r is not None), None),
            "seen": facts.desired.revision.digest if facts.desired.revision is not None else status.seen,
            "history": kept,
            "message": move.reason,
            "waiting_for": "",
            "moves": (),
        },
    )


def _is_known(finished: FinishedRollout, settled: frozenset[str]) -> bool:
    return all(r is None or r.digest in settled for r in (finished.candidate, finished.stable))


def _promote_full(status: RolloutStatus, move: moves.PromoteFull, facts: Facts, now: datetime) -> RolloutStatus:
    require(status.is_under_way, "promote-full, but no rollout is under way")
    return record(_progress(status, now, full_by=move.by, is_inconclusive=False, paused_by=None), move, "promote-full", now)


def _promote(status: RolloutStatus, move: moves.Promote, facts: Facts, now: datetime) -> RolloutStatus:
    _require_loaded(status, facts, "promotion")
    require(status.stable is None or status.weight == 100, "promotion before all traffic meets the candidate")
    noted = record(status, move, "promote", now, weight=100.0)
    undone = status.undo_of is not None
    ended = history.with_finished(
        noted, "undone" if undone else "promoted", move.by, move.reason, now, facts.desired.rollout.history_limit
    )
    return _changed(
        ended,
        **{
            **NOTHING_UNDER_WAY,
            "phase": Phase.ABORTED if undone else Phase.HEALTHY,
            "stable": status.candidate,
            "stable_wanted": status.candidate_wanted,
            "former": None if undone else status.stable,
            "promoted_at": None if undone or status.stable is None else now,
            "aborted_revision": status.undo_of,
            "message": move.reason,
            "waiting_for": "",
            "moves": (),
        },
    )


def _ended(status: RolloutStatus, outcome: history.Ending, by: str, why: str, desired: Desired, now: datetime) -> RolloutStatus:
    return history.with_finished(status, outcome, by, why, now, desired.rollout.history_limit)


def _abort(status: RolloutStatus, move: moves.Abort, facts: Facts, now: datetime) -> RolloutStatus:
    candidate = status.candidate
    if candidate is None or status.stable is None:
        raise IllegalMove("abort, but there is no rollout to abort, or no stable to go back to")
    ended = _ended(record(status, move, "abort", now, weight=0.0), "aborted", move.by, move.reason, facts.desired, now)
    return _changed(
        ended,
        **{
            **NOTHING_UNDER_WAY,
            "phase": Phase.HEALTHY if move.is_settled else Phase.ABORTED,
            "aborted_revision": candidate.digest,
            "seen": move.seen or status.seen,
            "message": move.reason,
            "waiting_for": "",
            "moves": (),
        },
    )


def _undo(status: RolloutStatus, move: moves.Undo, facts: Facts, now: datetime) -> RolloutStatus:
    taken_back, former = status.stable, status.former
    if taken_back is None or former is None:
        raise IllegalMove("undo, but no former stable is kept")
    require(facts.former.is_everywhere, f"undo, but of the former stable {facts.former.words}")
    require(status.experiment is None, "undo, but an experiment is under way")
    status = _ended(status, "superseded", move.by, move.reason, facts.desired, now)
    entry = HistoryEntry(at=now, move="undo", by=move.by, reason=move.reason, weight=0.0)
    ended = FinishedRollout(
        candidate=taken_back,
        stable=former,
        started=now,
        ended=now,
        outcome="undone",
        by=move.by,
        reason=move.reason,
        moves=(entry,),
    )
    undone = history.with_ended(status, ended, facts.desired.rollout.history_limit)
    return _changed(
        undone,
        **{
            **NOTHING_UNDER_WAY,
            "phase": Phase.HEALTHY if move.seen else Phase.ABORTED,
            "stable": former,
            "stable_wanted": None,
            "former": None,
            "promoted_at": None,
            "aborted_revision": taken_back.digest,
            "seen": move.seen or status.seen,
            "message": move.reason,
            "waiting_for": "",
            "moves": (),
        },
    )


def _refuse(status: RolloutStatus, move: moves.Refuse, facts: Facts, now: datetime) -> RolloutStatus:
    return record(status, move, f"refuse {move.verb}", now)


_APPLY: Final[Mapping[type[moves.Move], Callable[..., RolloutStatus]]] = {
    moves.Hold: _hold,
    moves.Start: _start,
    moves.NoteSpec: _note_spec,
    moves.SetMirror: _mirror,
    moves.SetWeight: _weight,
    moves.SetReplicas: _replicas,
    moves.Calibrate: _calibrate,
    moves.PassStep: _pass,
    moves.MarkInconclusive: _mark_inconclusive,
    moves.ResumeAnalysis: _resume_analysis,
    moves.ReportOverdue: _overdue,
    moves.Pause: _pause,
    moves.Resume: _resume,
    moves.Approve: _approve,
    moves.BreakGlass: _break_glass,
    moves.Review: _review,
    moves.Correct: _correct,
    moves.PromoteFull: _promote_full,
    moves.Promote: _promote,
    moves.Abort: _abort,
    moves.Undo: _undo,
    moves.Refuse: _refuse,
    **experiments.TRANSITIONS,
}
