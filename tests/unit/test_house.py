"""The rules of the house are noticed when they are broken: each on a small house of its own."""

from pathlib import Path

import pytest

from tests import house


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for tree in house.TREES:
        (tmp_path / tree).mkdir()
    return tmp_path


def test_a_small_house_has_no_fault(root: Path):
    (root / "serving" / "app.py").write_text("class App: ...\n")
    assert house.faults(root) == []


def test_a_room_with_too_many_files(root: Path):
    for number in range(15):
        (root / "serving" / f"part_{number}.py").write_text("")
    (fault,) = house.faults(root)
    assert fault.startswith("serving/ has 15 files")


def test_a_file_with_too_many_lines(root: Path):
    (root / "tests" / "test_long.py").write_text("\n" * 401)
    (fault,) = house.faults(root)
    assert fault.startswith("tests/test_long.py has 401 lines")


@pytest.mark.parametrize(
    "back",
    [
        pytest.param("from serving.one import One\n", id="at once"),
        pytest.param("def late():\n    from serving.one import One\n", id="within a function"),
        pytest.param("if TYPE_CHECKING:\n    from serving import one\n", id="for the type checker only"),
    ],
)
def test_a_circle(root: Path, back: str):
    (root / "serving" / "one.py").write_text("from serving.two import two\nclass One: ...\n")
    (root / "serving" / "two.py").write_text(back)
    (fault,) = house.faults(root)
    assert fault == "a circle of imports: serving.one -> serving.two -> serving.one"


def test_one_name_for_two_types_of_a_plane(root: Path):
    (root / "serving" / "one.py").write_text("class Row: ...\n")
    (root / "serving" / "two.py").write_text("Row = dict[str, int]\n")
    (root / "operators" / "three.py").write_text("class Row: ...\n")
    (fault,) = house.faults(root)
    assert fault.startswith("Row is a type in serving/one.py and serving/two.py")


def test_files_of_tests_with_one_name(root: Path):
    for room in ("one", "two", "package"):
        (root / "tests" / room).mkdir()
        (root / "tests" / room / "test_same.py").write_text("")
    (root / "tests" / "package" / "__init__.py").write_text("")
    (fault,) = house.faults(root)
    assert fault.startswith("tests/one/test_same.py and tests/two/test_same.py have one name")
