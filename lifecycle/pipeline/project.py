"""One project on disk: its dvc.yaml, dvc.lock and DVC folder, and what was found of each stage.

Looking changes nothing but the memory of hashes. Running is running/'s."""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.changes import StageChange, StageFiles, changes_of
from lifecycle.pipeline.content.cache import OutputCache
from lifecycle.pipeline.content.digests import ContentDigest, Hasher, HashProgress
from lifecycle.pipeline.content.hash_memory import HashMemory
from lifecycle.pipeline.content.lock_file import LockEntry, LockFile
from lifecycle.pipeline.declaration.dvc_yaml import read_pipeline
from lifecycle.pipeline.declaration.graph import LOCK, StageGraph, graph_of
from lifecycle.pipeline.declaration.params import chosen_params
from lifecycle.pipeline.declaration.stages import Pipeline, StageSpec
from lifecycle.pipeline.errors import PipelineFileError

DVC: Final = ".dvc"
_IGNORED: Final = ".dvcignore"


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage as it stands. after: stages before it that have something to run, so that it may change yet."""

    stage: StageSpec
    entry: LockEntry | None
    found: StageFiles
    changes: tuple[StageChange, ...]
    after: tuple[str, ...] = ()

    @property
    def is_up_to_date(self) -> bool:
        """Nothing of it changed, and nothing that it waits for did."""
        return not self.changes and not self.after


class Project:
    """The project of a folder with a dvc.yaml."""

    def __init__(self, folder: Path, progress: HashProgress = lambda path, count: None) -> None:
        """Read its files. Raises PipelineFileError."""
        self.folder = Path(os.path.abspath(folder))
        self.root = self.root_of(folder)
        _refuse_ignored(self.root, self.folder)
        self.pipeline: Pipeline = read_pipeline(self.folder, self.root)
        self.graph: StageGraph = graph_of(self.pipeline)
        self.lock = LockFile.read(self.folder / LOCK)
        self.cache = OutputCache(_cache_folder(self.root / DVC))
        self.memory = HashMemory(self.scratch / "hashes.db")
        self.hasher = Hasher(self.memory, progress)

    @staticmethod
    def root_of(folder: Path) -> Path:
        """The DVC project around a folder; the folder itself where there is none."""
        whole = Path(os.path.abspath(folder))
        return next((place for place in (whole, *whole.parents) if (place / DVC).is_dir()), whole)

    @property
    def scratch(self) -> Path:
        """Where a run keeps what is of this machine."""
        return scratch_folder(self.root / DVC)

    def look(self, name: str) -> StageState:
        """One stage as it stands, by itself. Raises ContentError, PipelineFileError."""
        stage, entry = self.pipeline.stages[name], self.lock.entry(name)
        deps = {} if stage.is_frozen else {dep.written: self.hasher.digest(dep.at) for dep in stage.deps}
        params = {} if stage.is_frozen else self.params(stage)
        outs = {out.path.written: self.hasher.output_digest(out.path.at) for out in stage.outs}
        recorded: Mapping[str, ContentDigest] = {} if entry is None else entry.outs
        kept = frozenset(path for path, digest in recorded.items() if self.cache.keeps(digest))
        found = StageFiles(deps, params, outs, kept)
        return StageState(stage, entry, found, changes_of(stage, entry, found))

    def look_at_all(self, targets: tuple[str, ...] = ()) -> list[StageState]:
        """Each stage that is asked for and those before it, in order. Raises ContentError, PipelineFileError."""
        states: list[StageState] = []
        waiting: set[str] = set()
        for name in self.graph.needed_for(targets):
            state = self.look(name)
            after = () if state.stage.is_frozen else tuple(sorted(self.graph.before[name] & waiting))
            states.append(StageState(state.stage, state.entry, state.found, state.changes, after))
            if not states[-1].is_up_to_date:
                waiting.add(name)
        return states

    def params(self, stage: StageSpec) -> dict[str, Mapping[str, Any] | None]:
        """The parameters of a stage by file; None for a file that is not there. Raises PipelineFileError."""
        return {spec.path.written: chosen_params(spec) if spec.path.at.exists() else None for spec in stage.params}

    def close(self) -> None:
        """Write down which hashes were learnt."""
        self.memory.close()


def changed_sources(project: Project, states: list[StageState]) -> dict[str, str]:
    """Dependencies that no stage makes and that are not as dvc.lock says: path -> how they changed."""
    found: dict[str, str] = {}
    for state in states:
        recorded = {} if state.entry is None else state.entry.deps
        for dep in () if state.stage.is_frozen else project.graph.sources[state.stage.name]:
            now = state.found.deps[dep.written]
            before = recorded.get(dep.written)
            if now is None or before is None or now.md5 != before.md5:
                found[str(dep.at)] = "missing" if now is None else "new" if before is None else "modified"
    return found


def scratch_folder(dvc: Path) -> Path:
    """Where a project keeps what is of this machine. dvc: its DVC folder."""
    return dvc / "tmp" / "vedette"


def _refuse_ignored(*folders: Path) -> None:
    for folder in dict.fromkeys(folders):
        path = folder / _IGNORED
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if patterns := [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]:
            raise PipelineFileError(
                f"{path}: patterns such as {patterns[0]!r} are not understood, so digests would differ from DVC's; remove them"
            )


def _cache_folder(dvc: Path) -> Path:
    """`cache.dir` of DVC's configuration of the project, which is relative to its folder; else DVC's own place."""
    found = dvc / "cache"
    for name in ("config", "config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(dvc / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as problem:
            raise PipelineFileError(f"{dvc / name}: cannot be read: {problem}") from problem
        if parser.has_option("cache", "dir"):
            found = dvc / parser.get("cache", "dir")
    return found
