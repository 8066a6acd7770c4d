"""What one variant does with some rows: features -> tensors -> model -> scores and verdicts. Core; asks only the ports.

Which variant gets which rows, and what the answer says, is serving.scorer's."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answers import Part, judge
from serving.assembly import assemble
from serving.errors import DeadlineExceeded
from serving.inputs import ColumnRows, TensorRows
from serving.models.onnx import as_runtime_strings
from serving.ports import Clock, FeatureReader
from serving.protocol.messages import InferRequest
from serving.routing.entity import Place
from serving.served import Served
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Trace


@dataclass(slots=True)
class Work:
    """One request on its way. Times are the clock's monotonic seconds. places: of its rows' entities, empty if nobody asks."""

    request: InferRequest
    trace: Trace | None
    started_s: float
    deadline_s: float
    now_us: int
    wanted: tuple[str, ...]
    rows: TensorRows | ColumnRows
    places: list[Place] = field(default_factory=list)
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

    async def run(self, work: Work, part: Part, *, share: float = 1.0) -> None:
        """Fill the part. share: of the time that is left, what the model may take. Raises RunError, DeadlineExceeded, BadRequest."""
        served, rows = part.member.served, part.rows.rows
        tensors = await self._tensors(work, part)
        part.raw = await self._run(work, part, tensors, share)
        judged = part.judged = judge(served, part.raw, rows, part.point)
        if part.features is None:
            part.degraded = np.zeros(rows, dtype=np.bool_)
        else:
            part.degraded = part.features.degraded
            part.degraded_rows = int(part.degraded.sum())
        if judged is not None:
            benign, investigate, alert = np.bincount(judged.codes, minlength=3).tolist()
            part.counts = (benign, investigate, alert)

    async def _tensors(self, work: Work, part: Part) -> Mapping[str, NDArray[Any]]:
        served, rows = part.member.served, part.rows
        if isinstance(rows, TensorRows):
            return rows.tensors
        service = served.feature_service
        if service is None or self._features is None:
            return assemble(served.assembly, rows.fields, rows.rows)
        start = self._clock.monotonic_s()
        budget_s = min(self._feature_timeout_s, work.deadline_s - start)
        if budget_s <= 0:
            raise DeadlineExceeded("the deadline passed before features were read; allow more time")
        found = part.features = await self._features.read(service, rows.keys, rows.fields, rows.at_us, budget_s)
        part.feature_s = self._clock.monotonic_s() - start
        if work.trace is not None:
            self._span(work.trace, "features", part, part.feature_s, {"feature_service": service})
        if found.defaulted:
            self._metrics.features_defaulted(service, "missing_or_old", sum(int(m.sum()) for m in found.defaulted.values()))
        return assemble(served.assembly, {**rows.fields, **found.columns}, rows.rows)

    async def _run(self, work: Work, part: Part, tensors: Mapping[str, NDArray[Any]], share: float) -> dict[str, NDArray[Any]]:
        served, rows, start = part.member.served, part.rows.rows, self._clock.monotonic_s()
        names = outputs_to_run(served, work.wanted)
        if served.may_run_inline(rows) or self._executor is None:
            raw = served.model.run(runtime_feed(tensors), names)
        else:
            raw = await self._run_in_thread(served, runtime_feed(tensors), names, work.deadline_s - start, share)
        end = self._clock.monotonic_s()
        part.model_s = end - start
        if end > work.deadline_s:
            raise DeadlineExceeded(
                f"model {served.name!r} answered {end - work.deadline_s:.3f} s after the deadline; allow more time"
            )
        if work.trace is not None:
            self._span(work.trace, "model", part, part.model_s, {"model": served.name})
        return raw

    async def _run_in_thread(
        self, served: Served, feed: Mapping[str, NDArray[Any]], names: list[str], remaining_s: float, share: float
    ) -> dict[str, NDArray[Any]]:
        running = asyncio.get_running_loop().run_in_executor(self._executor, served.model.run, feed, names)
        try:
            return await asyncio.wait_for(running, max(remaining_s * share, 0.0))
        except TimeoutError as problem:
            if share < 1.0:
                raise OutOfPatience(f"model {served.name!r} took more than {remaining_s * share:.3f} s") from problem
            raise DeadlineExceeded(
                f"model {served.name!r} did not answer within the deadline; allow more time or send fewer rows"
            ) from problem

    def _span(self, trace: Trace, name: str, part: Part, lasted_s: float, attributes: Mapping[str, str | int]) -> None:
        end_ns = self._clock.now_us() * 1000
        variant: dict[str, str | int] = {
            "rows": part.rows.rows,
            "variant": part.member.served.variant,
            "revision": part.member.served.revision,
        }
        trace.span(name, end_ns - int(lasted_s * 1e9), end_ns, {**attributes, **variant})


def runtime_feed(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Tensors as the runtime takes them. Raises RunError for text that is not UTF-8."""
    return {name: as_runtime_strings(a) if a.dtype == object else a for name, a in tensors.items()}


def outputs_to_run(served: Served, wanted: tuple[str, ...]) -> list[str]:
    """The graph's outputs an answer needs."""
    needed = {name for name in wanted if name in served.model_outputs}
    if served.manifest.score is not None:
        needed.add(served.manifest.score.output)
    return [o.name for o in served.manifest.outputs if o.name in needed]
