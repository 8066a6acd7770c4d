"""Which packages the modules of a folder import, wherever in a file they do. Nothing is imported; files are read."""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

OWN = {"serving", "feature_repo", "lifecycle", "operators", "loadtests"}


def modules(root: Path, rooms: tuple[str, ...], left_out: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the modules below rooms such as `operators.api`, without those whose names begin as told."""
    for room in rooms:
        for path in sorted((root / room.replace(".", "/")).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not any(name == out or name.startswith(f"{out}.") for out in left_out):
                yield name, path


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of what a file imports from packages that are neither Python's nor the project's."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] not in OWN | sys.stdlib_module_names)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def lacking(root: Path, rooms: tuple[str, ...], has: set[str], left_out: tuple[str, ...] = ()) -> list[str]:
    """Imports that no package of `has` (names as in requirements files) can answer: `module imports name`."""
    faults = []
    for module, path in modules(root, rooms, left_out):
        for name in sorted(imported(path)):
            candidates = {d.lower().replace("_", "-").replace(".", "-") for d in _distributions().get(name.split(".")[0], [])}
            if not candidates & has:
                faults.append(f"{module} imports {name}")
    return faults
