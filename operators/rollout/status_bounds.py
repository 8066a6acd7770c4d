"""How large a rollout's status may become, and what is left out first where it would be larger. Pure.

A resource is kept whole by the API server, which refuses a large one: a status without a bound ends in a rollout that stands still.
The evidence of old moves goes first, then old moves, then old rollouts, then words; what the rollout under way stands on stays."""

import json
from collections.abc import Callable
from typing import Final

from operators.rollout.status import Assessment, FinishedRollout, GateView, HistoryEntry, RolloutStatus
from operators.values import Value

MOST_BYTES: Final = 44 * 1024
"""Of the rollout's status as JSON in UTF-8. With conditions and columns a resource's status stays below 64 kB."""
_FEW: Final = 8
"""Moves that are kept of a rollout where all of them are too many: the first, and the newest."""
_WHOLE: Final = 2
"""Moves of the rollout under way whose evidence is kept gate by gate."""
_WORDS: Final = 200
"""Bytes of a sentence where whole sentences are too long."""

Shorter = Callable[[FinishedRollout], FinishedRollout]


def bounded(status: RolloutStatus, most_bytes: int = MOST_BYTES) -> RolloutStatus:
    """The status itself if it is small enough, else the first of ever shorter ones that is."""
    excess = size(status) - most_bytes
    for shorten in (_gates_of_old, _own_gates, _old_moves, _old_words, _all_old_moves, _own_moves, _words, _old_rollouts):
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
    """The beginning of a text, so many bytes of UTF-8 at most; an ellipsis says that there was more. Half a surrogate
    pair becomes `?`."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode("utf-8", "ignore") + "…"


def _gates_of_old(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, lambda old: old.model_copy(update={"moves": _plain(old.moves, 0)}))


def _old_moves(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, lambda old: old.model_copy(update={"moves": _few(old.moves)}))


def _old_words(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, _in_few_words)


def _all_old_moves(status: RolloutStatus, excess: int) -> RolloutStatus:
    return _oldest_first(status, excess, lambda old: old.model_copy(update={"moves": (), "report": None}))


def _oldest_first(status: RolloutStatus, excess: int, shorten: Shorter) -> RolloutStatus:
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
    return status.model_copy(update={"moves": _plain(status.moves, _WHOLE)})


def _own_moves(status: RolloutStatus, _excess: int) -> RolloutStatus:
    return status.model_copy(update={"moves": _few(status.moves)})


def _in_few_words(old: FinishedRollout) -> FinishedRollout:
    return old.model_copy(update={"moves": tuple(_brief(m) for m in old.moves), "reason": clip(old.reason, _WORDS)})


def _plain(moves: tuple[HistoryEntry, ...], whole: int) -> tuple[HistoryEntry, ...]:
    """All but the newest without each gate's own figures; the verdict and its reason stay."""
    old = len(moves) - whole
    return tuple(m if i >= old or m.assessment is None else _ungated(m, m.assessment) for i, m in enumerate(moves))


def _ungated(move: HistoryEntry, assessment: Assessment) -> HistoryEntry:
    return move.model_copy(update={"assessment": assessment.model_copy(update={"gates": ()})})


def _few(moves: tuple[HistoryEntry, ...]) -> tuple[HistoryEntry, ...]:
    return moves if len(moves) <= _FEW else (moves[0], *moves[1 - _FEW :])


def _brief(move: HistoryEntry) -> HistoryEntry:
    assessment = None if move.assessment is None else _in_short(move.assessment)
    return move.model_copy(update={"reason": clip(move.reason, _WORDS), "assessment": assessment})


def _words(status: RolloutStatus, _excess: int) -> RolloutStatus:
    return status.model_copy(
        update={
            "moves": tuple(_brief(m) for m in status.moves),
            "message": clip(status.message, _WORDS),
            "waiting_for": clip(status.waiting_for, _WORDS),
            "stopped": {name: clip(why, _WORDS) for name, why in status.stopped.items()},
            "assessment": _in_short(status.assessment),
            "variant_assessments": {name: _in_short(a) for name, a in status.variant_assessments.items()},
        }
    )


def _in_short(assessment: Assessment) -> Assessment:
    gates = tuple(_gate(g) for g in assessment.gates)
    return assessment.model_copy(update={"reason": clip(assessment.reason, _WORDS), "gates": gates})


def _gate(gate: GateView) -> GateView:
    return gate.model_copy(update={"reason": clip(gate.reason, _WORDS)})
