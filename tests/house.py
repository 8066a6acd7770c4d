"""What every room of this house keeps to: `make check` runs it. Nothing is imported; files are read.

- A folder holds at most 14 files of code (`__init__.py` aside), a file at most 400 lines.
- No module imports itself by way of others, type checking included.
- Within a plane a public type has one name, and the name one type.
- Files of tests outside of packages have different names: pytest imports them as top-level modules.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PLANES: Final = ("serving", "feature_repo", "lifecycle", "operators", "loadtests")
TREES: Final = (*PLANES, "tests")
MOST_FILES: Final = 14
MOST_LINES: Final = 400
_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of a statement that hold statements."""


def files(tree: Path) -> list[Path]:
    """Every file of code below a folder."""
    return sorted(path for path in tree.rglob("*.py") if "__pycache__" not in path.parts)


def crowded(root: Path) -> Iterator[str]:
    """Folders with too many files, and files with too many lines."""
    rooms: dict[Path, int] = defaultdict(int)
    for tree in TREES:
        for path in files(root / tree):
            rooms[path.parent] += path.name != "__init__.py"
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MOST_LINES:
                yield f"{path.relative_to(root)} has {lines} lines, at most {MOST_LINES}: look for the second thing it does"
    for room, count in rooms.items():
        if count > MOST_FILES:
            yield f"{room.relative_to(root)}/ has {count} files of code, at most {MOST_FILES}: make rooms within it"


def module_of(path: Path) -> str:
    """The module's dotted name."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_in(text: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Every import of a module's text, wherever in it. Imports are statements: expressions, which are most of a tree, are not walked."""
    found: list[ast.Import | ast.ImportFrom] = []
    ahead: list[ast.AST] = [ast.parse(text)]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        else:
            ahead += [part for name in _BLOCKS for part in getattr(node, name, ())]
    return tuple(found)


def imports(root: Path) -> dict[str, set[str]]:
    """Modules of the planes, and what each imports of them, wherever in the file it does."""
    paths = {module_of(path.relative_to(root)): path for plane in PLANES for path in files(root / plane)}
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        targets: set[str] = set()
        for node in imports_in(path.read_text(encoding="utf-8")):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    targets.add(whole if whole in paths else node.module)
        found[module] = (targets & paths.keys()) - {module}
    return found


def circles(graph: Mapping[str, set[str]]) -> Iterator[str]:
    """Modules that import one another, by way of others or at once."""
    done: set[str] = set()
    way: list[str] = []

    def visit(module: str) -> Iterator[str]:
        if module in way:
            yield "a circle of imports: " + " -> ".join([*way[way.index(module) :], module])
        elif module not in done:
            way.append(module)
            for target in sorted(graph[module]):
                yield from visit(target)
            way.pop()
            done.add(module)

    for module in graph:
        yield from visit(module)


def named_twice(root: Path) -> Iterator[str]:
    """Public types of a plane that share a name: classes and aliases, programs that run by themselves aside."""
    for plane in PLANES:
        places: dict[str, list[str]] = defaultdict(list)
        for path in files(root / plane):
            if path.is_relative_to(root / "loadtests" / "bench" / "servers"):
                continue
            for name in public_types(ast.parse(path.read_text(encoding="utf-8"))):
                places[name].append(str(path.relative_to(root)))
        for name, where in places.items():
            if len(where) > 1:
                yield f"{name} is a type in {' and '.join(where)}: one name for one thing within a plane"


def public_types(module: ast.Module) -> Iterator[str]:
    """Names of classes and of aliases of types at a module's top."""
    for node in module.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name[0].isupper() and not name.isupper():
                yield name


def files_named_twice(root: Path) -> Iterator[str]:
    """Files of tests that pytest would take for one module."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in files(root / "tests"):
        if path.name.startswith("test_") and not (path.parent / "__init__.py").exists():
            places[path.name].append(str(path.relative_to(root)))
    for where in places.values():
        if len(where) > 1:
            yield f"{' and '.join(where)} have one name: pytest runs one of them only; rename the other"


def faults(root: Path = ROOT) -> list[str]:
    """Everything that is not as it should be, in words."""
    return [*crowded(root), *circles(imports(root)), *named_twice(root), *files_named_twice(root)]


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    found = faults()
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
