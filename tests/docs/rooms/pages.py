"""The pages and pictures of docs/architecture.

`python -m tests.docs.tables` writes them; test_rooms.py fails when they are behind the code."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT
from tests.docs.rooms.picture import alt, svg
from tests.docs.rooms.room import PLANES, Room, rooms

FOLDER: Final = ROOT / "docs" / "architecture"
TITLES: Final[Mapping[str, str]] = {
    "serving": "Rooms of the data plane",
    "feature_repo": "The room of the features",
    "lifecycle": "Rooms of the evidence",
    "operators": "Rooms of the control plane",
}
_HEAD: Final = """# {title}

For engineers who read or change `{plane}/`. You find one picture for each room: its files, what each of them imports, and the rooms
around it.

A box is a file, a blue box a room within the room, with the number of its files. An arrow leads from what imports to what is imported;
arrows that others imply are left out. What the rooms are for, and which file to change for what, is in
[architecture](../architecture.md). This page is made from the code.
"""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{_path(name)}`" for name in names)


def _path(name: str) -> str:
    path = name.replace(".", "/")
    return path if (ROOT / path).is_dir() else f"{path}.py"


def _section(room: Room) -> str:
    around = [
        *([f"Used by {_listed(room.used_by)}."] if room.used_by else []),
        *([f"Uses {_listed(room.uses)}."] if room.uses else ["Uses no other room."]),
    ]
    return (
        f"\n## {room.name.replace('.', '/')}\n\n{room.says}\n\n![{alt(room)}](pictures/{room.name}.svg)\n\n"
        + " ".join(around)
        + "\n"
    )


def made() -> Iterator[tuple[Path, str]]:
    """Every file of the folder, and what stands in it."""
    for plane in PLANES:
        found = rooms(plane)
        yield FOLDER / f"{plane}.md", _HEAD.format(title=TITLES[plane], plane=plane) + "".join(map(_section, found))
        for room in found:
            yield FOLDER / "pictures" / f"{room.name}.svg", svg(room)


def write() -> None:
    """Write them, and remove the pictures of rooms that are gone."""
    files = dict(made())
    for path in FOLDER.rglob("*.*"):
        if path not in files:
            path.unlink()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
