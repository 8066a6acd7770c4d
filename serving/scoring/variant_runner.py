"""Runs the rows of one variant: features -> tensors -> model -> scores and verdicts. Core.

`run` reads features (`_read`), then runs the model on the loop (`_run_on_loop`) or in a thread (`_run_in_thread`), or takes its outputs
from the cache (`_run_cached`); each of them ends in `RowGroup.conclude`. Every model run asks its variant's breaker first and reports
the outcome to it; outputs that do not fit the rows are failures. Left to others: which variant gets which rows (scorer), what the
answer says (answers), breakers, time limits and threads (serving.resilience)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.cache.prediction_key import prediction_key
from serving.cache.predictions import Outputs, Predictions
from serving.errors import BadRequest, DeadlineExceeded, Overloaded, Unavailable
from serving.messages import InferRequest
from serving.models.assembly import as_runtime_strings, feed_of
from serving.models.errors import RunError
from serving.ports import Clock, FeatureReader, FeatureRows, Model, ReadOutcome, StopSignal
from serving.resilience.breaker import Guard, Ticket
from serving.resilience.bulkhead import Bulkheads
from serving.resilience.deadline import read_slice_s, run_slice_s
from serving.scoring.entity import EntityHash
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.loaded_revision import INLINE_BUDGET_US, LoadedRevision
from serving.scoring.protection import Protection, unprotected
from serving.scoring.row_group import RowGroup
from serving.scoring.rules.columns import fields_with_rules
from serving.scoring.rules.fallback import Why, settle_by_rules
from serving.scoring.rules.raising import raise_by_rules
from serving.scoring.rules.suppressing import suppress
from serving.scoring.triage.outcomes import counted
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import names
from serving.telemetry.tracing.names import NO_ATTRIBUTES
from serving.telemetry.tracing.request_trace import RequestTrace

Feed = Mapping[str, NDArray[Any]]
TENANT: Final = "tenant"
"""Request parameter that names the tenant."""
CACHE: Final = "cache"
"""The source of an answer whose model outputs came from the prediction cache."""
_SLOW_FACTOR: Final = 10.0
"""A run of many rows is slow only if it takes this many times the expected time of its rows."""


class RequestState(msgspec.Struct):
    """One request while it is answered. Times are the clock's monotonic seconds. entity_hashes: of its rows; empty if there is no split.

    explain: the explanation it asks for; explain_s: the time that took."""

    request: InferRequest
    trace: RequestTrace | None
    started_s: float
    deadline_s: float
    now_us: int
    wanted: tuple[str, ...]
    rows: TensorRows | ColumnRows
    entity_hashes: list[EntityHash] = []
    is_evidence: bool = False
    explain: str | None = None
    explain_s: float = 0.0


class VariantTimedOut(DeadlineExceeded):
    """A variant used up its share of the time; stable answers in the rest."""


class ModelUnavailable(Unavailable):
    """The breaker of a variant's model is open, so it was not run. is_slow: because it had been too slow, not wrong."""

    def __init__(self, message: str, *, retry_after_s: float, is_slow: bool) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.is_slow = is_slow


