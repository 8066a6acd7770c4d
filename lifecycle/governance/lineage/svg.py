"""Draws a lineage graph as SVG: one column for each kind of node, from alarms and data on the left to answers on the right. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape  # nosec B406  # escapes, parses nothing

from lifecycle.governance.lineage.graph import Edge, LineageGraph, Node, NodeKind

WIDTH: Final = 230
HEIGHT: Final = 62
GAP_X: Final = 56
GAP_Y: Final = 20
MARGIN: Final = 24
_LINE: Final = 32
"""Characters in a line of a box."""
_COLUMNS: Final = (
    NodeKind.ALARM,
    NodeKind.TRIGGER,
    NodeKind.DATA,
    NodeKind.FEATURES,
    NodeKind.TRAINING,
    NodeKind.BUNDLE,
    NodeKind.GATE,
    NodeKind.CHALLENGE,
    NodeKind.REVISION,
    NodeKind.ROLLOUT,
    NodeKind.ANSWERS,
)
_COLOURS: Final[Mapping[NodeKind, str]] = {
    NodeKind.ALARM: "#f8d7da",
    NodeKind.TRIGGER: "#fbe6e8",
    NodeKind.DATA: "#dbe9f6",
    NodeKind.FEATURES: "#dff2e1",
    NodeKind.TRAINING: "#fdf1d3",
    NodeKind.BUNDLE: "#fde0d2",
    NodeKind.GATE: "#f9e9c8",
    NodeKind.CHALLENGE: "#f6e3c5",
    NodeKind.REVISION: "#eadcf4",
    NodeKind.ROLLOUT: "#d8eef0",
    NodeKind.ANSWERS: "#eeeeee",
    NodeKind.ANSWER: "#eeeeee",
    NodeKind.ACT: "#fff7b3",
}
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1c2733}.kind{font-size:10px;fill:#5a6775}"
    "rect{stroke:#5a6775}path{fill:none;stroke:#5a6775}.focus{stroke-width:3}"
)


@dataclass(frozen=True, slots=True)
class LineageBox:
    """Where a node is drawn: its top left corner, in pixels, and the lines of its label."""

    node: Node
    x: int
    y: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineageLayout:
    """A drawing without its style. arrows: each edge with the path of its line."""

    width: int
    height: int
    boxes: tuple[LineageBox, ...]
    arrows: tuple[tuple[Edge, str], ...]


def layout_of(graph: LineageGraph) -> LineageLayout:
    """Where everything goes, for who draws it in another style."""
    places = _places(graph)
    return LineageLayout(
        max((x for x, _ in places.values()), default=0) + WIDTH + MARGIN,
        max((y for _, y in places.values()), default=0) + HEIGHT + MARGIN,
        tuple([LineageBox(node, *places[node.id], tuple(_wrapped(node.label))) for node in graph.nodes.values()]),
        tuple([(edge, _line(places[edge.source], places[edge.target])) for edge in graph.edges]),
    )


def draw(graph: LineageGraph, focus: str | None = None) -> str:
    """The SVG text. focus: id of the node that gets a strong border."""
    places = _places(graph)
    width = max((x for x, _ in places.values()), default=0) + WIDTH + MARGIN
    height = max((y for _, y in places.values()), default=0) + HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>Lineage of {escape(graph.nodes[focus].label) if focus else 'this store'}</title><style>{_STYLE}</style>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#5a6775"/></marker></defs>',
        f'<rect x="0" y="0" width="{width}" height="{height}" style="fill:#fff;stroke:none"/>',
    ]
    parts += [_arrow(places[edge.source], places[edge.target], edge.relation) for edge in graph.edges]
    parts += [_box(node, places[node.id], is_focus=node.id == focus) for node in graph.nodes.values()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(graph: LineageGraph) -> dict[str, tuple[int, int]]:
    """The top left corner of each box, in pixels. Columns without nodes take no room. Boxes of one column keep the graph's order."""
    column_of = {NodeKind.ANSWER: NodeKind.ANSWERS, NodeKind.ACT: NodeKind.ROLLOUT}
    columns: dict[NodeKind, list[str]] = {kind: [] for kind in _COLUMNS}
    for node in graph.nodes.values():
        columns[column_of.get(node.kind, node.kind)].append(node.id)
    shown = [nodes for nodes in columns.values() if nodes]
    return {
        node: (MARGIN + column * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
        for column, nodes in enumerate(shown)
        for row, node in enumerate(nodes)
    }


def _box(node: Node, place: tuple[int, int], *, is_focus: bool) -> str:
    x, y = place
    lines = _wrapped(node.label)
    text = "".join(f'<text x="{x + 10}" y="{y + 34 + 16 * i}">{escape(line)}</text>' for i, line in enumerate(lines))
    focus = ' class="focus"' if is_focus else ""
    return (
        f'<g><title>{escape(node.label)}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'style="fill:{_COLOURS[node.kind]}"{focus}/><text class="kind" x="{x + 10}" y="{y + 16}">{node.kind.value}</text>{text}</g>'
    )


def _wrapped(label: str) -> list[str]:
    """At most two lines. A longer label ends in an ellipsis."""
    lines = [""]
    for word in label.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= _LINE or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    shown = lines[:2]
    if len(lines) > 2:
        shown[1] = shown[1][: _LINE - 2] + " …"
    return [line if len(line) <= _LINE + 2 else line[:_LINE] + "…" for line in shown]


def _arrow(start: tuple[int, int], end: tuple[int, int], relation: str) -> str:
    return f'<path d="{_line(start, end)}" marker-end="url(#end)"><title>{escape(relation)}</title></path>'


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    """The path from one box to another."""
    from_x, from_y = start[0] + WIDTH, start[1] + HEIGHT // 2
    to_x, to_y = end[0], end[1] + HEIGHT // 2
    if start[0] >= end[0]:  # to the same column or back: from the left side to the left side
        from_x = start[0]
    bend = max(abs(to_x - from_x) // 2, GAP_X // 2)
    first = from_x + bend if start[0] < end[0] else from_x - bend
    if to_x - from_x > GAP_X and from_y == to_y:  # over boxes of the same row: along the lower edge
        from_y = to_y = from_y + HEIGHT // 2 - 8
        return f"M{from_x} {from_y}C{from_x + GAP_X // 2} {from_y + 40} {to_x - GAP_X // 2} {to_y + 40} {to_x} {to_y}"
    return f"M{from_x} {from_y}C{first} {from_y} {to_x - bend} {to_y} {to_x} {to_y}"
