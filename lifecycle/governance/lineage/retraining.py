"""The story of a retraining as nodes and edges: alarms, what they triggered, the labels that were learnt from, and the challenge. Pure.

Alarms, triggers, challenges and rollouts are acts; which training a trigger led to, and on which labels, the bundle's own lineage says."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.graph import Edge, Node, NodeKind

DRAWN: Final = frozenset(
    {
        "monitor.alarm",
        "retraining.trigger",
        "retraining.refuse",
        "retraining.train",
        "retraining.challenge",
        "retraining.rollout",
    }
)
"""Acts that are drawn here, and not as acts."""
_SHORT: Final = 12


def data_nodes(data: Mapping[str, Any], digest: str, run: str) -> tuple[list[Node], list[Edge]]:
    """What a training run of base rows and labelled rows read; nothing for a run of base rows alone. run: its node."""
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
    """From the trigger and the champion to the training run; none where people trained."""
    told = data.get("retraining") or {}
    if not told.get("trigger"):
        return []
    return [Edge(f"trigger/{told['trigger']}", run, "asked for")]


def retraining_nodes(acts: Iterable[Act]) -> tuple[list[Node], list[Edge]]:
    """The nodes of all these acts. Edges to what is not there are left out by the graph."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for act in acts:
        if act.action == "monitor.alarm":
            _add_alarm(act, nodes)
        elif act.action in DRAWN and isinstance(act.evidence.get("trigger"), str):
            _add_act(act, str(act.evidence["trigger"]), nodes, edges)
    return nodes, edges


def _add_alarm(act: Act, nodes: list[Node]) -> None:
    seen = act.evidence
    label = f"{seen.get('kind', 'alarm')} of {seen.get('subject', '?')}: {act.reason}"
    nodes.append(Node(f"alarm/{seen.get('alarm_id')}", NodeKind.ALARM, label, {"time": _moment(act), **seen}))


def _add_act(act: Act, trigger: str, nodes: list[Node], edges: list[Edge]) -> None:
    seen, facts = act.evidence, {"time": _moment(act), "by": act.actor, "reason": act.reason, **act.evidence}
    match act.action:
        case "retraining.trigger" | "retraining.refuse":
            what = "refused" if act.action == "retraining.refuse" else "asked for a training"
            nodes.append(Node(f"trigger/{trigger}", NodeKind.TRIGGER, f"{seen.get('strategy')} {what}: {act.reason}", facts))
            edges += [Edge(f"alarm/{alarm}", f"trigger/{trigger}", "asked for") for alarm in seen.get("alarms", ())]
        case "retraining.train" if act.outcome == "refused":
            nodes.append(Node(f"challenge/{trigger}", NodeKind.CHALLENGE, f"no challenger was trained: {act.reason}", facts))
            edges.append(Edge(f"trigger/{trigger}", f"challenge/{trigger}", "came to"))
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


def _moment(act: Act) -> str:
    return datetime.fromtimestamp(act.time_us / 1e6, tz=UTC).isoformat(timespec="seconds")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHORT]
