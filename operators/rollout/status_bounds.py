"""The bound on the size of a rollout's status, and what is left out first to keep it. Pure.

A resource is kept whole by the API server, which refuses a large one: an unbounded status would stop the rollout. The evidence of old moves
goes first, then old moves, then old rollouts, then long texts. What the rollout under way needs stays."""

import json
from collections.abc import Callable
from typing import Final

from operators.rollout.status import Assessment, FinishedRollout, GateView, HistoryEntry, RolloutStatus
from operators.values import Value

MOST_BYTES: Final = 44 * 1024
"""Of the rollout's status as JSON in UTF-8. With conditions and columns a resource's status stays below 64 kB."""
FEW_MOVES: Final = 8
"""Moves that are kept of a rollout where all of them are too many: the first, and the newest."""
WHOLE_MOVES: Final = 2
"""Moves of the rollout under way whose evidence is kept gate by gate."""
CLIPPED_BYTES: Final = 200
"""Bytes of a sentence where whole sentences are too long."""

Shorten = Callable[[FinishedRollout], FinishedRollout]


def bounded(status: RolloutStatus, most_bytes: int = MOST_BYTES) -> RolloutStatus:
    """The status itself if it is small enough, else the first of ever shorter ones that is.

    Suppressions of the revisions under way have a bound of their own and cannot be left out, so they do not count."""
    under_way = (status.stable, status.candidate, status.candidate_wanted, status.stable_wanted, status.former)
    most_bytes += sum(size(one) for one in under_way if one is not None and one.suppressions)
    excess = size(status) - most_bytes
    for shorten in (
        _gates_of_old,
        _own_gates,
        _old_moves,
        _clip_old_texts,
        _all_old_moves,
        _own_moves,
        _clip_texts,
        _old_rollouts,
    ):
        if excess <= 0:
            break
        status = shorten(status, excess)
        excess = size(status) - most_bytes
    return status


def size(value: Value) -> int:
    """Bytes of its JSON in UTF-8, without what is default."""
    whole = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return len(json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace"))


def clip(text: str, most_bytes: int) -> str:
    """The beginning of a text, at most so many bytes of UTF-8; an ellipsis marks a cut. Half a surrogate
    pair becomes `?`."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode("utf-8", "ignore") + "…"


def _gates_of_old(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, lambda old: old.model_copy(update={"moves": _without_old_gates(old.moves, 0)}))


def _old_moves(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, lambda old: old.model_copy(update={"moves": _first_and_newest(old.moves)}))


def _clip_old_texts(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, _clipped_rollout)


def _all_old_moves(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, lambda old: old.model_copy(update={"moves": (), "report": None}))


def _oldest_first(status: RolloutStatus, excess: int, shorten: Shorten) -> RolloutStatus:
    """Shorten one rollout after the other, the newest last, until so many bytes are saved."""
    history = list(status.history)
    for i in reversed(range(len(history))):
        if excess <= 0:
            break
        shorter = shorten(history[i])
        excess -= size(history[i]) - size(shorter)
        history[i] = shorter
    return status.model_copy(update={"history": tuple(history)})


def _old_rollouts(status: RolloutStatus, excess: int) -> RolloutStatus:
    history = list(status.history)
    while history and excess > 0:
        excess -= size(history.pop()) + 1
    return status.model_copy(update={"history": tuple(history)})


def _own_gates(status: RolloutStatus, _excess: int) -> RolloutStatus:
    return status.model_copy(update={"moves": _without_old_gates(status.moves, WHOLE_MOVES)})


def _own_moves(status: RolloutStatus, _excess: int) -> RolloutStatus:
    return status.model_copy(update={"moves": _first_and_newest(status.moves)})


def _clipped_rollout(old: FinishedRollout) -> FinishedRollout:
    return old.model_copy(
        update={"moves": tuple(_clipped_move(m) for m in old.moves), "reason": clip(old.reason, CLIPPED_BYTES)}
    )


def _without_old_gates(moves: tuple[HistoryEntry, ...], whole: int) -> tuple[HistoryEntry, ...]:
    """All but the newest without each gate's own figures; the verdict and its reason stay."""
    old = len(moves) - whole
    return tuple(m if i >= old or m.assessment is None else _without_gates(m, m.assessment) for i, m in enumerate(moves))


def _without_gates(move: HistoryEntry, assessment: Assessment) -> HistoryEntry:
    return move.model_copy(update={"assessment": assessment.model_copy(update={"gates": ()})})


def _first_and_newest(moves: tuple[HistoryEntry, ...]) -> tuple[HistoryEntry, ...]:
    return moves if len(moves) <= FEW_MOVES else (moves[0], *moves[1 - FEW_MOVES :])


def _clipped_move(move: HistoryEntry) -> HistoryEntry:
    assessment = None if move.assessment is None else _clipped_assessment(move.assessment)
    return move.model_copy(update={"reason": clip(move.reason, CLIPPED_BYTES), "assessment": assessment})


def _clip_texts(status: RolloutStatus, _excess: int) -> RolloutStatus:
    return status.model_copy(
        update={
            "moves": tuple(_clipped_move(m) for m in status.moves),
            "message": clip(status.message, CLIPPED_BYTES),
            "waiting_for": clip(status.waiting_for, CLIPPED_BYTES),
            "stopped": {name: clip(why, CLIPPED_BYTES) for name, why in status.stopped.items()},
            "assessment": _clipped_assessment(status.assessment),
            "variant_assessments": {name: _clipped_assessment(a) for name, a in status.variant_assessments.items()},
        }
    )


def _clipped_assessment(assessment: Assessment) -> Assessment:
    gates = tuple(_clipped_gate(g) for g in assessment.gates)
    return assessment.model_copy(update={"reason": clip(assessment.reason, CLIPPED_BYTES), "gates": gates})


def _clipped_gate(gate: GateView) -> GateView:
    return gate.model_copy(update={"reason": clip(gate.reason, CLIPPED_BYTES)})
