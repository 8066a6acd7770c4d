"""The nouns of the cores, made from their docstrings: one line for each public class."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CORES: Final = (
    "serving/ports.py",
    "serving/messages.py",
    "serving/spec.py",
    "serving/scoring",
    "serving/sinks/ports.py",
    "serving/sinks/flow",
    "lifecycle/monitoring/sequential",
    "lifecycle/monitoring/watch",
    "lifecycle/performance",
    "lifecycle/retraining/decide.py",
    "lifecycle/retraining/progress.py",
    "lifecycle/retraining/signals.py",
    "lifecycle/retraining/challenge",
    "operators/ports.py",
    "operators/rollout",
    "operators/autoscaling",
    "operators/capacity",
)


def nouns(root: Path) -> Iterator[tuple[str, str, str]]:
    """Name, what it is (the first sentence of its docstring), and its file; sorted by name within each core."""
    for core in CORES:
        place = root / core
        paths = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        found = [(node.name, first_sentence(node), str(path.relative_to(root))) for path in paths for node in classes(path)]
        yield from sorted(found)


def classes(path: Path) -> list[ast.ClassDef]:
    """Public classes at a module's top."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def first_sentence(node: ast.ClassDef) -> str:
    """Of the class's docstring; empty if there is none."""
    text = " ".join(inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n")[0].split())
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]
