"""The pictures of the rooms: what they show, and that they are not behind the code."""

import re
from xml.etree import ElementTree

import pytest

from tests.docs.pages import ROOT
from tests.docs.rooms.pages import FOLDER, made
from tests.docs.rooms.picture import WIDTH, svg
from tests.docs.rooms.room import Part, Room, layers, reduced, rooms

MOST_BYTES = 12_000


def room(*names: str, arrows: set[tuple[str, str]]) -> Room:
    return Room("x", "An example.", tuple(Part(name, 1) for name in names), reduced(arrows), (), ())


@pytest.mark.parametrize(
    ("arrows", "left"),
    [
        pytest.param({("a", "b"), ("b", "c"), ("a", "c")}, {("a", "b"), ("b", "c")}, id="what others imply is left out"),
        pytest.param({("a", "b"), ("a", "c")}, {("a", "b"), ("a", "c")}, id="what nothing implies stays"),
        pytest.param(
            {("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")}, {("a", "b"), ("b", "c"), ("c", "d")}, id="over two steps"
        ),
    ],
)
def test_arrows_that_others_imply(arrows: set[tuple[str, str]], left: set[tuple[str, str]]):
    assert reduced(arrows) == left


def test_each_part_stands_above_what_it_imports():
    order = [[part.name for part in layer] for layer in layers(room("a", "b", "c", "d", arrows={("a", "b"), ("b", "c")}))]
    assert order == [["a"], ["b"], ["c", "d"]]


def test_everything_of_a_picture_lies_within_it():
    many = room(
        *(f"a_file_with_a_long_name_{n}" for n in range(14)),
        arrows={("a_file_with_a_long_name_0", "a_file_with_a_long_name_9")},
    )
    picture = ElementTree.fromstring(svg(many))
    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        assert 0 <= float(box.get("x", 0)) <= float(box.get("x", 0)) + float(box.get("width", 0)) <= WIDTH


@pytest.mark.heavy
def test_a_room_names_its_files_its_rooms_and_its_neighbours():
    (audit,) = [found for found in rooms("serving") if found.name == "serving.audit"]
    parts = {part.name: part.files for part in audit.parts}
    assert parts["writer"] == 1
    assert parts["keys"] > 1
    assert "serving.app" in audit.used_by
    assert "serving.scoring" not in audit.uses, "the record of an answer knows nobody who scores"


@pytest.mark.parametrize("plane", ["serving", "lifecycle", "operators"])
def test_the_list_of_rooms_names_every_room_and_every_file_beside_them(plane: str):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(rf"^{plane}/ +.+?(?=^\w)", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    folder = ROOT / plane
    there = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    there |= {path.name for path in folder.glob("*.py") if path.name != "__init__.py"}
    names = [name for name in re.findall(r"\b[a-z_]+(?:/|\.py)", found[0]) if name != f"{plane}/"]
    assert not sorted(there - set(names)), "the list of rooms in docs/architecture.md lacks these"
    inner = {f"{path.parent.name}/" for path in folder.rglob("__init__.py")}
    assert not sorted(set(names) - there - inner), "the list of rooms in docs/architecture.md names these, which are not there"


@pytest.mark.heavy
def test_pages_and_pictures_are_what_the_code_says():
    files = dict(made())
    behind = sorted(path.name for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text)
    gone = sorted(path.name for path in FOLDER.rglob("*.*") if path not in files)
    assert not behind + gone, f"behind the code: {behind + gone}; run: .venv/bin/python -m tests.docs.tables"
    assert not [path.name for path, text in files.items() if path.suffix == ".svg" and len(text) > MOST_BYTES]
