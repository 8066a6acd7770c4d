"""What happened around a thing, in order of time: alarms, labels, trainings, gates, challenges, and each move of a rollout. Pure.

The graph says what was made of what. The story says when, so that a retraining can be read from the alarm to the promotion."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.facts import BundleFact, RolloutFact, RolloutMove, StoreFacts
from lifecycle.governance.lineage.graph import LineageGraph
from lifecycle.governance.lineage.retraining import gate_words, iso_time, node_of

_KINDS: Final = {
    "monitor.alarm": "alarm",
    "retraining.trigger": "trigger",
    "retraining.refuse": "trigger",
    "retraining.train": "training",
    "gate.judge": "gate",
    "retraining.challenge": "challenge",
    "retraining.rollout": "rollout",
}


_RESTATED: Final = frozenset({"pass mirror", "pass setWeight"})
"""Moves that only say that the move before took effect."""


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One thing that happened. what: its kind. node: the id of the node that shows it. time_us: microseconds since the epoch."""

    time_us: int
    what: str
    words: str
    node: str

    @property
    def time(self) -> str:
        """ISO 8601, UTC; the number itself if no calendar has the time."""
        return iso_time(self.time_us)


def story_of(part: LineageGraph, facts: StoreFacts) -> tuple[StoryLine, ...]:
    """What happened to the nodes of a part of the graph, oldest first."""
    told = [rollout for rollout in facts.rollouts if _node(rollout) in part.nodes]
    lines = [
        *(line for bundle in facts.bundles if f"bundle/{bundle.digest}" in part.nodes for line in _labels(bundle)),
        *_acts(part, facts.acts, {move.move.split()[0] for rollout in told for move in rollout.moves}),
        *(_move(rollout, move) for rollout in told for move in rollout.moves if move.move not in _RESTATED),
    ]
    return tuple(sorted(lines, key=lambda line: line.time_us))


def story_text(lines: Sequence[StoryLine]) -> list[str]:
    """The story for people: a heading, and one line each."""
    if not lines:
        return []
    widest = max(len(line.what) for line in lines)
    return [
        "what happened, in order (UTC)",
        *(f"{line.time.removesuffix('+00:00').replace('T', ' ')}  {line.what.ljust(widest)}  {line.words}" for line in lines),
    ]


def _acts(part: LineageGraph, acts: Iterable[Act], moves: set[str]) -> Iterable[StoryLine]:
    """The acts that the part shows, except the moves of a rollout, which the rollout tells itself."""
    for number, act in enumerate(acts, start=1):
        node = node_of(act) or f"act/{number}"
        is_told = (
            act.action.startswith("rollout.") and act.outcome == "accepted" and act.action.removeprefix("rollout.") in moves
        )
        if node in part.nodes and not is_told:
            yield StoryLine(act.time_us, _KINDS.get(act.action, "act"), _words(act), node)


def _words(act: Act) -> str:
    match act.action:
        case "gate.judge":
            return gate_words(act)
        case "retraining.rollout":
            return f"version {act.evidence.get('version')} is asked for"
        case "retraining.trigger" | "retraining.train" | "retraining.challenge" | "monitor.alarm" if act.outcome == "accepted":
            return act.reason
        case _:
            outcome = "" if act.outcome == "accepted" else f" ({act.outcome})"
            return f"{act.action} by {act.actor}{outcome}{f': {act.reason}' if act.reason else ''}"


def _labels(bundle: BundleFact) -> Iterable[StoryLine]:
    """The labels that a challenger was trained on, at the time of the last one."""
    labels = bundle.manifest.lineage.data.get("labels") if bundle.manifest.lineage is not None else None
    if labels and labels.get("given_until_us"):
        words = f"{labels['rows']:,} labelled rows that version {bundle.manifest.version} is trained on, {labels['attacks']:,} attacks"
        yield StoryLine(int(labels["given_until_us"]), "labels", words, f"data/{labels['digest']}")


def _node(rollout: RolloutFact) -> str:
    return f"rollout/{rollout.service}/{rollout.number}"


def _move(rollout: RolloutFact, move: RolloutMove) -> StoryLine:
    weight = f" {move.weight:g} %" if move.move == "setWeight" and move.weight is not None else ""
    who = "" if move.by == "operator" else f" by {move.by}"
    at = round(datetime.fromisoformat(move.at).timestamp() * 1e6)
    return StoryLine(at, "rollout", f"{move.move}{weight}{who}{f': {move.reason}' if move.reason else ''}", _node(rollout))
