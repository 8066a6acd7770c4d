"""What one variant does with some rows: features -> tensors -> model -> scores and verdicts. Core; asks only the ports.

Which variant gets which rows is serving.scoring.scorer's, and what the answer says serving.scoring.answers'. A part whose features need
not be
read and whose model is quick is done at once, in one call that waits for nothing (`run_at_once`); any other is awaited (`run`).
All that asks the features is in `_read`, all that runs the model in `_run_now` and `_run_aside`, what is asked of the cache in its
place in `_run_kept`, and all ways end in `RowGroup.conclude`. Each run asks its variant's breaker first and tells it the outcome, outputs
that do not fit the rows among the failures; what that is, how time is carved and who waits for a thread is serving.resilience'."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.cache.prediction_key import prediction_key
from serving.cache.predictions import Outputs, Predictions
from serving.errors import BadRequest, DeadlineExceeded, Overloaded, Unavailable
from serving.messages import InferRequest
from serving.models.assembly import feed_of
from serving.models.errors import RunError
from serving.models.onnx import as_runtime_strings
from serving.ports import Clock, FeatureReader, FeatureRows, Model, ReadOutcome, Stop
from serving.resilience.breaker import Ticket
from serving.resilience.bulkhead import Bulkheads
from serving.resilience.deadline import read_slice_s, run_slice_s
from serving.resilience.guard import Guard
from serving.scoring.entity import Place
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.protection import Protection, unprotected
from serving.scoring.row_group import RowGroup
from serving.scoring.rules_fallback import settle_by_rules
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Trace

Feed = Mapping[str, NDArray[Any]]
TENANT: Final = "tenant"
"""Request parameter that says whom a request is for."""
CACHE: Final = "cache"
"""The source of an answer whose model run was kept from an earlier one."""
_EXPECTED: Final = 10.0
"""A run may take this many times what its rows should take, however long that is, before it is slow."""


class RequestState(msgspec.Struct):
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


class VariantTimedOut(DeadlineExceeded):
    """A variant took longer than its share of the time; the rest is kept for stable to answer in its place."""


class ModelUnavailable(Unavailable):
    """The breaker of a variant's model is open, so it was not run. is_slow: because it had been too slow, not wrong."""

    def __init__(self, message: str, *, retry_after_s: float, is_slow: bool) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.is_slow = is_slow


