"""One run of a pipeline: its stages in order, each looked at when those before it are done, and run only if something of it changed.

A stage's entry is written to dvc.lock when it has ended well and its outputs are kept, one stage at a time. Whatever happens before leaves
the old entry, so the stage runs again."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.changes import HowChanged, StageChange, StageFiles, inputs_changed
from lifecycle.pipeline.content.digests import UNREADABLE, ContentDigest, PathContent
from lifecycle.pipeline.content.lock_file import LockEntry
from lifecycle.pipeline.content.run_cache import RunCache, remembers
from lifecycle.pipeline.declaration.stages import OutputSpec, StageSpec
from lifecycle.pipeline.errors import ContentError, PipelineError, StageError, StageStopped
from lifecycle.pipeline.project import Project, StageState
from lifecycle.pipeline.running.commands import run_commands, stopped_by_signals
from lifecycle.pipeline.running.git_ignore import ignore_outputs
from lifecycle.pipeline.running.run_lock import RunLock
from lifecycle.pipeline.running.workspace import StageWorkspace

RUN_VARIABLE: Final = "VEDETTE_PIPELINE_RUN"


class StageOutcome(StrEnum):
    """What became of a stage in a run."""

    UNCHANGED = "unchanged"
    RAN = "ran"
    RESTORED = "restored"
    KEPT = "kept"
    FROZEN = "frozen"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage of a run. entry: what dvc.lock says of it now. words: why it failed."""

    name: str
    outcome: StageOutcome
    changes: tuple[StageChange, ...] = ()
    entry: LockEntry | None = None
    seconds: float = 0.0
    words: str = ""


@dataclass(slots=True)
class PipelineRun:
    """What a run came to. problem: why it stopped; None: it went through."""

    id: str
    """Given to the commands as VEDETTE_PIPELINE_RUN, so that what they put on record can be found."""
    results: list[StageResult] = field(default_factory=list)
    not_reached: tuple[str, ...] = ()
    problem: PipelineError | OSError | None = None

    @property
    def changed_something(self) -> bool:
        """Whether anything was run, restored or taken as it is, or failed."""
        return any(result.outcome is not StageOutcome.UNCHANGED for result in self.results)


StageStarted = Callable[[StageState], None]
"""Is told of each stage before something is done for it."""


def run_pipeline(
    project: Project,
    lock: RunLock,
    targets: tuple[str, ...] = (),
    *,
    is_forced: bool = False,
    started: StageStarted = lambda state: None,
) -> PipelineRun:
    """Run what has to be run, up to the first stage that fails. targets: stages; none: all. is_forced: run each, changed or not.

    Raises PipelineFileError for an unknown target."""
    run = PipelineRun(uuid.uuid4().hex)
    names = project.graph.needed_for(targets)
    for number, name in enumerate(names):
        began, state = time.monotonic(), None
        try:
            with stopped_by_signals():
                state = project.look(name)
                result = _StageRun(project, lock, state, run.id, is_forced=is_forced).advance(started)
            run.results.append(_timed(result, time.monotonic() - began))
        except (PipelineError, OSError) as problem:
            outcome = StageOutcome.STOPPED if isinstance(problem, StageStopped) else StageOutcome.FAILED
            changes = () if state is None else state.changes
            run.results.append(StageResult(name, outcome, changes, None, time.monotonic() - began, str(problem)))
            run.problem, run.not_reached = problem, names[number + 1 :]
            break
    project.memory.keep()
    return run


def _timed(result: StageResult, seconds: float) -> StageResult:
    return StageResult(result.name, result.outcome, result.changes, result.entry, seconds, result.words)


