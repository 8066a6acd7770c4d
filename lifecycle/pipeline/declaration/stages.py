"""The stages of a pipeline as values. How they are written is dvc_yaml.py's, how they depend on each other graph.py's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Command = str | tuple[str, ...]
"""As written: one text, whose lines are run one after the other, or several."""


@dataclass(frozen=True, slots=True)
class DeclaredPath:
    """A path as it is written in the file, which is how dvc.lock names it, and where it lies. at: absolute, no `..` in it."""

    written: str
    at: Path


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """An output of a stage. kind: outs, metrics or plots, the section that it stands in."""

    path: DeclaredPath
    kind: str = "outs"
    is_cached: bool = True
    """Its content is kept in the cache (`cache: true`, the default)."""
    is_persistent: bool = False
    """It is not removed before the stage runs (`persist: true`)."""


@dataclass(frozen=True, slots=True)
class ParamsSpec:
    """Parameters of one file. keys: dotted names; empty: the whole file."""

    path: DeclaredPath
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage: commands, what they read, and what they make."""

    name: str
    command: Command
    folder: Path
    """Where its commands run (`wdir`); its paths are relative to it. Absolute."""
    deps: tuple[DeclaredPath, ...] = ()
    params: tuple[ParamsSpec, ...] = ()
    outs: tuple[OutputSpec, ...] = ()
    is_frozen: bool = False
    is_always_changed: bool = False
    description: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """The command lines, in order."""
        return tuple(self.command.splitlines()) if isinstance(self.command, str) else self.command

    @property
    def runs_always(self) -> bool:
        """Nothing says when it has to run again, so it does each time."""
        return not self.is_frozen and (self.is_always_changed or not (self.deps or self.params or self.outs))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one dvc.yaml, by name, in the file's order. folder: where the file lies. root: the DVC project around it."""

    folder: Path
    root: Path
    stages: Mapping[str, StageSpec] = field(default_factory=dict)


def declared(written: str, folder: Path) -> DeclaredPath:
    """A path as written, relative to a folder."""
    return DeclaredPath(written, Path(os.path.normpath(folder / written)))


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is this folder or lies in it."""
    return path == folder or folder in path.parents
