"""How the stages of a pipeline depend on each other, in which order they run, and which pipelines are refused.

Pure, but for links, which are followed. An edge leads from the stage that makes a path to each stage that reads it, or reads something
within or around it."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from lifecycle.pipeline.declaration.dvc_yaml import FILE
from lifecycle.pipeline.declaration.stages import DeclaredPath, Pipeline, StageSpec, is_within
from lifecycle.pipeline.errors import PipelineFileError

LOCK: Final = "dvc.lock"


@dataclass(frozen=True, slots=True)
class StageGraph:
    """before: for each stage the stages that make what it reads; a frozen stage waits for none. order: every stage after those.

    sources: dependencies that no stage makes, which come from outside: data, definitions, programs."""

    before: Mapping[str, frozenset[str]]
    order: tuple[str, ...]
    sources: Mapping[str, tuple[DeclaredPath, ...]]

    def needed_for(self, targets: Collection[str]) -> tuple[str, ...]:
        """These stages and all that they depend on, in order; every stage for none. Raises PipelineFileError for an unknown one."""
        if unknown := sorted(set(targets) - self.before.keys()):
            raise PipelineFileError(f"there is no stage {', '.join(unknown)}; there are: {', '.join(self.order) or 'none'}")
        wanted, waiting = set(targets), list(targets)
        while waiting:
            for earlier in self.before[waiting.pop()] - wanted:
                wanted.add(earlier)
                waiting.append(earlier)
        return tuple(name for name in self.order if name in wanted or not targets)


@dataclass(frozen=True, slots=True)
class OutputMakers:
    """Which stage makes which path. within: the stages that make something in a folder."""

    of: Mapping[Path, str]
    within: Mapping[Path, frozenset[str]]

    @classmethod
    def known(cls, pipeline: Pipeline) -> "OutputMakers":
        """Those of a pipeline. Raises PipelineFileError for outputs that cannot be."""
        of = _checked_outputs(pipeline)
        within: dict[Path, set[str]] = defaultdict(set)
        for path, name in of.items():
            for folder in path.parents:
                within[folder].add(name)
        return cls(of, {folder: frozenset(names) for folder, names in within.items()})

    def making(self, path: Path) -> frozenset[str]:
        """The stages whose outputs are this path, lie within it or around it."""
        return frozenset(self.of[place] for place in (path, *path.parents) if place in self.of) | self.within.get(
            path, frozenset()
        )


def graph_of(pipeline: Pipeline) -> StageGraph:
    """The graph. Raises PipelineFileError for a pipeline that cannot be run: where and why, and the way out."""
    makers = OutputMakers.known(pipeline)
    every = {name: _makers_of(stage, makers, pipeline) for name, stage in pipeline.stages.items()}
    before = {name: frozenset() if pipeline.stages[name].is_frozen else makers for name, makers in every.items()}
    sources = {name: tuple(dep for dep in stage.deps if not makers.making(dep.at)) for name, stage in pipeline.stages.items()}
    return StageGraph(before, _order(before), sources)


def _checked_outputs(pipeline: Pipeline) -> dict[Path, str]:
    """Which stage makes which path; outputs that cannot be are refused."""
    makers: dict[Path, str] = {}
    where = pipeline.folder / FILE
    for name, stage in pipeline.stages.items():
        for out in stage.outs:
            path, written = out.path.at, out.path.written
            _check_place(f"{where}: stage {name}: output {written}", path, pipeline)
            if path in makers:
                raise PipelineFileError(
                    f"{where}: {written} is an output of stage {makers[path]} and of {name}; one stage makes a file"
                )
            makers[path] = name
    for path, name in makers.items():
        for place in path.parents:
            if place in makers:
                raise PipelineFileError(
                    f"{where}: output {path} of stage {name} lies within {place}, an output of {makers[place]}; name only one of them"
                )
    return makers


def _check_place(what: str, path: Path, pipeline: Pipeline) -> None:
    root = pipeline.root
    if not is_within(path, root) or path == root:
        raise PipelineFileError(f"{what}: lies outside of the project {root}; outputs are kept within it")
    real = Path(os.path.realpath(path.parent))
    if not is_within(real, Path(os.path.realpath(root))):
        raise PipelineFileError(
            f"{what}: lies behind a link that leads out of the project, to {real}; outputs are kept within it"
        )
    for name in (FILE, LOCK, ".dvc", ".git"):
        for folder in {pipeline.folder, root}:
            if is_within(folder / name, path) or is_within(path, folder / name):
                raise PipelineFileError(
                    f"{what}: holds {folder / name}, which no stage may replace; give the output a folder of its own"
                )


def _makers_of(stage: StageSpec, makers: OutputMakers, pipeline: Pipeline) -> frozenset[str]:
    where = f"{pipeline.folder / FILE}: stage {stage.name}"
    _check_once(stage, where)
    found: set[str] = set()
    for path in (*(dep for dep in stage.deps), *(spec.path for spec in stage.params)):
        if is_within(pipeline.folder / LOCK, path.at):
            raise PipelineFileError(
                f"{where}: dependency {path.written} holds {LOCK}, which changes with each run; name the files and folders that it reads"
            )
        by = makers.making(path.at)
        if stage.name in by:
            raise PipelineFileError(
                f"{where}: dependency {path.written} is, holds or lies within an output of the same stage, which cannot read what it makes"
            )
        found |= by
    return frozenset(found)


def _check_once(stage: StageSpec, where: str) -> None:
    seen: set[Path] = set()
    for path in stage.deps:
        if path.at in seen:
            raise PipelineFileError(f"{where}: dependency {path.written} stands twice")
        seen.add(path.at)


def _order(before: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    sorter = TopologicalSorter(before)
    try:
        sorter.prepare()
    except CycleError as problem:
        circle = " -> ".join(problem.args[1])
        raise PipelineFileError(
            f"the stages wait for each other in a circle: {circle}; take one of the dependencies away"
        ) from None
    place = {name: number for number, name in enumerate(before)}
    order: list[str] = []
    while sorter.is_active():
        for name in sorted(sorter.get_ready(), key=place.__getitem__):
            order.append(name)
            sorter.done(name)
    return tuple(order)
