"""Whether a legal hold is in force on a log. If so, no segment is removed by count. Governance decides which records are held."""

from pathlib import Path


def hold_file(folder: Path, name: str) -> Path:
    """The file that says that a hold is in force."""
    return folder / "holds" / f"{name}.json"


def is_held(folder: Path) -> bool:
    """Whether any hold is in force on the log of this folder."""
    return any((folder / "holds").glob("*.json"))