class VariantRunner:
    """Runs row groups on one event loop. Without bulkheads in `protection` every model runs on the loop."""

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

    async def run(self, state: RequestState, group: RowGroup, *, share: float = 1.0) -> None:
        """Fill the group. share: of the remaining time, what the model may use. Raises RunError, DeadlineExceeded, BadRequest,
        ModelUnavailable, Overloaded."""
        rows, revision, reader = group.rows, group.variant.revision, self._features
        if isinstance(rows, ColumnRows) and revision.feature_service is not None and reader is not None:
            group.features = await self._read(state, group, rows, revision.feature_service, reader)
            if group.features.outcome is not ReadOutcome.OK and await self.settle(state, group, "features"):
                return
        tensors, cache = tensors_of(group), self._protection.predictions
        if cache is not None and (cache := self._cache_for(revision, rows.rows)) is not None:
            await self._run_cached(state, group, tensors, share, cache)
        elif revision.run_us * rows.rows <= INLINE_BUDGET_US:  # the usual run, see `_run`
            self._run_on_loop(state, group, tensors)
        else:
            await self._run(state, group, tensors, share)
        if group.triage is not None and group.verdicts is not None:
            counts = counted(group.triage, group.verdicts.codes)
            self._metrics.triaged(revision.name, revision.version, revision.variant, counts)
        if revision.rules is not None and revision.rules.use == "verdict":
            began_s = self._clock.monotonic_s()
            await raise_by_rules(group, self._metrics)
            self._read_end(state, group, names.RULES, began_s)
        if revision.suppressions is not None:
            await self._suppress(state, group)

    async def settle(self, state: RequestState, group: RowGroup, why: Why) -> bool:
        """Let rules answer the group, and suppressions lower what they say; False if no rule can be evaluated. why: what is out."""
        began_s = self._clock.monotonic_s()
        if not await settle_by_rules(group, why, self._metrics):
            return False
        self._read_end(state, group, names.RULES, began_s)
        if group.variant.revision.suppressions is not None:
            await self._suppress(state, group)
        return True

    async def _suppress(self, state: RequestState, group: RowGroup) -> None:
        began_s = self._clock.monotonic_s()
        await suppress(group, state.now_us, self._metrics)
        self._read_end(state, group, names.SUPPRESS, began_s)

    def record_failure(self, group: RowGroup) -> None:
        """The group's variant refused rows that another variant accepts: a failure of the variant."""
        if group.ticket is not None:
            self._guard(group.variant.revision).failed(group.ticket, 0.0, self._clock.monotonic_s())

    def release_ticket(self, group: RowGroup) -> None:
        """The group's variant refused rows that every variant refuses: the input is at fault, the breaker learns nothing."""
        if group.ticket is not None:
            self._guard(group.variant.revision).unused(group.ticket)

    async def _read(
        self, state: RequestState, group: RowGroup, rows: ColumnRows, service: str, reader: FeatureReader
    ) -> FeatureRows:
        """Read the features of these rows. If the store is out they are defaults, and every row is degraded. Raises DeadlineExceeded."""
        start = self._clock.monotonic_s()
        left_s = state.deadline_s - start
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed before features were read; allow more time")
        budget_s = read_slice_s(left_s, self._feature_timeout_s, _expected_s(group.variant.revision, rows.rows))
        found = await reader.read(service, rows.keys, rows.fields, rows.at_us, budget_s)
        group.feature_s = self._clock.monotonic_s() - start
        if state.trace is not None:
            told = {names.FEATURE_SERVICE: service, names.FEATURE_OUTCOME: found.outcome.value}
            state.trace.read(names.FEATURES, start, start + group.feature_s, group, told)
        if found.defaulted:
            values = found.defaulted.values()
            count = len(values) if rows.rows == 1 else sum(int(np.count_nonzero(m)) for m in values)
            self._metrics.features_defaulted(service, "missing_or_old", count)
        return found

    def _cache_for(self, revision: LoadedRevision, rows: int) -> Predictions | None:
        """The prediction cache, or None if this run is quicker than a look-up."""
        cache = self._protection.predictions
        if cache is None or cache.is_worthwhile(_expected_s(revision, rows)):
            return cache
        cache.count_skipped(revision.name)
        return None

    def _guard(self, revision: LoadedRevision) -> Guard:
        protection = self._protection
        guard = protection.model(revision.name, revision.version, revision.variant, revision.digest)
        protection.last_guard = (revision, guard)
        return guard

    async def _run(self, state: RequestState, group: RowGroup, tensors: Feed, share: float) -> None:
        bulkheads = self._protection.bulkheads
        if bulkheads is None or group.variant.revision.may_run_inline(group.rows.rows):
            self._run_on_loop(state, group, tensors)
        else:
            await self._run_in_thread(state, group, tensors, share, bulkheads)

    async def _run_cached(self, state: RequestState, group: RowGroup, tensors: Feed, share: float, cache: Predictions) -> None:
        """Take the outputs for these tensors from the cache, or run the model and cache its outputs."""
        revision, plan, start = group.variant.revision, group.plan, self._clock.monotonic_s()
        feed = runtime_feed(tensors)
        key = prediction_key(tenant_of(state.request), revision.digest, plan.point, plan.to_run, feed)

        async def run() -> Outputs:
            await self._run(state, group, tensors, share)
            return dict(group.raw)

        try:
            left_s = run_slice_s(state.deadline_s - start, share)
            group.raw, outcome = await cache.outputs(revision.name, key, group.rows.rows, left_s, run, names=plan.to_run)
        except TimeoutError as problem:  # waiting for another request's run
            self._read_end(state, group, names.CACHE, start, problem)
            raise _timed_out(revision, state.deadline_s - start, share) from problem
        if state.trace is not None:
            told = {names.CACHE_OUTCOME: outcome}
            state.trace.read(names.CACHE, start, self._clock.monotonic_s(), group, told)
        if outcome != "miss":  # else the run has concluded it
            group.source = CACHE
            group.conclude()

    def _run_on_loop(self, state: RequestState, group: RowGroup, tensors: Feed) -> None:
        """Run the model on the event loop. Nearly every request takes this path, so it makes few calls."""
        revision, monotonic_s = group.variant.revision, self._clock.monotonic_s
        feed = runtime_feed(tensors) if revision.takes_text else tensors
        last, guard = self._protection.last_guard
        if last is not revision:
            guard = self._guard(revision)
        start = monotonic_s()
        ticket = guard.standing or guard.ask(start)
        if ticket is None:
            raise _breaker_open(revision, guard, start)
        try:
            group.raw = revision.model.run(feed, group.plan.to_run)
            end = monotonic_s()
            group.conclude()
        except RunError:
            group.ticket = ticket
            raise
        except Exception as problem:
            guard.failed(ticket, monotonic_s() - start, monotonic_s())
            self._read_end(state, group, names.MODEL, start, problem)
            raise
        group.model_s = took_s = end - start
        if revision.has_triage and group.is_ended:
            guard.unused(ticket)
        elif took_s > guard.slow_s:
            _report_run(guard, ticket, group, took_s, end)
        else:
            guard.succeeded(ticket, took_s, end)
        if state.trace is not None:
            state.trace.readings.append((_run_name(group), start, end, group, NO_ATTRIBUTES, None))
        if end > state.deadline_s:
            raise _too_late(group, end - state.deadline_s)

    async def _run_in_thread(
        self, state: RequestState, group: RowGroup, tensors: Feed, share: float, bulkheads: Bulkheads
    ) -> None:
        """Run the model in its bulkhead's thread, because it would hold up the loop too long. It is stopped when its time is over."""
        revision, start = group.variant.revision, self._clock.monotonic_s()
        run = _ThreadRun(revision.model, runtime_feed(tensors), group.plan.to_run, self._clock)
        guard = self._guard(revision)
        ticket = guard.ask(start)
        if ticket is None:
            raise _breaker_open(revision, guard, start)
        left_s = state.deadline_s - start
        try:
            group.raw = await bulkheads.of(f"{revision.name}/{revision.version}/{revision.variant}").run(
                run,
                within_s=run_slice_s(left_s, share),
                expected_s=_expected_s(revision, group.rows.rows),
                stop=run.stop.request,
            )
            group.conclude()
        except RunError:
            group.ticket = ticket
            raise
        except TimeoutError as problem:
            now = self._clock.monotonic_s()
            self._read_run(state, group, start, run, problem)
            _report_run(guard, ticket, group, run.lasted_s(now), now, is_abandoned=True)
            raise _timed_out(revision, left_s, share) from problem
        except Overloaded:
            guard.unused(ticket)
            raise
        except Exception as problem:
            guard.failed(ticket, run.lasted_s(self._clock.monotonic_s()), self._clock.monotonic_s())
            self._read_run(state, group, start, run, problem)
            raise
        except BaseException:  # the client is gone
            guard.unused(ticket)
            raise
        end = self._clock.monotonic_s()
        if group.is_ended:
            guard.unused(ticket)
        else:
            _report_run(guard, ticket, group, run.lasted_s(end), end)
        group.model_s = end - start
        self._read_run(state, group, start, run)
        if end > state.deadline_s:
            raise _too_late(group, end - state.deadline_s)

    def _read_end(
        self, state: RequestState, group: RowGroup, name: str, start_s: float, problem: Exception | None = None
    ) -> None:
        """Note for the trace, if there may be one, that a part is over now."""
        if state.trace is not None:
            error = None if problem is None else type(problem).__name__
            state.trace.read(name, start_s, self._clock.monotonic_s(), group, error=error)

    def _read_run(
        self, state: RequestState, group: RowGroup, start_s: float, run: "_ThreadRun", problem: Exception | None = None
    ) -> None:
        """The same of a run in a thread, and of its wait for the thread."""
        if state.trace is None:
            return
        now_s = self._clock.monotonic_s()
        began_s, ended_s = run.times(now_s)
        error = None if problem is None else type(problem).__name__
        state.trace.read(names.QUEUE, start_s, began_s, group, error=error if began_s == now_s else None)
        if began_s < now_s:
            state.trace.read(_run_name(group), began_s, ended_s, group, error=error)


