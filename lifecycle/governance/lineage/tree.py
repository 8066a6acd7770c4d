"""A lineage graph as a tree of text lines: first what a thing was made of, then what was made of it. Pure."""

from collections.abc import Callable, Iterator

from lifecycle.governance.lineage.graph import Edge, LineageGraph


def tree_lines(graph: LineageGraph, focus: str) -> list[str]:
    """Lines for people. A node that was drawn before is named again without its branches."""
    lines = [f"{graph.nodes[focus].kind.value}: {graph.nodes[focus].label}"]
    above = list(_branches(graph, focus, graph.sources, lambda edge: edge.source, {focus}))
    below = list(_branches(graph, focus, graph.targets, lambda edge: edge.target, {focus}))
    if above:
        lines += ["made of", *above]
    if below:
        lines += ["led to", *below]
    return lines


def _branches(
    graph: LineageGraph,
    node: str,
    edges: Callable[[str], tuple[Edge, ...]],
    end: Callable[[Edge], str],
    drawn: set[str],
    indent: str = "",
) -> Iterator[str]:
    found = edges(node)
    for place, edge in enumerate(found, start=1):
        other = graph.nodes[end(edge)]
        is_last = place == len(found)
        again = " (see above)" if other.id in drawn and edges(other.id) else ""
        yield f"{indent}{'└─ ' if is_last else '├─ '}{other.kind.value}: {other.label}{again}"
        if other.id not in drawn:
            drawn.add(other.id)
            yield from _branches(graph, other.id, edges, end, drawn, indent + ("   " if is_last else "│  "))
