"""Of an environment, only the packages that a requirements file locks: what an image would have, without installing it."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker


def locked(requirements: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each package that the file locks for this Python."""
    text = requirements.read_text(encoding="utf-8")
    for name, version, marker in re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==([^ ]+)(?: ; (.*))? \\$", text, re.MULTILINE):
        if not marker or Marker(marker).evaluate():
            yield name, version


def link_locked(requirements: Path, environment: Path, seen_as: Path | None = None) -> None:
    """Fill an environment's site-packages, or a bare folder, with links. seen_as: where this environment's site-packages will be seen."""
    site = next(environment.glob("lib/python3.*/site-packages"), environment)
    for name, _ in locked(requirements):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            link = site / top
            if not link.exists() and not link.is_symlink():
                link.symlink_to(seen_as / top if seen_as else distribution.locate_file(top))