def _run_name(group: RowGroup) -> str:
    return names.TRIAGE if group.is_ended else names.MODEL


class _ThreadRun:
    """One run in a thread, with the time from its begin to its end; the wait for the thread does not count."""

    def __init__(self, model: Model, feed: Feed, names: list[str], clock: Clock) -> None:
        self._model, self._feed, self._names, self._clock = model, feed, names, clock
        self._began_s: float | None = None
        self._ended_s: float | None = None
        self.stop = StopSignal()

    def __call__(self) -> Outputs:
        self._began_s = self._clock.monotonic_s()
        try:
            return self._model.run(self._feed, self._names, self.stop)
        finally:
            self._ended_s = self._clock.monotonic_s()

    def times(self, now_s: float) -> tuple[float, float]:
        """When it began and ended; `now_s` for what has not happened yet."""
        began_s = now_s if self._began_s is None else self._began_s
        return began_s, now_s if self._ended_s is None else self._ended_s

    def lasted_s(self, now_s: float) -> float:
        """How long it has run; 0 if it did not begin."""
        return 0.0 if self._began_s is None else (self._ended_s or now_s) - self._began_s


def _expected_s(revision: LoadedRevision, rows: int) -> float:
    return revision.run_us * rows * 1e-6


def _too_late(group: RowGroup, by_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"model {group.variant.revision.name!r} answered {by_s:.3f} s after the deadline; allow more time")


