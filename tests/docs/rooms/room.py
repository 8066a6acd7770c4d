"""What is in a room, and which rooms it has to do with: read from the files and their imports; nothing is imported.

A room is a folder below a plane. Its parts are its files, and the rooms within it, each as one part."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT
from tests.house import imports

PLANES: Final = ("serving", "feature_repo", "lifecycle", "operators")
WITHOUT_ROOMS: Final = frozenset({"feature_repo"})
"""Planes that are one room."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a room, or a room within it. files: how many are in it, 1 for a file."""

    name: str
    files: int

    @property
    def label(self) -> str:
        """As it is written in the picture."""
        return self.name if self.files == 1 else f"{self.name}/ ({self.files})"


@dataclass(frozen=True, slots=True)
class Room:
    """name: dotted. says: the first sentence of its docstring. arrows: from a part to one that it imports, reduced to those that no
    other arrows imply. uses, used_by: names of rooms and of single files of a plane."""

    name: str
    says: str
    parts: tuple[Part, ...]
    arrows: frozenset[tuple[str, str]]
    uses: tuple[str, ...]
    used_by: tuple[str, ...]


@cache
def _graph() -> Mapping[str, set[str]]:
    return imports(ROOT)


def rooms(plane: str) -> tuple[Room, ...]:
    """Of a plane, by name."""
    graph = _graph()
    if plane in WITHOUT_ROOMS:
        return (_room(plane, graph),)
    return tuple(_room(f"{plane}.{path.parent.name}", graph) for path in sorted((ROOT / plane).glob("*/__init__.py")))


def _home(module: str) -> str:
    """The room of a module; a file at the top of a plane stands for itself."""
    plane, _, rest = module.partition(".")
    return plane if plane in WITHOUT_ROOMS or not rest else f"{plane}.{rest.partition('.')[0]}"


def _room(name: str, graph: Mapping[str, set[str]]) -> Room:
    folder = ROOT / name.replace(".", "/")
    below = f"{name}."
    counts: dict[str, int] = defaultdict(int)
    for module in graph:
        if module.startswith(below):
            counts[module.removeprefix(below).partition(".")[0]] += 1
    is_folder = {part for part in counts if (folder / part).is_dir()}
    part_of = {module: module.removeprefix(below).partition(".")[0] for module in graph if module.startswith(below)}
    arrows = {(part_of[m], part_of[t]) for m in part_of for t in graph[m] if t in part_of and part_of[m] != part_of[t]}
    own = {name, *part_of}
    uses = {_home(target) for module in own & graph.keys() for target in graph[module]} - {name}
    used_by = {_home(module) for module, targets in graph.items() if targets & own} - {name}
    parts = tuple(Part(part, counts[part] if part in is_folder else 1) for part in sorted(counts))
    return Room(
        name, _says(folder), parts, reduced(arrows), tuple(sorted(u for u in uses if u in PLANES or "." in u)),
        tuple(sorted(u for u in used_by if u.partition(".")[0] in PLANES)),
    )  # fmt: skip


def _says(folder: Path) -> str:
    """The first sentence of the docstring of a package, or its first paragraph where that is one sentence."""
    text = (folder / "__init__.py").read_text(encoding="utf-8").removeprefix('"""').partition('"""')[0].partition("\n\n")[0]
    words = " ".join(text.split())
    return words if len(words) < 160 else words.partition(". ")[0].rstrip(".") + "."


def reduced(arrows: set[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Without the arrows that others imply: a -> c where a -> b -> c. There are no circles."""
    after: dict[str, set[str]] = defaultdict(set)
    for begin, end in arrows:
        after[begin].add(end)

    @cache
    def reached(part: str) -> frozenset[str]:
        return frozenset(after[part]).union(*(reached(one) for one in after[part]))

    return frozenset((a, b) for a, b in arrows if not any(b in reached(other) for other in after[a] - {b}))


def layers(room: Room) -> list[list[Part]]:
    """The parts from top to bottom: each stands above all that it imports."""
    below: dict[str, set[str]] = defaultdict(set)
    for begin, end in room.arrows:
        below[begin].add(end)

    @cache
    def height(name: str) -> int:
        return 1 + max((height(one) for one in below[name]), default=-1)

    found: dict[int, list[Part]] = defaultdict(list)
    for part in room.parts:
        found[height(part.name)].append(part)
    return [found[h] for h in sorted(found, reverse=True)]
