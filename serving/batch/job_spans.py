"""Spans of a batch job: `batch` where it is started and, within it, a `unit` wherever that is scored, on a Ray cluster as here.

The trace crosses to the workers in the job itself. The coin is tossed once, for the job."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import msgspec

from serving.batch.job import BatchJob
from serving.batch.output import UnitDone
from serving.batch.plan import WorkUnit
from serving.batch.scoring.composed import ComposedScorer
from serving.settings import ServingSettings
from serving.telemetry.tracing.batch_names import BATCH, UNIT, UNIT_NAME, UNITS
from serving.telemetry.tracing.names import ERROR_TYPE, MODEL_NAME, REVISION, ROWS, VERSION
from serving.telemetry.tracing.trace import Trace
from serving.telemetry.tracing.tracer import Tracer

_MOST_WORDS: Final = 500


class JobSpan:
    """The span of a job that runs. job: with the trace that its workers go on with."""

    def __init__(self, job: BatchJob, trace: Trace | None) -> None:
        self.job, self._trace = job, trace
        self._units = self._rows = 0

    def scored(self, unit: UnitDone) -> None:
        """A worker has scored this one."""
        self._units += 1
        self._rows += unit.rows

    def end(self, problem: BaseException | None = None) -> None:
        """The job is over. problem: why it stopped."""
        if self._trace is not None:
            said = {**_of_job(self.job), UNITS: self._units, ROWS: self._rows, **_of_problem(problem)}
            self._trace.end(said, error=_words(problem))


@contextmanager
def job_span(job: BatchJob, tracer: Tracer | None = None) -> Iterator[JobSpan]:
    """For as long as the job runs. tracer: None: that of the job's settings."""
    own = tracer or _tracer_of(ServingSettings.model_validate(job.settings))
    trace = own.begin(None, BATCH, kind="internal") if own.is_on else None
    if own.is_on:
        unsampled = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        job = msgspec.structs.replace(job, traceparent=unsampled if trace is None else trace.traceparent)
    span = JobSpan(job, trace)
    try:
        yield span
    except BaseException as problem:
        span.end(problem)
        raise
    else:
        span.end()
    finally:
        if tracer is None:
            own.close()


class UnitMaker(Protocol):
    """What makes a unit's file."""

    def run(self, unit: WorkUnit, tell: Callable[[int], object] = lambda rows: None) -> UnitDone:
        """Raises BatchError, ServingError."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class TracedScorer:
    """A worker of a job whose units have spans. scorer: what `maker` asks, in the trace of the unit."""

    def __init__(self, job: BatchJob, maker: UnitMaker, scorer: ComposedScorer, tracer: Tracer | None = None) -> None:
        self._job, self._maker, self._scorer = job, maker, scorer
        self._tracer = tracer or _tracer_of(scorer.settings)

    def run(self, unit: WorkUnit, tell: Callable[[int], object] = lambda rows: None) -> UnitDone:
        """See UnitMaker."""
        trace = self._tracer.begin(self._job.traceparent, UNIT, kind="internal") if self._job.traceparent else None
        self._scorer.traceparent = trace.traceparent if trace is not None else self._job.traceparent or None
        said = {**_of_job(self._job), UNIT_NAME: unit.name}
        try:
            done = self._maker.run(unit, tell)
        except BaseException as problem:
            if trace is not None:
                trace.end({**said, **_of_problem(problem)}, error=_words(problem))
            raise
        if trace is not None:
            trace.end({**said, ROWS: done.rows})
        return done

    def close(self) -> None:
        """Release everything."""
        self._maker.close()
        self._tracer.close()


def _tracer_of(settings: ServingSettings) -> Tracer:
    return Tracer(settings.trace_ratio, settings.otlp_endpoint)


def _of_job(job: BatchJob) -> dict[str, bool | int | float | str]:
    return {MODEL_NAME: job.model, VERSION: job.version, REVISION: job.revision_digest}


def _of_problem(problem: BaseException | None) -> dict[str, str]:
    return {} if problem is None else {ERROR_TYPE: type(problem).__name__}


def _words(problem: BaseException | None) -> str | None:
    return None if problem is None else str(problem)[:_MOST_WORDS] or type(problem).__name__
