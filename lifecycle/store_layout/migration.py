"""What a migration is: steps that may be done again. Core of the room; `run` carries them out.

A step that was begun and not noted is done once more after a crash, so each has to lead to the same result from wherever it was cut off.
Chained logs are never touched: their records are hashed and signed as they lie."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from serving.files.folder_sync import sync_folder
from serving.store_layout import StoreLayoutError, replace_file

CHAINED: Final = ("audit", "governance", "labels", "archive")
"""Folders of a store whose files are hashed and signed. No step names them."""


class Step(Protocol):
    """One step. Its places are paths within the store."""

    @property
    def places(self) -> tuple[str, ...]:
        """What it touches."""
        ...

    def words(self) -> str:
        """What it does, for people."""
        ...

    def run(self, store: Path, reached: Callable[[str], None]) -> None:
        """Do it. Doing it again changes nothing. reached: told of each moment between two writes. Raises OSError, StoreLayoutError."""
        ...


@dataclass(frozen=True, slots=True)
class MovePath:
    """Rename a file or folder within the store. What is not there is not moved."""

    source: str
    target: str

    @property
    def places(self) -> tuple[str, ...]:
        """See Step."""
        return (self.source, self.target)

    def words(self) -> str:
        """See Step."""
        return f"move {self.source} to {self.target}"

    def run(self, store: Path, reached: Callable[[str], None]) -> None:
        """See Step."""
        source, target = store / self.source, store / self.target
        if not source.exists():
            return
        if target.exists():
            raise StoreLayoutError(f"{target} is there already, and {source} too; look at both and move one of them away")
        target.parent.mkdir(parents=True, exist_ok=True)
        reached("folder made")
        source.rename(target)
        reached("moved")
        sync_folder(target.parent)


@dataclass(frozen=True, slots=True)
class RewriteJson:
    """Rewrite JSON documents, each in one step. change: a function of a document to the new one; of the new one to itself."""

    pattern: str
    change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    does: str

    @property
    def places(self) -> tuple[str, ...]:
        """See Step."""
        return (self.pattern,)

    def words(self) -> str:
        """See Step."""
        return f"rewrite {self.pattern}: {self.does}"

    def run(self, store: Path, reached: Callable[[str], None]) -> None:
        """See Step."""
        for path in sorted(store.glob(self.pattern)):
            try:
                before = json.loads(path.read_bytes())
            except ValueError as problem:
                raise StoreLayoutError(
                    f"{path} is no JSON ({problem}); repair it or move it away, then migrate again"
                ) from problem
            after = dict(self.change(before))
            if after != before:
                replace_file(path, json.dumps(after).encode() + b"\n")
            reached(f"rewrote {path.name}")


@dataclass(frozen=True, slots=True)
class Migration:
    """From one layout to the next. why: for people. steps may be none: then only the number is written."""

    source: int
    why: str
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        for step in self.steps:
            for place in step.places:
                path = PurePosixPath(place)
                if path.is_absolute() or ".." in path.parts or path.parts[0] in CHAINED or "*" in path.parts[0]:
                    raise ValueError(
                        f"a step of the migration from layout {self.source} names {place!r}, which it must not touch"
                    )

    @property
    def target(self) -> int:
        """The layout that it leads to."""
        return self.source + 1

    @property
    def is_safe(self) -> bool:
        """Whether an older version can still use the store after it, so that nobody has to be asked."""
        return not self.steps


MIGRATIONS: Final = (Migration(0, "the store says which layout it has; nothing else changes"),)
"""All there are, from layout 0 on."""
