"""What is remembered of a rollout: its moves, each with the evidence behind it, and the rollouts that ended. Pure.

Bounded, because it is kept in a resource: the newest 40 moves of a rollout, `historyLimit` rollouts."""

from datetime import datetime
from typing import Any, Literal

from operators.rollout.moves import Move
from operators.rollout.status import FinishedRollout, HistoryEntry, RolloutStatus, VerbRequest

MOVES = 40
HANDLED = 64
"""Ids of handled verbs that are remembered at least, besides those still requested."""


def with_move(status: RolloutStatus, entry: HistoryEntry) -> RolloutStatus:
    """The status with one more move; the first one, the start, is never dropped."""
    first, later = (*status.moves, entry)[:1], (*status.moves, entry)[1:]
    return status.model_copy(update={"moves": (*first, *later[-(MOVES - 1) :])})


def record(status: RolloutStatus, move: Move, name: str, now: datetime, **more: Any) -> RolloutStatus:
    """The status with a move in its history, under this name. more: other fields of the entry."""
    entry = HistoryEntry(
        at=now,
        move=name,
        step=status.step_index + 1 if status.is_under_way else None,
        by=move.by,
        reason=move.reason,
        assessment=move.assessment,
        **more,
    )
    return with_move(status, entry)


Ending = Literal["promoted", "aborted", "superseded", "undone", "concluded"]


def with_finished(status: RolloutStatus, outcome: Ending, by: str, reason: str, now: datetime, limit: int) -> RolloutStatus:
    """The status with the rollout under way among the finished ones, the newest first. Without a candidate: unchanged."""
    if status.candidate is None:
        return status
    ended = FinishedRollout(
        candidate=status.candidate,
        stable=status.stable,
        started=status.started or now,
        ended=now,
        outcome=outcome,
        by=by,
        reason=reason,
        moves=status.moves,
    )
    return with_ended(status, ended, limit)


def with_ended(status: RolloutStatus, ended: FinishedRollout, limit: int) -> RolloutStatus:
    """The same for a value made elsewhere."""
    return status.model_copy(update={"history": (ended, *status.history)[:limit]})


def with_handled(status: RolloutStatus, request: str | None) -> RolloutStatus:
    """The status with a verb's id among the handled ones."""
    if request is None or request in status.handled:
        return status
    return status.model_copy(update={"handled": (*status.handled, request)})


def pruned(status: RolloutStatus, requests: tuple[VerbRequest, ...]) -> RolloutStatus:
    """The status without ids of verbs that are no longer requested, but for the newest."""
    requested = {r.id for r in requests}
    kept = tuple(h for i, h in enumerate(status.handled) if h in requested or i >= len(status.handled) - HANDLED)
    return status.model_copy(update={"handled": kept})
