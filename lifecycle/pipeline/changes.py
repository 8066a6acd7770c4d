"""What of a stage changed since it was last run. Pure: it compares what dvc.lock says with what was found."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lifecycle.pipeline.content.digests import ContentDigest
from lifecycle.pipeline.content.lock_file import LockEntry
from lifecycle.pipeline.declaration.stages import StageSpec


class ChangedThing(StrEnum):
    """What a change is of."""

    STAGE = "stage"
    COMMAND = "command"
    DEPENDENCY = "dependency"
    PARAMETER = "parameter"
    OUTPUT = "output"


class HowChanged(StrEnum):
    """In which way it changed."""

    NEVER_RUN = "never run"
    ALWAYS = "runs always"
    MODIFIED = "modified"
    NEW = "new"
    MISSING = "missing"
    NOT_KEPT = "not in the cache"


@dataclass(frozen=True, slots=True)
class StageChange:
    """One thing that is not as dvc.lock says. subject: the path or the parameter's name; empty for the stage itself."""

    of: ChangedThing
    how: HowChanged
    subject: str = ""

    def __str__(self) -> str:
        if self.of is ChangedThing.STAGE:
            return self.how.value
        return f"{self.of.value} {self.subject} {self.how.value}" if self.subject else f"{self.of.value} {self.how.value}"


@dataclass(frozen=True, slots=True)
class StageFiles:
    """What was found of a stage. Paths as dvc.yaml writes them; None: nothing lies there.

    kept: outputs whose content, as dvc.lock has it, is in the cache."""

    deps: Mapping[str, ContentDigest | None]
    params: Mapping[str, Mapping[str, Any] | None]
    outs: Mapping[str, ContentDigest | None] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()


def changes_of(stage: StageSpec, entry: LockEntry | None, found: StageFiles) -> tuple[StageChange, ...]:
    """Everything that changed; nothing for a stage that is up to date. Of a frozen stage only its command and outputs count."""
    if entry is None:
        return (StageChange(ChangedThing.STAGE, HowChanged.NEVER_RUN),)
    changes: list[StageChange] = []
    if stage.runs_always:
        changes.append(StageChange(ChangedThing.STAGE, HowChanged.ALWAYS))
    if entry.command != stage.command:
        changes.append(StageChange(ChangedThing.COMMAND, HowChanged.MODIFIED))
    if not stage.is_frozen:
        changes += _of_paths(ChangedThing.DEPENDENCY, entry.deps, found.deps)
        for spec in stage.params:
            written = spec.path.written
            changes += _of_params(written, spec.keys, entry.params.get(written), found.params.get(written))
    changes += _of_paths(ChangedThing.OUTPUT, entry.outs, found.outs)
    changed = {change.subject for change in changes if change.of is ChangedThing.OUTPUT}
    for out in stage.outs:
        if out.is_cached and out.path.written not in changed | found.kept:
            changes.append(StageChange(ChangedThing.OUTPUT, HowChanged.NOT_KEPT, out.path.written))
    return tuple(changes)


def inputs_changed(changes: tuple[StageChange, ...]) -> bool:
    """Whether something that the outputs are made of changed, so that those of dvc.lock are not the right ones."""
    return any(change.of is not ChangedThing.OUTPUT for change in changes)


def _of_paths(
    thing: ChangedThing, recorded: Mapping[str, ContentDigest], found: Mapping[str, ContentDigest | None]
) -> Iterator[StageChange]:
    for path, digest in found.items():
        if digest is None:
            yield StageChange(thing, HowChanged.MISSING, path)
        elif path not in recorded:
            yield StageChange(thing, HowChanged.NEW, path)
        elif recorded[path].md5 != digest.md5:
            yield StageChange(thing, HowChanged.MODIFIED, path)


def _of_params(
    file: str, keys: tuple[str, ...], recorded: Mapping[str, Any] | None, found: Mapping[str, Any] | None
) -> Iterator[StageChange]:
    if found is None:
        yield StageChange(ChangedThing.PARAMETER, HowChanged.MISSING, file)
        return
    before = recorded or {}
    for key in keys or dict.fromkeys((*found, *before)):
        name = f"{file}:{key}"
        if key not in found:
            yield StageChange(ChangedThing.PARAMETER, HowChanged.MISSING, name)
        elif key not in before:
            yield StageChange(ChangedThing.PARAMETER, HowChanged.NEW, name)
        elif not _same(before[key], found[key]):
            yield StageChange(ChangedThing.PARAMETER, HowChanged.MODIFIED, name)


def _same(before: Any, after: Any) -> bool:
    return bool(before == after)