class VariantRunner:
    """Runs parts on one event loop. protection: without bulkheads every model is run on the loop."""

    def __init__(
        self,
        features: FeatureReader | None,
        clock: Clock,
        metrics: ServingMetrics,
        *,
        feature_timeout_s: float,
        protection: Protection | None = None,
    ) -> None:
        self._features, self._clock, self._metrics = features, clock, metrics
        self._feature_timeout_s, self._protection = feature_timeout_s, protection or unprotected()

    def run_at_once(self, work: RequestState, part: RowGroup) -> bool:
        """Fill the part, if nothing of it has to be waited for; whether that is so. Raises as `run` does."""
        served, rows, protection = part.member.served, part.rows.rows, self._protection
        if self._reads(part) or not (protection.bulkheads is None or served.may_run_inline(rows)):
            return False
        if protection.predictions is not None and self._kept(served, rows) is not None:
            return False
        self._run_now(work, part, tensors_of(part))
        return True

    async def run(self, work: RequestState, part: RowGroup, *, share: float = 1.0) -> None:
        """Fill the part. share: of the time that is left, what the model may take. Raises RunError, DeadlineExceeded, BadRequest,
        ModelUnavailable, Overloaded."""
        rows, served, reader = part.rows, part.member.served, self._features
        if isinstance(rows, ColumnRows) and served.feature_service is not None and reader is not None:
            part.features = await self._read(work, part, rows, served.feature_service, reader)
            is_out = part.features.outcome is not ReadOutcome.OK
            if is_out and await settle_by_rules(part, "features", self._metrics):
                return
        tensors, kept = tensors_of(part), self._kept(served, rows.rows)
        if kept is not None:
            await self._run_kept(work, part, tensors, share, kept)
        else:
            await self._run(work, part, tensors, share)

    def blame(self, part: RowGroup) -> None:
        """The part's variant refused rows that another one takes: its failure, and not the input's."""
        if part.ticket is not None:
            self._guard(part.member.served).failed(part.ticket, 0.0, self._clock.monotonic_s())

    def pardon(self, part: RowGroup) -> None:
        """The part's variant refused rows that nobody takes."""
        if part.ticket is not None:
            self._guard(part.member.served).unused(part.ticket)

    def _reads(self, part: RowGroup) -> bool:
        return self._features is not None and type(part.rows) is ColumnRows and part.member.served.feature_service is not None

    async def _read(
        self, work: RequestState, part: RowGroup, rows: ColumnRows, service: str, reader: FeatureReader
    ) -> FeatureRows:
        """The features of these rows; a store that is out gives defaults, every row degraded. Raises DeadlineExceeded."""
        start = self._clock.monotonic_s()
        left_s = work.deadline_s - start
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed before features were read; allow more time")
        budget_s = read_slice_s(left_s, self._feature_timeout_s, _expected_s(part.member.served, rows.rows))
        found = await reader.read(service, rows.keys, rows.fields, rows.at_us, budget_s)
        part.feature_s = self._clock.monotonic_s() - start
        if work.trace is not None:
            self._span(work.trace, "features", part, part.feature_s, {"feature_service": service})
        if found.defaulted:
            values = found.defaulted.values()
            count = len(values) if rows.rows == 1 else sum(int(np.count_nonzero(m)) for m in values)
            self._metrics.features_defaulted(service, "missing_or_old", count)
        return found

    def _kept(self, served: LoadedRevision, rows: int) -> Predictions | None:
        """The prediction cache, if this run is worth a look into it."""
        kept = self._protection.predictions
        if kept is None or kept.is_worth(_expected_s(served, rows)):
            return kept
        kept.skipped(served.name)
        return None

    def _guard(self, served: LoadedRevision) -> Guard:
        protection = self._protection
        guard = protection.model(served.name, served.version, served.variant, served.revision)
        protection.last = (served, guard)
        return guard

    async def _run(self, work: RequestState, part: RowGroup, tensors: Feed, share: float) -> None:
        bulkheads = self._protection.bulkheads
        if bulkheads is None or part.member.served.may_run_inline(part.rows.rows):
            self._run_now(work, part, tensors)
        else:
            await self._run_aside(work, part, tensors, share, bulkheads)

    async def _run_kept(self, work: RequestState, part: RowGroup, tensors: Feed, share: float, kept: Predictions) -> None:
        """Take what the model said to these tensors before, or run it and keep what it says."""
        served, way, start = part.member.served, part.way, self._clock.monotonic_s()
        feed = runtime_feed(tensors)
        key = prediction_key(tenant_of(work.request), served.revision, way.point, way.to_run, feed)

        async def run() -> Outputs:
            await self._run(work, part, tensors, share)
            return dict(part.raw)

        try:
            left_s = run_slice_s(work.deadline_s - start, share)
            part.raw, outcome = await kept.outputs(served.name, key, part.rows.rows, left_s, run)
        except TimeoutError as problem:  # waiting for another request's run
            raise _too_slow(served, work.deadline_s - start, share) from problem
        if outcome != "miss":  # else the run has concluded it
            part.source = CACHE
            part.conclude()

    def _run_now(self, work: RequestState, part: RowGroup, tensors: Feed) -> None:
        """Run the model on the event loop. Flat, and sparing with calls: nearly every request comes through here."""
        served, monotonic_s = part.member.served, self._clock.monotonic_s
        feed = runtime_feed(tensors) if served.takes_text else tensors
        last, guard = self._protection.last
        if last is not served:
            guard = self._guard(served)
        start = monotonic_s()
        ticket = guard.standing or guard.ask(start)
        if ticket is None:
            raise _left_alone(served, guard, start)
        try:
            part.raw = served.model.run(feed, part.way.to_run)
            end = monotonic_s()
            part.conclude()
        except RunError:
            part.ticket = ticket
            raise
        except Exception:
            guard.failed(ticket, monotonic_s() - start, monotonic_s())
            raise
        part.model_s = took = end - start
        if took > guard.slow_s:
            _tell(guard, ticket, part, took, end)
        else:
            guard.succeeded(ticket, took, end)
        if end > work.deadline_s or work.trace is not None:
            self._ran(work, part, start, end)

    async def _run_aside(self, work: RequestState, part: RowGroup, tensors: Feed, share: float, bulkheads: Bulkheads) -> None:
        """Run the model in a thread of its own, as so long a run would hold up the loop; told to stop when its time is over."""
        served, start = part.member.served, self._clock.monotonic_s()
        aside = _Aside(served.model, runtime_feed(tensors), part.way.to_run, self._clock)
        guard = self._guard(served)
        ticket = guard.ask(start)
        if ticket is None:
            raise _left_alone(served, guard, start)
        left_s = work.deadline_s - start
        try:
            part.raw = await bulkheads.of(f"{served.name}/{served.version}/{served.variant}").run(
                aside, within_s=run_slice_s(left_s, share), expected_s=_expected_s(served, part.rows.rows), stop=aside.stop.ask
            )
            part.conclude()
        except RunError:
            part.ticket = ticket
            raise
        except TimeoutError as problem:
            now = self._clock.monotonic_s()
            _tell(guard, ticket, part, aside.lasted_s(now), now, is_given_up=True)
            raise _too_slow(served, left_s, share) from problem
        except Overloaded:
            guard.unused(ticket)
            raise
        except Exception:
            guard.failed(ticket, aside.lasted_s(self._clock.monotonic_s()), self._clock.monotonic_s())
            raise
        except BaseException:  # the client is gone
            guard.unused(ticket)
            raise
        end = self._clock.monotonic_s()
        _tell(guard, ticket, part, aside.lasted_s(end), end)
        self._ran(work, part, start, end)

    def _ran(self, work: RequestState, part: RowGroup, start_s: float, end_s: float) -> None:
        part.model_s = end_s - start_s
        if end_s > work.deadline_s:
            raise DeadlineExceeded(
                f"model {part.member.served.name!r} answered {end_s - work.deadline_s:.3f} s after the deadline; allow more time"
            )
        if work.trace is not None:
            self._span(work.trace, "model", part, part.model_s, {"model": part.member.served.name})

    def _span(self, trace: Trace, name: str, part: RowGroup, lasted_s: float, attributes: Mapping[str, str | int]) -> None:
        end_ns = self._clock.now_us() * 1000
        variant: dict[str, str | int] = {
            "rows": part.rows.rows,
            "variant": part.member.served.variant,
            "revision": part.member.served.revision,
        }
        trace.span(name, end_ns - int(lasted_s * 1e9), end_ns, {**attributes, **variant})


