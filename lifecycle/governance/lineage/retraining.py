"""Draws a retraining as nodes and edges: alarms, what they triggered, the labels learnt from, the gate, the challenge. Pure.

Alarms, triggers, challenges and rollouts are acts. The bundle's own lineage says which training a trigger led to, and on which labels."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.graph import Edge, Node, NodeKind

_DRAWN: Final = frozenset(
    {
        "retraining.trigger",
        "retraining.refuse",
        "retraining.train",
        "gate.judge",
        "retraining.challenge",
        "retraining.rollout",
    }
)
_SHORT: Final = 12
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_of_retraining(act: Act) -> bool:
    """Whether this module draws an act. Other acts are drawn as acts, also a gate that a person ran: it has no trigger."""
    return act.action == "monitor.alarm" or (act.action in _DRAWN and isinstance(act.evidence.get("trigger"), str))


def node_of(act: Act) -> str | None:
    """The id of the node that shows an act of a retraining; None for other acts."""
    if not is_of_retraining(act):
        return None
    seen, trigger = act.evidence, act.evidence.get("trigger")
    match act.action:
        case "monitor.alarm":
            return f"alarm/{seen.get('alarm_id')}"
        case "retraining.trigger" | "retraining.refuse":
            return f"trigger/{trigger}"
        case "retraining.train" if act.outcome != "refused":
            return f"bundle/{seen.get('bundle')}"
        case "gate.judge":
            return f"gate/{trigger}"
        case "retraining.rollout":
            return f"revision/{seen.get('revision')}"
        case _:
            return f"challenge/{trigger}"


def data_nodes(data: Mapping[str, Any], digest: str, run: str) -> tuple[list[Node], list[Edge]]:
    """What a training run read, if it read base rows and labelled rows; else nothing. digest: of both together. run: the id of its node."""
    base, labels = data.get("base"), data.get("labels")
    if not base or not labels:
        return [], []
    base_id, labels_id = f"data/{base['digest']}", f"data/{labels['digest']}"
    called = f"{labels['rows']:,} labelled rows, {labels['attacks']:,} attacks, {labels['false_alarms']:,} false alarms"
    nodes = [
        Node(base_id, NodeKind.DATA, f"base rows, {base['rows']:,} rows, {_short(base['digest'])}", {**base, "of": digest}),
        Node(labels_id, NodeKind.DATA, f"{called}, {_short(labels['digest'])}", dict(labels)),
    ]
    return nodes, [Edge(base_id, run, "was read by"), Edge(labels_id, run, "was read by")]


def asked_for(data: Mapping[str, Any], run: str) -> list[Edge]:
    """The edge from the trigger to the training run; none if people started the training."""
    told = data.get("retraining") or {}
    if not told.get("trigger"):
        return []
    return [Edge(f"trigger/{told['trigger']}", run, "asked for")]


def retraining_nodes(acts: Iterable[Act]) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges of these acts. The graph drops edges to missing nodes."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for act in acts:
        if act.action == "monitor.alarm":
            _add_alarm(act, nodes)
        elif is_of_retraining(act):
            _add_act(act, str(act.evidence["trigger"]), nodes, edges)
    return nodes, edges


def _add_alarm(act: Act, nodes: list[Node]) -> None:
    seen = act.evidence
    label = f"{seen.get('kind', 'alarm')} of {seen.get('subject', '?')}: {act.reason}"
    nodes.append(Node(f"alarm/{seen.get('alarm_id')}", NodeKind.ALARM, label, {"time": iso_time(act.time_us), **seen}))


def _add_act(act: Act, trigger: str, nodes: list[Node], edges: list[Edge]) -> None:
    seen, facts = act.evidence, {"time": iso_time(act.time_us), "by": act.actor, "reason": act.reason, **act.evidence}
    match act.action:
        case "retraining.trigger" | "retraining.refuse":
            what = "refused" if act.action == "retraining.refuse" else "asked for a training"
            nodes.append(Node(f"trigger/{trigger}", NodeKind.TRIGGER, f"{seen.get('strategy')} {what}: {act.reason}", facts))
            edges += [Edge(f"alarm/{alarm}", f"trigger/{trigger}", "asked for") for alarm in seen.get("alarms", ())]
        case "retraining.train" if act.outcome == "refused":
            nodes.append(Node(f"challenge/{trigger}", NodeKind.CHALLENGE, f"no challenger was trained: {act.reason}", facts))
            edges.append(Edge(f"trigger/{trigger}", f"challenge/{trigger}", "came to"))
        case "gate.judge":
            nodes.append(Node(f"gate/{trigger}", NodeKind.GATE, gate_words(act), facts))
            edges.append(Edge(f"bundle/{seen.get('bundle')}", f"gate/{trigger}", "was checked by"))
            edges.append(Edge(f"gate/{trigger}", f"challenge/{trigger}", "let in"))
            if act.outcome == "refused":  # its bundle is not in the store
                edges.append(Edge(f"trigger/{trigger}", f"gate/{trigger}", "came to"))
        case "retraining.challenge":
            nodes.append(Node(f"challenge/{trigger}", NodeKind.CHALLENGE, act.reason, facts))
            edges.append(Edge(f"bundle/{seen.get('bundle')}", f"challenge/{trigger}", "was judged by"))
            edges.append(Edge(f"bundle/{seen.get('champion')}", f"challenge/{trigger}", "was defended by"))
            if act.outcome == "refused":  # its bundle is not in the store, so the trigger is what led here
                edges.append(Edge(f"trigger/{trigger}", f"challenge/{trigger}", "came to"))
        case "retraining.rollout":
            edges.append(Edge(f"challenge/{trigger}", f"revision/{seen.get('revision')}", "let ask for a rollout of"))
        case _:
            pass


def gate_words(act: Act) -> str:
    """The outcome of the gate, in one line."""
    if act.outcome == "refused":
        return f"did not pass: {act.reason}"
    checks = act.evidence.get("checks")
    passed = [name for name, outcome in checks.items() if outcome == "passed"] if isinstance(checks, Mapping) else []
    return f"passed: {', '.join(passed)}" if passed else "passed"


def iso_time(time_us: int) -> str:
    """ISO 8601, UTC; the number itself if no calendar has the time."""
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="seconds")
    except OverflowError:
        return f"time_us {time_us}"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHORT]
