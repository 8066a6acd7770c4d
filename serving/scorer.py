"""The Scorer: request -> features -> model -> verdict, with the record of it. Core; asks only the ports.

Doors decode and encode; which revisions are loaded is serving.service's; what an answer says is serving.answers'."""

import asyncio
import itertools
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answers import SOURCE, Judged, answer_parameters, judge, operating_point_of, output_tensor, wanted_outputs
from serving.assembly import assemble
from serving.audit.record import AuditRecord
from serving.errors import BadRequest, DeadlineExceeded
from serving.inputs import ColumnRows, TensorRows
from serving.models.errors import RunError
from serving.models.onnx import as_runtime_strings
from serving.ports import AuditSink, Clock, FeatureReader, FeatureRows
from serving.protocol.messages import InferAnswer, InferRequest
from serving.served import Served
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Trace
from serving.verdicts import VERDICTS


@dataclass(frozen=True, slots=True)
class ScorerLimits:
    """Times in seconds; rows per request."""

    default_deadline_s: float
    feature_timeout_s: float
    max_rows: int


@dataclass(slots=True)
class _Work:
    """One request on its way. Times are the clock's monotonic seconds; None: the stage did not happen."""

    served: Served
    request: InferRequest
    trace: Trace | None
    started_s: float
    deadline_s: float
    now_us: int
    wanted: tuple[str, ...]
    point: str | None
    rows: TensorRows | ColumnRows
    features: FeatureRows | None = None
    feature_s: float | None = None
    model_s: float | None = None


