"""What one variant does with some rows: features -> tensors -> model -> scores and verdicts. Core; asks only the ports.

Which variant gets which rows is serving.scorer's, and what the answer says serving.answers'. A part whose features need not be
read and whose model is quick is done at once, in one call that waits for nothing (`run_at_once`); any other is awaited (`run`).
All that asks the features is in `_read`, all that runs the model in `_run_now` and `_run_aside`, and both ways end in
`Part.conclude`: what stands before or in place of one of them (a breaker, a cache, rules) has its place there."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

import msgspec
from numpy.typing import NDArray

from serving.answers import Part
from serving.assembly import feed_of
from serving.errors import DeadlineExceeded
from serving.fallback import settle_by_rules
from serving.inputs import ColumnRows, TensorRows
from serving.models.onnx import as_runtime_strings
from serving.ports import Clock, FeatureReader, FeatureRows, ReadOutcome, Stop
from serving.protocol.messages import InferRequest
from serving.routing.entity import Place
from serving.served import Served
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Trace

Feed = Mapping[str, NDArray[Any]]


class Work(msgspec.Struct):
    """One request on its way. Times are the clock's monotonic seconds. places: of its rows' entities, empty if nobody asks."""

    request: InferRequest
    trace: Trace | None
    started_s: float
    deadline_s: float
    now_us: int
    wanted: tuple[str, ...]
    rows: TensorRows | ColumnRows
    places: list[Place] = []
    is_evidence: bool = False


class OutOfPatience(DeadlineExceeded):
    """A variant took longer than its share of the time; the rest is kept for stable to answer in its place."""


class Stages:
    """Runs parts on one event loop."""

    def __init__(
        self,
        features: FeatureReader | None,
        clock: Clock,
        metrics: ServingMetrics,
        *,
        feature_timeout_s: float,
        executor: Executor | None,
    ) -> None:
        self._features, self._clock, self._metrics = features, clock, metrics
        self._feature_timeout_s, self._executor = feature_timeout_s, executor

    def run_at_once(self, work: Work, part: Part) -> bool:
        """Fill the part, if nothing of it has to be waited for; whether that is so. Raises as `run` does."""
        served, rows = part.member.served, part.rows
        if self._reads(part) or not (served.may_run_inline(rows.rows) or self._executor is None):
            return False
        self._run_now(work, part, tensors_of(part))
        part.conclude()
        return True

    async def run(self, work: Work, part: Part, *, share: float = 1.0) -> None:
        """Fill the part. share: of the time that is left, what the model may take. Raises RunError, DeadlineExceeded, BadRequest."""
        rows, service, reader = part.rows, part.member.served.feature_service, self._features
        if isinstance(rows, ColumnRows) and service is not None and reader is not None:
            part.features = await self._read(work, part, rows, service, reader)
            is_out = part.features.outcome is not ReadOutcome.OK
            if is_out and await settle_by_rules(part, "features", self._metrics):
                return
        tensors = tensors_of(part)
        if part.member.served.may_run_inline(rows.rows) or self._executor is None:
            self._run_now(work, part, tensors)
        else:
            await self._run_aside(work, part, tensors, share)
        part.conclude()

    def _reads(self, part: Part) -> bool:
        return self._features is not None and type(part.rows) is ColumnRows and part.member.served.feature_service is not None

    async def _read(self, work: Work, part: Part, rows: ColumnRows, service: str, reader: FeatureReader) -> FeatureRows:
        """The features of these rows; a store that is out gives defaults, every row degraded. Raises DeadlineExceeded."""
        start = self._clock.monotonic_s()
        budget_s = min(self._feature_timeout_s, work.deadline_s - start)
        if budget_s <= 0:
            raise DeadlineExceeded("the deadline passed before features were read; allow more time")
        found = await reader.read(service, rows.keys, rows.fields, rows.at_us, budget_s)
        part.feature_s = self._clock.monotonic_s() - start
        if work.trace is not None:
            self._span(work.trace, "features", part, part.feature_s, {"feature_service": service})
        if found.defaulted:
            self._metrics.features_defaulted(service, "missing_or_old", sum(int(m.sum()) for m in found.defaulted.values()))
        return found

    def _run_now(self, work: Work, part: Part, tensors: Feed) -> None:
        """Run the model on the event loop."""
        served, start = part.member.served, self._clock.monotonic_s()
        feed = runtime_feed(tensors) if served.takes_text else tensors
        part.raw = served.model.run(feed, part.way.to_run)
        self._ran(work, part, start)

    async def _run_aside(self, work: Work, part: Part, tensors: Feed, share: float) -> None:
        """Run the model in a thread, so long a run would hold up the loop."""
        served, start = part.member.served, self._clock.monotonic_s()
        part.raw = await self._run_in_thread(served, runtime_feed(tensors), part.way.to_run, work.deadline_s - start, share)
        self._ran(work, part, start)

    def _ran(self, work: Work, part: Part, start_s: float) -> None:
        end_s = self._clock.monotonic_s()
        part.model_s = end_s - start_s
        if end_s > work.deadline_s:
            raise DeadlineExceeded(
                f"model {part.member.served.name!r} answered {end_s - work.deadline_s:.3f} s after the deadline; allow more time"
            )
        if work.trace is not None:
            self._span(work.trace, "model", part, part.model_s, {"model": part.member.served.name})

    async def _run_in_thread(
        self, served: Served, feed: dict[str, NDArray[Any]], names: list[str], remaining_s: float, share: float
    ) -> dict[str, NDArray[Any]]:
        stop = Stop()
        running = asyncio.get_running_loop().run_in_executor(self._executor, served.model.run, feed, names, stop)
        try:
            return await asyncio.wait_for(running, max(remaining_s * share, 0.0))
        except TimeoutError as problem:
            if share < 1.0:
                raise OutOfPatience(f"model {served.name!r} took more than {remaining_s * share:.3f} s") from problem
            raise DeadlineExceeded(
                f"model {served.name!r} did not answer within the deadline; allow more time or send fewer rows"
            ) from problem
        finally:
            stop.ask()  # nobody waits any more: too late, or the client is gone; a run that is over does not notice

    def _span(self, trace: Trace, name: str, part: Part, lasted_s: float, attributes: Mapping[str, str | int]) -> None:
        end_ns = self._clock.now_us() * 1000
        variant: dict[str, str | int] = {
            "rows": part.rows.rows,
            "variant": part.member.served.variant,
            "revision": part.member.served.revision,
        }
        trace.span(name, end_ns - int(lasted_s * 1e9), end_ns, {**attributes, **variant})


def tensors_of(part: Part) -> Feed:
    """The graph's inputs: as sent, or put together from columns and the features that were read."""
    rows = part.rows
    if isinstance(rows, TensorRows):
        return rows.tensors
    return feed_of(part.member.served.assembly, rows.fields, part.features, rows.rows)


def runtime_feed(tensors: Feed) -> dict[str, NDArray[Any]]:
    """Tensors as the runtime takes them. Raises RunError for text that is not UTF-8."""
    return {name: as_runtime_strings(a) if a.dtype == object else a for name, a in tensors.items()}
