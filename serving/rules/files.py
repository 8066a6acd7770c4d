"""Which files of a folder are rules. All callers that check, try, bundle or train with rules use this one function."""

from pathlib import Path
from typing import Final

SUFFIXES: Final = (".yml", ".yaml")


def find_rule_files(path: Path) -> dict[str, bytes]:
    """The rule files of a folder and of the folders in it, or the one file: relative path -> content, in order.

    Hidden files and folders (`.git`) are left out. `rules.yaml` of the folder itself holds threshold rules; every other is SIGMA's.
    Raises OSError."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    found = {p.relative_to(path): p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()}
    names = {
        relative.as_posix(): p for relative, p in found.items() if not any(part.startswith(".") for part in relative.parts)
    }
    return {name: names[name].read_bytes() for name in sorted(names)}
