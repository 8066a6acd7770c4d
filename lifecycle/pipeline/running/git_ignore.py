"""Keeps outputs that are in the cache out of Git, as DVC does: a line in the `.gitignore` beside each."""

import subprocess
from pathlib import Path
from typing import Final

from lifecycle.pipeline.declaration.stages import StageSpec

_NOT_IGNORED: Final = 1


def ignore_outputs(stage: StageSpec) -> None:
    """Add the cached outputs of a stage to `.gitignore` where Git is used and would take them. Raises OSError."""
    for out in stage.outs:
        path = out.path.at
        if out.is_cached and any((place / ".git").exists() for place in path.parents) and _is_free(path):
            ignored = path.parent / ".gitignore"
            text = ignored.read_text(encoding="utf-8") if ignored.exists() else ""
            separator = "" if not text or text.endswith("\n") else "\n"
            ignored.write_text(f"{text}{separator}/{_escaped(path.name)}\n", encoding="utf-8")


def _is_free(path: Path) -> bool:
    """Whether Git says that it does not ignore this path."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(path.parent), "check-ignore", "-q", "--", str(path)], capture_output=True, check=False
        )
    except OSError:
        return False
    return asked.returncode == _NOT_IGNORED


def _escaped(name: str) -> str:
    return "".join(f"\\{c}" if c in "\\*?[]" else c for c in name)
