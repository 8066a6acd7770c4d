"""A job from end to end: scan the input, plan units, skip the finished ones, score and commit the others.

Who scores (this process, or actors on a Ray cluster) is an argument; each gets runs of units and gives back entries as they are done."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from serving.batch.behaviour.planning import behaviour_units
from serving.batch.data.files import BatchFolder
from serving.batch.data.inputs import is_timed, scan
from serving.batch.errors import BatchInputError
from serving.batch.job import BatchJob
from serving.batch.job_spans import job_span
from serving.batch.output import BatchOutput, UnitDone
from serving.batch.plan import WorkUnit, plan_files, plan_units
from serving.batch.scorers import open_scorer
from serving.batch.scoring.composed import ComposeWith
from serving.clock import SystemClock

MAX_ROWS: Final = 500_000
"""Rows of one unit; a worker holds one at a time."""
Workers = Callable[[BatchJob, Sequence[WorkUnit]], Iterator[UnitDone]]
"""Scores units in any order."""


class Progress(msgspec.Struct, frozen=True):
    """How far a job is. phase: scanning (files) or scoring (rows)."""

    phase: Literal["scanning", "scoring"]
    done: int
    total: int
    unit: str = ""


class Summary(msgspec.Struct, frozen=True):
    """What a job did. units, rows: of the whole input; scored_*: by this run, the others were done before. counts: rows by verdict,
    rejected and degraded, of the whole output."""

    units: int
    rows: int
    scored_units: int
    scored_rows: int
    counts: dict[str, int]
    seconds: float

    @property
    def rows_per_s(self) -> int:
        """Of this run."""
        return round(self.scored_rows / self.seconds) if self.seconds else 0


class BatchCut(msgspec.Struct, frozen=True):
    """How the input is cut, and how much of it."""

    max_rows: int = MAX_ROWS
    length: Literal["hour", "day"] = "hour"
    since_us: int | None = None
    until_us: int | None = None
    replace: bool = False


def run_job(
    job: BatchJob,
    wanted: BatchCut,
    workers: Workers,
    owner: str,
    tell: Callable[[Progress], object] = lambda _: None,
    after: Sequence[Callable[[UnitDone], object]] = (),
) -> Summary:
    """Run a job to its end. owner: who holds the output, for people. after: each gets the entry of every file, also of one that
    was there before. Raises BatchError."""
    clock, output = SystemClock(), BatchOutput(BatchFolder(job.output))
    started_s = clock.monotonic_s()
    if BatchFolder(job.input).holds(output.place):
        raise BatchInputError(
            f"{job.output}: is in the input {job.input}, so the next job would read what this one wrote; name a folder beside it"
        )
    with output.locked(owner), job_span(job) as traced:
        phases = _phases(job, wanted, output, tell)
        units = [unit for phase in phases for unit in phase]
        done = output.done()
        output.clear(units, done, replace=wanted.replace)
        ready = {unit.name for unit in units if _is_done(unit, done, output)}
        for unit in units:
            if unit.name in ready:
                _tell_all(after, done[unit.name])
        rows, scored = sum(unit.rows for unit in units), Counter[str]()
        before = sum(unit.rows for unit in units if unit.name in ready)
        tell(Progress("scoring", before, rows))
        for phase in phases:
            waiting = [unit for unit in phase if unit.name not in ready]
            for entry in workers(traced.job, waiting) if waiting else ():
                done[entry.name] = entry
                traced.scored(entry)
                _tell_all(after, entry)
                scored["done"] += next(unit.rows for unit in waiting if unit.name == entry.name)
                scored["rows"] += entry.rows
                scored["units"] += 1
                tell(Progress("scoring", before + scored["done"], rows, entry.name))
    counts: Counter[str] = Counter()
    for unit in units:
        counts.update(done[unit.name].counts)
    seconds = clock.monotonic_s() - started_s
    kept = {name: count for name, count in sorted(counts.items()) if count}
    read = sum(done[unit.name].rows for unit in units)
    return Summary(len(units), read, scored["units"], scored["rows"], kept, seconds)


def here(compose: ComposeWith, tell: Callable[[int], object] = lambda rows: None) -> Workers:
    """Score in this process, one unit after the other. tell: gets the number of rows after each request."""

    def score(job: BatchJob, units: Sequence[WorkUnit]) -> Iterator[UnitDone]:
        scorer = open_scorer(job, compose, SystemClock())
        try:
            for unit in units:
                yield scorer.run(unit, tell)
        finally:
            scorer.close()

    return score


def _tell_all(after: Sequence[Callable[[UnitDone], object]], entry: UnitDone) -> None:
    for act in after:
        act(entry)


def _phases(job: BatchJob, wanted: BatchCut, output: BatchOutput, tell: Callable[[Progress], object]) -> list[list[WorkUnit]]:
    """Units that may be done in any order, after those of the phases before."""
    known = output.scanned()
    files = scan(BatchFolder(job.input), job.source, known, lambda done, of: tell(Progress("scanning", done, of)))
    output.keep_scanned(known)
    if job.behaviour is not None:
        return behaviour_units(files, job.behaviour, identity=job.identity, since_us=wanted.since_us, until_us=wanted.until_us)
    if not is_timed(files):
        return [plan_files(files, identity=job.identity, max_rows=wanted.max_rows)]
    windows = job.source.windows
    units = plan_units(
        files,
        identity=job.identity,
        max_rows=wanted.max_rows,
        lookback_us=windows.lookback_us if windows is not None else 0,
        length=wanted.length,
        since_us=wanted.since_us,
        until_us=wanted.until_us,
    )
    return [units]


def _is_done(unit: WorkUnit, done: dict[str, UnitDone], output: BatchOutput) -> bool:
    entry = done.get(unit.name)
    return entry is not None and entry.key == unit.key and output.has_file(entry)


def as_plain(summary: Summary) -> dict[str, Any]:
    """For JSON."""
    return {**msgspec.to_builtins(summary), "seconds": round(summary.seconds, 3), "rows_per_s": summary.rows_per_s}