class Scorer:
    """Answers inference requests on one event loop."""

    def __init__(
        self,
        *,
        features: FeatureReader | None,
        audit: AuditSink | None,
        clock: Clock,
        metrics: ServingMetrics,
        limits: ScorerLimits,
        executor: Executor | None,
        identity: str,
    ) -> None:
        self._features, self._audit, self._clock, self._metrics = features, audit, clock, metrics
        self._limits, self._executor, self._identity = limits, executor, identity
        self._numbers = itertools.count(1)

    async def score(self, served: Served, request: InferRequest, trace: Trace | None = None) -> InferAnswer:
        """Answer one request with this revision. Raises BadRequest, DeadlineExceeded."""
        work = self._accept(served, request, trace)
        tensors = await self._tensors(work)
        raw = await self._run(work, tensors)
        judged = judge(served, raw, work.rows.rows, work.point)
        degraded = work.features.degraded if work.features is not None else np.zeros(work.rows.rows, dtype=np.bool_)
        receipt = f"{self._identity}-{next(self._numbers):x}"
        answer = InferAnswer(
            model=served.name,
            version=served.version,
            outputs=tuple(output_tensor(name, served, raw, judged, degraded) for name in work.wanted),
            id=request.id,
            parameters=answer_parameters(served, judged, work.features, receipt, trace.trace_id if trace else None),
        )
        self._account(work, judged, degraded, receipt)
        return answer

    def _accept(self, served: Served, request: InferRequest, trace: Trace | None) -> _Work:
        started, now_us = self._clock.monotonic_s(), self._clock.now_us()
        allowed_s = self._limits.default_deadline_s if request.deadline_s is None else request.deadline_s
        return _Work(
            served=served,
            request=request,
            trace=trace,
            started_s=started,
            deadline_s=started + allowed_s,
            now_us=now_us,
            wanted=wanted_outputs(served, request),
            point=operating_point_of(served, request),
            rows=served.inputs.read(request, now_us, self._limits.max_rows),
        )

    async def _tensors(self, work: _Work) -> Mapping[str, NDArray[Any]]:
        rows = work.rows
        if isinstance(rows, TensorRows):
            return rows.tensors
        service = work.served.manifest.feature_service
        if service is None or self._features is None:
            return assemble(work.served.assembly, rows.fields, rows.rows)
        start = self._clock.monotonic_s()
        budget_s = min(self._limits.feature_timeout_s, work.deadline_s - start)
        if budget_s <= 0:
            raise DeadlineExceeded("the deadline passed before features were read; allow more time")
        found = work.features = await self._features.read(service, rows.keys, rows.fields, rows.at_us, budget_s)
        work.feature_s = self._clock.monotonic_s() - start
        self._span(work, "features", work.feature_s, {"feature_service": service, "rows": rows.rows})
        if found.defaulted:
            self._metrics.features_defaulted(service, "missing_or_old", sum(int(m.sum()) for m in found.defaulted.values()))
        return assemble(work.served.assembly, {**rows.fields, **found.columns}, rows.rows)

    async def _run(self, work: _Work, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        served, rows, start = work.served, work.rows.rows, self._clock.monotonic_s()
        names = _outputs_to_run(served, work.wanted)
        try:
            feed = {name: as_runtime_strings(a) if a.dtype == object else a for name, a in tensors.items()}
            if served.may_run_inline(rows) or self._executor is None:
                raw = served.model.run(feed, names)
            else:
                raw = await self._run_in_thread(served, feed, names, work.deadline_s - start)
        except RunError as problem:
            raise BadRequest(f"model {served.name!r}: {problem}") from problem
        end = self._clock.monotonic_s()
        work.model_s = end - start
        if end > work.deadline_s:
            raise DeadlineExceeded(
                f"model {served.name!r} answered {end - work.deadline_s:.3f} s after the deadline; allow more time"
            )
        self._span(work, "model", work.model_s, {"model": served.name, "rows": rows})
        return raw

    async def _run_in_thread(
        self, served: Served, feed: Mapping[str, NDArray[Any]], names: list[str], remaining_s: float
    ) -> dict[str, NDArray[Any]]:
        running = asyncio.get_running_loop().run_in_executor(self._executor, served.model.run, feed, names)
        try:
            return await asyncio.wait_for(running, max(remaining_s, 0.0))
        except TimeoutError as problem:
            raise DeadlineExceeded(
                f"model {served.name!r} did not answer within the deadline; allow more time or send fewer rows"
            ) from problem

    def _account(self, work: _Work, judged: Judged | None, degraded: NDArray[np.bool_], receipt: str) -> None:
        served, request, features = work.served, work.request, work.features
        latency_s = self._clock.monotonic_s() - work.started_s
        counts = np.bincount(judged.codes, minlength=3).tolist() if judged is not None else None
        self._metrics.for_model(served.name, served.version, served.variant, request.door).answered(
            latency_s,
            work.rows.rows,
            operating_point=work.point,
            verdicts=(counts[0], counts[1], counts[2]) if counts else None,
            degraded_rows=int(degraded.sum()),
            feature_s=work.feature_s,
            model_s=work.model_s,
            feature_age_ms=features.oldest_age_ms if features else None,
        )
        if self._audit is None:
            return
        self._audit.append(
            AuditRecord(
                receipt=receipt,
                time_us=work.now_us,
                door=request.door,
                model=served.name,
                version=served.version,
                revision=served.revision,
                variant=served.variant,
                source=SOURCE,
                request_id=request.id,
                trace_id=work.trace.trace_id if work.trace else None,
                rows=work.rows.rows,
                inputs={t.name: t for t in request.inputs},
                features=dict(features.columns) if features else {},
                event_times_us=dict(features.event_times_us) if features else {},
                operating_point=work.point,
                scores=judged.scores if judged else [],
                verdicts=[VERDICTS[c] for c in judged.codes.tolist()] if judged else [],
                degraded=degraded,
                latency_us=int(latency_s * 1e6),
            )
        )

    def _span(self, work: _Work, name: str, lasted_s: float, attributes: Mapping[str, str | int]) -> None:
        if work.trace is not None:
            end_ns = self._clock.now_us() * 1000
            work.trace.span(name, end_ns - int(lasted_s * 1e9), end_ns, attributes)


def _outputs_to_run(served: Served, wanted: tuple[str, ...]) -> list[str]:
    needed = {name for name in wanted if name in served.model_outputs}
    if served.manifest.score is not None:
        needed.add(served.manifest.score.output)
    return [o.name for o in served.manifest.outputs if o.name in needed]
