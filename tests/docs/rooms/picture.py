"""One picture of a room, as SVG: its parts, arrows to what each imports, and the rooms around it. Readable on light and dark pages."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from tests.docs.rooms.room import Part, Room, layers

WIDTH: Final = 860
_CHAR, _HIGH, _GAP, _BETWEEN, _EDGE = 6.9, 26, 14, 30, 16
_STYLE: Final = (
    "svg{--paper:#fff;--ink:#0f172a;--line:#475569;--box:#f1f5f9;--room:#dbeafe;--side:#64748b}"
    "@media (prefers-color-scheme:dark){svg{--paper:#111827;--ink:#e5e7eb;--line:#94a3b8;--box:#1f2937;--room:#1e3a5f;--side:#94a3b8}}"
    "text{font:12px ui-monospace,monospace;fill:var(--ink);text-anchor:middle}"
    ".s{fill:var(--side);text-anchor:start;font-family:system-ui,sans-serif}"
    "rect{stroke:var(--line)}path{stroke:var(--line);fill:none}"
)


def _wide(part: Part) -> float:
    return len(part.label) * _CHAR + 16


def _rows(parts: Sequence[Part]) -> list[list[Part]]:
    """As many rows as the width needs."""
    rows: list[list[Part]] = [[]]
    for part in parts:
        if rows[-1] and math.fsum(_wide(p) + _GAP for p in [*rows[-1], part]) > WIDTH - 2 * _EDGE:
            rows.append([])
        rows[-1].append(part)
    return rows


def _wrapped(title: str, names: Sequence[str]) -> list[str]:
    """Lines of text about the rooms around."""
    lines, most = [title], int((WIDTH - 2 * _EDGE) / 6.2)
    for number, name in enumerate(names):
        word = name.replace(".", "/") + ("," if number + 1 < len(names) else "")
        if len(lines[-1]) + len(word) + 1 > most:
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines


def svg(room: Room) -> str:
    """The picture. Parts stand above what they import."""
    where: dict[str, tuple[float, float]] = {}
    out: list[str] = []
    above = _wrapped("Used by:", room.used_by) if room.used_by else ["Used by no other room: a program begins here"]
    under = _wrapped("Uses:", room.uses) if room.uses else ["Uses no other room"]
    y = _EDGE + 16.0 * len(above) + 12
    frame_top = y - 4
    y += 10
    for layer in layers(room):
        centre = {part.name: _centre(part, room, where) for part in layer}
        for row in _rows(sorted(layer, key=lambda part: (centre[part.name], part.name))):
            x = (WIDTH - math.fsum(_wide(p) + _GAP for p in row) + _GAP) / 2
            for part in row:
                wide = _wide(part)
                where[part.name] = (x + wide / 2, y)
                fill = "box" if part.files == 1 else "room"
                out.append(
                    f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{_HIGH}" rx="5" fill="var(--{fill})"/>'
                    f'<text x="{x + wide / 2:.0f}" y="{y + 17:.0f}">{escape(part.label)}</text>'
                )
                x += wide + _GAP
            y += _HIGH + 10
        y += _BETWEEN - 10
    y -= _BETWEEN - 10
    arrows = [_arrow(*where[begin], *where[end]) for begin, end in sorted(room.arrows)]
    frame = f'<rect x="4" y="{frame_top:.0f}" width="{WIDTH - 8}" height="{y - frame_top:.0f}" rx="8" fill="none" stroke-dasharray="4 3"/>'
    height = y + 16 * len(under) + 18
    words = [f'<text class="s" x="{_EDGE}" y="{_EDGE + 4 + 16 * n}">{escape(line)}</text>' for n, line in enumerate(above)]
    words += [f'<text class="s" x="{_EDGE}" y="{y + 20 + 16 * n:.0f}">{escape(line)}</text>' for n, line in enumerate(under)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(alt(room))}">\n'
        f"<style>{_STYLE}</style>\n"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:var(--line)"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="var(--paper)" style="stroke:none"/>\n{frame}\n'
        + "\n".join([*arrows, *out, *words])
        + "\n</svg>\n"
    )


def _centre(part: Part, room: Room, where: dict[str, tuple[float, float]]) -> float:
    """The middle of what imports the part and is drawn already."""
    above = [where[begin][0] for begin, end in room.arrows if end == part.name and begin in where]
    return math.fsum(above) / len(above) if above else WIDTH / 2


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """From the lower edge of one box to the upper edge of another."""
    begin = y + _HIGH
    bend = (to_y - begin) / 2
    return (
        f'<path marker-end="url(#a)" d="M{x:.0f} {begin:.0f}C{x:.0f} {begin + bend:.0f} {to_x:.0f} {to_y - bend:.0f} '
        f'{to_x:.0f} {to_y:.0f}"/>'
    )


def alt(room: Room) -> str:
    """The picture in words, for people who do not see it."""
    files = sum(part.files for part in room.parts)
    return f"The room {room.name.replace('.', '/')}: {files} files in {len(room.parts)} parts, and what each imports"
