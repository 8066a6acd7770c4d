"""Finds the node of a lineage graph that a reference means. Pure.

A reference is `bundle/DIGEST`, `rollout/SERVICE[/NUMBER]`, a digest or at least its first 8 digits, `MODEL`, `MODEL:VERSION`, or a
receipt. Data is also found by the MD5 of its file."""

import re
from typing import Final

from lifecycle.governance.lineage.graph import LineageGraph, Node, NodeKind

_DIGITS: Final = re.compile(r"^(sha256:)?[0-9a-f]{8,64}$")


class LineageError(Exception):
    """A reference means nothing in the lineage, or several things; the message says what there is."""


def resolve(graph: LineageGraph, reference: str) -> str:
    """The id of the node that a reference means. Raises LineageError if there is none, or several."""
    if reference in graph.nodes:
        return reference
    if reference.startswith("rollout/"):
        return _rollout(graph, reference)
    found = _by_digest(graph, reference) if _DIGITS.match(reference) else []
    found = found or _by_name(graph, reference)
    if len(found) > 1:
        raise LineageError(f"{reference!r} matches several: {', '.join(found)}; name one of them")
    if not found:
        bundles = [node.label for node in graph.nodes.values() if node.kind is NodeKind.BUNDLE]
        raise LineageError(
            f"{reference!r} is unknown here: it is not a receipt of the prediction log, a bundle ({', '.join(bundles) or 'none'}) "
            "or a rollout (rollout/SERVICE)"
        )
    return found[0]


def _rollout(graph: LineageGraph, reference: str) -> str:
    """A rollout by number, or the newest of its service."""
    of_service = [key for key in graph.nodes if key.startswith(f"{reference}/")]
    if not of_service:
        known = [key for key, node in graph.nodes.items() if node.kind is NodeKind.ROLLOUT]
        raise LineageError(f"there is no {reference!r}; there are: {', '.join(known) or 'no rollouts'}")
    return max(of_service, key=lambda key: int(key.rsplit("/", 1)[1]))


def _by_digest(graph: LineageGraph, reference: str) -> list[str]:
    digits = reference.removeprefix("sha256:")
    kinds = (NodeKind.BUNDLE, NodeKind.REVISION, NodeKind.DATA)
    return [
        key
        for key, node in graph.nodes.items()
        if node.kind in kinds
        and (key.split("/", 1)[1].removeprefix("sha256:").startswith(digits) or _file(node).startswith(digits))
    ]


def _file(node: Node) -> str:
    """The MD5 of the file that the rows came from, as dvc.lock has it; empty if they did not come from a file."""
    file = node.facts.get("file") or {}
    return str(file.get("md5", ""))


def _by_name(graph: LineageGraph, reference: str) -> list[str]:
    """Bundles of a name and version. A name alone means its newest version."""
    name, _, version = reference.partition(":")
    bundles = [n for n in graph.nodes.values() if n.kind is NodeKind.BUNDLE and n.facts.get("name") == name]
    if version:
        return [n.id for n in bundles if n.facts.get("version") == version]
    newest = sorted(bundles, key=lambda n: int(n.facts.get("version", 0)))[-1:]
    return [n.id for n in newest]