def _report_run(
    guard: Guard, ticket: Ticket, group: RowGroup, took_s: float, now_s: float, *, is_abandoned: bool = False
) -> None:
    """Report a finished or abandoned run to the breaker.

    A long run of many rows is not slow if it stays within `_SLOW_FACTOR` of the expected time. A run that was abandoned before it was slow
    does not count, because the caller's deadline was too short."""
    if took_s > guard.slow_s and took_s <= _SLOW_FACTOR * _expected_s(group.variant.revision, group.rows.rows):
        took_s = 0.0
    if is_abandoned and took_s <= guard.slow_s:
        guard.unused(ticket)
    else:
        guard.succeeded(ticket, took_s, now_s)


def _breaker_open(revision: LoadedRevision, guard: Guard, now_s: float) -> ModelUnavailable:
    breaker = guard.breaker
    return ModelUnavailable(
        f"model {revision.name!r} ({revision.variant}) gets no calls for now: {breaker.why}; try again later",
        retry_after_s=guard.retry_after_s(now_s),
        is_slow=breaker.is_slow,
    )


def _timed_out(revision: LoadedRevision, left_s: float, share: float) -> DeadlineExceeded:
    if share < 1.0:
        return VariantTimedOut(f"model {revision.name!r} took more than {left_s * share:.3f} s")
    return DeadlineExceeded(f"model {revision.name!r} did not answer within the deadline; allow more time or send fewer rows")


def tenant_of(request: InferRequest) -> str:
    """The tenant whose cached predictions may answer this request: the header's, else the parameter's, else "". Raises BadRequest."""
    if request.tenant is not None:
        return request.tenant
    named = request.parameters.get(TENANT, "") if request.parameters else ""
    if not isinstance(named, str):
        raise BadRequest(f"parameters.{TENANT} is {named!r:.60}, expected text")
    return named


def tensors_of(group: RowGroup) -> Feed:
    """The graph's inputs: as sent, or put together from columns and the features that were read."""
    rows, revision = group.rows, group.variant.revision
    if isinstance(rows, TensorRows):
        return rows.tensors
    fields = rows.fields if revision.rules is None else fields_with_rules(revision, rows)
    return feed_of(revision.assembly, fields, group.features, rows.rows)


def runtime_feed(tensors: Feed) -> dict[str, NDArray[Any]]:
    """Tensors as the runtime takes them. Raises RunError for text that is not UTF-8."""
    return {name: as_runtime_strings(a) if a.dtype == object else a for name, a in tensors.items()}
