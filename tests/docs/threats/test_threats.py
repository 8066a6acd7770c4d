"""The threat model: every threat names tests that exist."""

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "threats.md"
KINDS = "STRIDE"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| [A-Z] \| ", line)
]


@cache
def written_in(path: str) -> frozenset[str]:
    """The names of the tests of a file, in classes too; none where there is no file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return frozenset(
        n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name.startswith("test_")
    )


def missing(cell: str) -> list[str]:
    """Which of a row's tests do not exist; a row without any misses one."""
    named = re.findall(r"`(tests/[^`:]+)::(\w+)`", cell)
    return [f"{path}::{name}" for path, name in named if name not in written_in(path)] if named else ["a test"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_a_threat_names_tests_that_exist(row):
    kind, threat, holds, *_, shown = row

    assert kind in KINDS
    assert threat
    assert holds
    assert not missing(shown)


def test_every_room_and_every_kind_of_threat_is_there():
    text = PAGE.read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert {kind for kind, *_ in ROWS} == set(KINDS)
    assert all(len(row) == 5 for row in ROWS)
    assert len(ROWS) == len(re.findall(r"^\| [A-Z] ", text, re.MULTILINE))
    assert len(sections) >= 9


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param("", id="none is named"),
        pytest.param("`tests/docs/threats/test_threats.py::test_that_nobody_wrote`", id="it is not in the file"),
        pytest.param("`tests/docs/test_nothing.py::test_missing`", id="there is no such file"),
        pytest.param("`tests/docs/threats/test_threats.py::missing`", id="it is no test"),
    ],
)
def test_a_row_that_shows_nothing_is_found(cell):
    assert missing(cell)
