"""The operator's image holds what the operator imports: all of it, and nothing for nothing."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SEEN = "import sys, operators.handlers.main; print(*(n for n in sys.modules if n.startswith(('operators', 'serving'))))"


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


SHARED = "opentelemetry"
"""A namespace of many distributions; tests/unit/test_dependencies.py tells them apart."""


def _imported(module: str) -> Iterator[str]:
    """What a module of ours imports when it is imported itself, by the first part of the name."""
    path = ROOT / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.heavy
def test_what_the_operator_imports_is_what_its_image_is_given():
    ours = subprocess.run([sys.executable, "-c", SEEN], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    distributions = packages_distributions()
    roots = {root for module in ours for root in _imported(module)} - {SHARED}
    used = {_name(d) for root in roots for d in distributions.get(root, ())} - {"vedette"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = {_name(requirement) for requirement in extras["operator"]}
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements" / "operator.txt").read_text(encoding="utf-8"), re.M))
    assert used == {name for name in asked if not name.startswith(f"{SHARED}-")}
    assert asked <= locked
