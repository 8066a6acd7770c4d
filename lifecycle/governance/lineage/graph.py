"""A lineage graph: what was made of what, from data to answers. Pure.

An edge leads from what was used to what was made of it: data -> training -> bundle -> revision -> rollout -> answers. This is W3C PROV's
derivation, read backwards. facts.py says where the facts come from; tree.py and svg.py show the graph."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class NodeKind(StrEnum):
    """Kinds of nodes, from what is used to what is made of it."""

    ALARM = "alarm"
    TRIGGER = "trigger"
    DATA = "data"
    FEATURES = "features"
    TRAINING = "training"
    BUNDLE = "bundle"
    GATE = "gate"
    CHALLENGE = "challenge"
    REVISION = "revision"
    ROLLOUT = "rollout"
    ANSWERS = "answers"
    ANSWER = "answer"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing in the graph. id: unique, `KIND/NAME`. facts: what is known about it, plain JSON values."""

    id: str
    kind: NodeKind
    label: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` was used to make `target`; `relation` says how."""

    source: str
    target: str
    relation: str


@dataclass(frozen=True, slots=True)
class LineageGraph:
    """Nodes by id, and the edges between them."""

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    @classmethod
    def of(cls, nodes: Iterable[Node], edges: Iterable[Edge]) -> "LineageGraph":
        """Build a graph. Of nodes with the same id the first is kept. Edges to missing nodes are dropped."""
        by_id: dict[str, Node] = {}
        for node in nodes:
            by_id.setdefault(node.id, node)
        known = dict.fromkeys(edge for edge in edges if edge.source in by_id and edge.target in by_id)
        return cls(by_id, tuple(known))

    def sources(self, node_id: str) -> tuple[Edge, ...]:
        """Edges that lead to this node."""
        return tuple(edge for edge in self.edges if edge.target == node_id)

    def targets(self, node_id: str) -> tuple[Edge, ...]:
        """Edges that lead from this node."""
        return tuple(edge for edge in self.edges if edge.source == node_id)

    def around(self, node_id: str) -> "LineageGraph":
        """The part of the graph that this node was made of, or that was made of it. Raises KeyError if there is no such node."""
        found = {self.nodes[node_id].id}
        found |= _reached(node_id, _neighbours(self.edges, backwards=True))
        found |= _reached(node_id, _neighbours(self.edges, backwards=False))
        nodes = [node for key, node in self.nodes.items() if key in found]
        return LineageGraph.of(nodes, self.edges)

    def as_record(self) -> dict[str, Any]:
        """The graph for programs: plain JSON."""
        return {
            "nodes": [
                {"id": n.id, "kind": n.kind.value, "label": n.label, "facts": dict(n.facts)} for n in self.nodes.values()
            ],
            "edges": [{"from": e.source, "to": e.target, "relation": e.relation} for e in self.edges],
        }


def _neighbours(edges: Iterable[Edge], *, backwards: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for edge in edges:
        start, end = (edge.target, edge.source) if backwards else (edge.source, edge.target)
        found.setdefault(start, []).append(end)
    return found


def _reached(start: str, neighbours: Mapping[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for node in neighbours.get(waiting.pop(), ()):
            if node not in reached:
                reached.add(node)
                waiting.append(node)
    return reached
