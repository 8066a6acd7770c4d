"""Modules that docstrings, comments and pages name are there."""

import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name

PLANES = ("serving", "operators", "lifecycle", "loadtests", "feature_repo")
NAMED = re.compile(r"(?<![\w./@\-\"'])(?:" + "|".join(PLANES) + r")(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"(?<![\w./*-])[a-z_]\w*\.py\b")
ELSEWHERE = {
    "serving.kserve.io",  # an API group of KServe's
    "feature_repo.module",  # a placeholder
    "serving.pod",  # a former module that a decision tells of
}
"""Names that look like a module of ours and are not one."""
FILES_ELSEWHERE = {"grpc_predict_v2_pb2.py", "a.py", "b.py"}
"""Files of other packages, and of an example."""


@cache
def is_there(dotted: str) -> bool:
    """Whether a dotted name leads to a room, a module, or a word within a module."""
    at, parts = ROOT, dotted.split(".")
    for index, part in enumerate(parts):
        if (at / part).is_dir():
            at /= part
            continue
        module = at / f"{part}.py"
        rest = parts[index + 1 :]
        if not module.is_file():
            module, rest = at / "__init__.py", parts[index:]
        if not module.is_file():
            return False
        text = module.read_text(encoding="utf-8")
        return all(re.search(rf"\b{word}\b", text) for word in rest)
    return True


def gone(path: Path) -> list[str]:
    """Names in this file that lead nowhere."""
    named = set(NAMED.findall(path.read_text(encoding="utf-8"))) - ELSEWHERE
    return sorted(dotted for dotted in named if not is_there(dotted))


@pytest.mark.heavy
@pytest.mark.parametrize("plane", PLANES)
def test_modules_named_in_code_exist(plane):
    files = [p for p in (ROOT / plane).rglob("*.py") if "__pycache__" not in p.parts]
    assert not {str(p.relative_to(ROOT)): names for p in files if (names := gone(p))}


@cache
def files_there() -> frozenset[str]:
    """Names of all files of code, without their folders."""
    return frozenset(path.name for tree in (*PLANES, "tests") for path in (ROOT / tree).rglob("*.py"))


def files_gone(path: Path) -> list[str]:
    """Bare names of files in the docstrings and comments of this file that no file has."""
    return sorted(set(FILE.findall(_prose(path))) - files_there() - FILES_ELSEWHERE)


def _prose(path: Path) -> str:
    with path.open("rb") as source:
        tokens = tokenize.tokenize(source.readline)
        return "\n".join(
            t.string for t in tokens if t.type == tokenize.COMMENT or (t.type == tokenize.STRING and '"""' in t.string[:5])
        )


@pytest.mark.heavy
@pytest.mark.parametrize("plane", PLANES)
def test_files_named_in_docstrings_exist(plane):
    files = [p for p in (ROOT / plane).rglob("*.py") if "__pycache__" not in p.parts]
    assert not {str(p.relative_to(ROOT)): names for p in files if (names := files_gone(p))}


def test_a_file_that_a_docstring_names_and_nobody_has_is_found(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""See harness.py and scorer.py."""\nname = "nowhere.py"  # as in nothing.py\n', encoding="utf-8")
    assert files_gone(module) == ["harness.py", "nothing.py"]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=name)
def test_modules_named_on_pages_exist(page):
    assert not gone(page)


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        pytest.param("serving.doors", True, id="a room"),
        pytest.param("serving.scoring.scorer.Scorer", True, id="a class of a module"),
        pytest.param("serving.scoring.gone", False, id="a module that is not there"),
        pytest.param("serving.scoring.scorer.Gone", False, id="a class that is not there"),
    ],
)
def test_names_are_looked_up(dotted, expected):
    assert is_there(dotted) is expected