class _Aside:
    """One run in a thread, and when it really began and ended: waiting for the thread is not the model's time."""

    def __init__(self, model: Model, feed: Feed, names: list[str], clock: Clock) -> None:
        self._model, self._feed, self._names, self._clock = model, feed, names, clock
        self._began_s: float | None = None
        self._ended_s: float | None = None
        self.stop = Stop()

    def __call__(self) -> Outputs:
        self._began_s = self._clock.monotonic_s()
        try:
            return self._model.run(self._feed, self._names, self.stop)
        finally:
            self._ended_s = self._clock.monotonic_s()

    def lasted_s(self, now_s: float) -> float:
        """How long it has run; 0 if it did not begin."""
        return 0.0 if self._began_s is None else (self._ended_s or now_s) - self._began_s


def _expected_s(served: LoadedRevision, rows: int) -> float:
    return served.run_us * rows * 1e-6


def _tell(guard: Guard, ticket: Ticket, part: RowGroup, took_s: float, now_s: float, *, is_given_up: bool = False) -> None:
    """The breaker learns of a run that ended or was given up. Many rows may take long; and who allows no time is not to blame on
    the model."""
    if took_s > guard.slow_s and took_s <= _EXPECTED * _expected_s(part.member.served, part.rows.rows):
        took_s = 0.0
    if is_given_up and took_s <= guard.slow_s:
        guard.unused(ticket)
    else:
        guard.succeeded(ticket, took_s, now_s)


def _left_alone(served: LoadedRevision, guard: Guard, now_s: float) -> ModelUnavailable:
    breaker = guard.breaker
    return ModelUnavailable(
        f"model {served.name!r} ({served.variant}) is left alone for a while: {breaker.why}; try again later",
        retry_after_s=guard.retry_after_s(now_s),
        is_slow=breaker.is_slow,
    )


def _too_slow(served: LoadedRevision, left_s: float, share: float) -> DeadlineExceeded:
    if share < 1.0:
        return VariantTimedOut(f"model {served.name!r} took more than {left_s * share:.3f} s")
    return DeadlineExceeded(f"model {served.name!r} did not answer within the deadline; allow more time or send fewer rows")


def tenant_of(request: InferRequest) -> str:
    """Whose predictions it may be answered with: the header's word before the parameter's; "" if nobody is named. Raises BadRequest."""
    if request.tenant is not None:
        return request.tenant
    named = request.parameters.get(TENANT, "") if request.parameters else ""
    if not isinstance(named, str):
        raise BadRequest(f"parameters.{TENANT} is {named!r:.60}, expected text")
    return named


def tensors_of(part: RowGroup) -> Feed:
    """The graph's inputs: as sent, or put together from columns and the features that were read."""
    rows = part.rows
    if isinstance(rows, TensorRows):
        return rows.tensors
    return feed_of(part.member.served.assembly, rows.fields, part.features, rows.rows)


def runtime_feed(tensors: Feed) -> dict[str, NDArray[Any]]:
    """Tensors as the runtime takes them. Raises RunError for text that is not UTF-8."""
    return {name: as_runtime_strings(a) if a.dtype == object else a for name, a in tensors.items()}