@dataclass(slots=True)
class _StageRun:
    """One stage's part of a run."""

    project: Project
    lock: RunLock
    state: StageState
    run_id: str
    is_forced: bool

    @property
    def stage(self) -> StageSpec:
        return self.state.stage

    def advance(self, started: StageStarted) -> StageResult:
        """Do what has to be done for the stage. Raises PipelineError, OSError."""
        if not self.state.changes and not (self.is_forced and not self.stage.is_frozen):
            return self._result(StageOutcome.UNCHANGED, self.state.entry)
        started(self.state)
        if self.stage.is_frozen:
            return self._taken_as_it_is()
        self._require_inputs()
        if not self.is_forced:
            for way in (self._kept_again, self._as_recorded, self._as_before):
                if (result := way()) is not None:
                    return result
        return self._ran()

    def _kept_again(self) -> StageResult | None:
        """Everything is as dvc.lock says, only the cache lacks it."""
        entry = self.state.entry
        if entry is None or not all(change.how is HowChanged.NOT_KEPT for change in self.state.changes):
            return None
        self._keep(self._contents())
        return self._result(StageOutcome.KEPT, entry)

    def _as_recorded(self) -> StageResult | None:
        """Only outputs changed, and the cache has those of dvc.lock."""
        entry = self.state.entry
        if entry is None or inputs_changed(self.state.changes) or self.stage.runs_always:
            return None
        wanted = {out.path.written: entry.outs.get(out.path.written) for out in self.stage.outs}
        return self._restored(entry, wanted)

    def _as_before(self) -> StageResult | None:
        """The stage was run with these inputs before, and the cache has what it made."""
        if not remembers(self.stage):
            return None
        found = RunCache(self.project.cache).find(self._entry({out.path.written: UNREADABLE for out in self.stage.outs}))
        if found is None:
            return None
        entry = self._entry(found.outs)
        return self._restored(entry, dict(found.outs), is_new=True)

    def _restored(
        self, entry: LockEntry, wanted: Mapping[str, ContentDigest | None], *, is_new: bool = False
    ) -> StageResult | None:
        outs = self.stage.outs
        lacking = [out for out in outs if not _is_there(self.state.found, out, wanted)]
        digests = [wanted.get(out.path.written) for out in lacking]
        if any(out.is_persistent for out in lacking) or not all(d is not None and self.project.cache.keeps(d) for d in digests):
            return None
        workspace = self._workspace()
        self.lock.tell(self.stage.name)
        for out, digest in zip(lacking, digests, strict=True):
            workspace.clear_one(out, self.state.found.outs.get(out.path.written))
            if digest is None or not self.project.cache.restore(digest, out.path.at):
                return None  # the cache was damaged: the stage runs
        contents = self._contents()
        self._keep(contents)
        if is_new:
            self.project.lock.put(self.stage.name, entry)
        workspace.done()
        return self._result(StageOutcome.RESTORED, entry)

    def _ran(self) -> StageResult:
        """Run the commands, and take what they made."""
        stage, workspace = self.stage, self._workspace()
        self.lock.tell(stage.name)
        workspace.clear(dict(self.state.found.outs))
        try:
            variables = {"DVC_ROOT": str(self.project.root), "DVC_STAGE": stage.name, RUN_VARIABLE: self.run_id}
            run_commands(stage.name, stage.commands, stage.folder, variables, lambda group: self.lock.tell(stage.name, group))
            self.lock.tell(stage.name)
            self._require_same_inputs()
            contents = self._contents()
        except PipelineError as problem:
            raise _with_way_back(problem, workspace.set_aside) from problem
        entry = self._entry({path: content.digest for path, content in contents.items()})
        self._keep(contents)
        if remembers(stage):
            RunCache(self.project.cache).remember(entry)
        self.project.lock.put(stage.name, entry)
        workspace.done()
        return self._result(StageOutcome.RAN, entry)

    def _taken_as_it_is(self) -> StageResult:
        """A frozen stage is not run: its outputs count as they are."""
        contents = self._contents()
        self._keep(contents)
        deps = {dep.written: self.project.hasher.digest(dep.at) for dep in self.stage.deps}
        found = StageFiles(deps, self.project.params(self.stage))
        entry = self._entry({path: content.digest for path, content in contents.items()}, found)
        self.project.lock.put(self.stage.name, entry)
        return self._result(StageOutcome.FROZEN, entry)

    def _require_inputs(self) -> None:
        """Raises StageError for a folder, dependency or parameter that is not there."""
        if not self.stage.folder.is_dir():
            raise StageError(f"stage {self.stage.name}: {self.stage.folder} is no folder; wdir names where the commands run")
        for path, digest in self.state.found.deps.items():
            if digest is None:
                raise StageError(f"stage {self.stage.name}: dependency {path} is not there; {self._hint(path)}")
        for spec in self.stage.params:
            values = self.state.found.params.get(spec.path.written)
            lacking = spec.keys if values is None else tuple(key for key in spec.keys if key not in values)
            if values is None or lacking:
                raise StageError(
                    f"stage {self.stage.name}: {spec.path.written} has no {', '.join(lacking) or 'content'}; add it, or mend `params`"
                )

    def _hint(self, path: str) -> str:
        at = next(dep.at for dep in self.stage.deps if dep.written == path)
        if at.with_name(f"{at.name}.dvc").is_file():
            return f"{at.name}.dvc says that DVC tracks it: `dvc pull {path}`"
        return "put it there, or mend `deps`"

    def _require_same_inputs(self) -> None:
        """Raises StageError if a dependency or parameter changed while the commands ran."""
        for dep in self.stage.deps:
            before, after = self.state.found.deps[dep.written], self.project.hasher.digest(dep.at)
            if before is None or after is None or before.md5 != after.md5:
                raise StageError(
                    f"stage {self.stage.name}: dependency {dep.written} changed while the stage ran, so it is not known what its "
                    "outputs were made from; a stage may not write to what it reads, and data must stay as it is while stages run"
                )
        if self.project.params(self.stage) != dict(self.state.found.params):
            raise StageError(f"stage {self.stage.name}: its parameters changed while it ran; run again")

    def _contents(self) -> dict[str, PathContent]:
        """What the stage made. Raises StageError for an output that is not there."""
        found: dict[str, PathContent] = {}
        for out in self.stage.outs:
            content = self.project.hasher.content(out.path.at)
            if content is None:
                raise StageError(f"stage {self.stage.name}: did not make its output {out.path.written}; mend `cmd`, or `outs`")
            found[out.path.written] = content
        return found

    def _keep(self, contents: Mapping[str, PathContent]) -> None:
        """Put outputs into the cache, and keep those out of Git.

        Outputs without a cache too where runs are remembered, since they could not be restored otherwise."""
        for out in self.stage.outs:
            if out.is_cached or remembers(self.stage):
                self.project.cache.keep(out.path.at, contents[out.path.written])
        ignore_outputs(self.stage)

    def _entry(self, outs: Mapping[str, ContentDigest], found: StageFiles | None = None) -> LockEntry:
        seen = self.state.found if found is None else found
        deps = {path: digest for path, digest in seen.deps.items() if digest is not None}
        params: dict[str, Mapping[str, Any]] = {name: values for name, values in seen.params.items() if values is not None}
        return LockEntry(self.stage.command, deps, params, outs)

    def _workspace(self) -> StageWorkspace:
        return StageWorkspace(self.stage, self.project.scratch / "replaced" / self.stage.name, self.project.cache)

    def _result(self, outcome: StageOutcome, entry: LockEntry | None) -> StageResult:
        return StageResult(self.stage.name, outcome, self.state.changes, entry)


def _is_there(found: StageFiles, out: OutputSpec, wanted: Mapping[str, ContentDigest | None]) -> bool:
    now, then = found.outs.get(out.path.written), wanted.get(out.path.written)
    return now is not None and then is not None and now.md5 == then.md5


def _with_way_back(problem: PipelineError, set_aside: Path | None) -> PipelineError:
    """The problem, and where the outputs of before lie."""
    if set_aside is None:
        return problem
    words = f"{problem}. The outputs of before are in {set_aside}"
    if isinstance(problem, StageStopped):
        return StageStopped(words, problem.signal_number)
    return ContentError(words) if isinstance(problem, ContentError) else StageError(words)
