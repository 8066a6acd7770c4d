"""What NetworkPolicies allow, as their specification says it: policies add up, and a pod that none selects is open.

Source: networking.k8s.io/v1. Namespaces are known by their labels; addresses outside the
cluster are not judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod. namespace: its labels, the name among them."""

    labels: Mapping[str, str]
    namespace: Mapping[str, str] = field(default_factory=lambda: {"kubernetes.io/metadata.name": "vedette"})


def allows(
    policies: Iterable[Json], source: Peer, target: Peer, port: int, protocol: str = "TCP", home: str = "vedette"
) -> bool:
    """Whether a connection may be made: out of its source, and into its target. home: the namespace of the policies."""
    found = list(policies)
    return _side(found, source, target, port, protocol, home, "Egress") and _side(
        found, target, source, port, protocol, home, "Ingress"
    )


def _side(policies: list[Json], pod: Peer, other: Peer, port: int, protocol: str, home: str, direction: str) -> bool:
    if pod.namespace.get("kubernetes.io/metadata.name") != home:
        return True  # other namespaces have policies of their own
    selecting = [p["spec"] for p in policies if direction in p["spec"]["policyTypes"]]
    selecting = [s for s in selecting if matches(s["podSelector"], pod.labels)]
    rules = [rule for s in selecting for rule in s.get(direction.lower(), ())]
    peers = "to" if direction == "Egress" else "from"
    return not selecting or any(_ports(r, port, protocol) and _peers(r.get(peers), other, home) for r in rules)


def _ports(rule: Json, port: int, protocol: str) -> bool:
    if not rule.get("ports"):
        return True
    return any(p.get("protocol", "TCP") == protocol and p["port"] <= port <= p.get("endPort", p["port"]) for p in rule["ports"])


def _peers(peers: list[Json] | None, other: Peer, home: str) -> bool:
    return not peers or any(_peer(p, other, home) for p in peers)


def _peer(peer: Json, other: Peer, home: str) -> bool:
    if "namespaceSelector" in peer:
        there = matches(peer["namespaceSelector"], other.namespace)
    else:
        there = other.namespace.get("kubernetes.io/metadata.name") == home
    return there and "ipBlock" not in peer and matches(peer.get("podSelector", {}), other.labels)


def matches(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects; an empty one selects all."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(_expression(e, labels) for e in selector.get("matchExpressions", ()))


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    return {
        "In": lambda: value in expression["values"],
        "NotIn": lambda: value not in expression["values"],
        "Exists": lambda: value is not None,
        "DoesNotExist": lambda: value is None,
    }[expression["operator"]]()
