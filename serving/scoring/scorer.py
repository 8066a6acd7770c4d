"""The Scorer: request -> variants -> features -> model -> verdict, with the account of it. Core.

Each row of a request goes to the variant that the split gives its entity. Where a variant fails, stable answers: the failure is evidence
against the variant, and the client still gets an answer. Left to others: decoding and encoding (serving.doors), which revisions are loaded
(serving.loading), what one variant does with its rows (variant_runner), and what an answer says (answers)."""

import asyncio
import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.audit.durability.modes import ALL_ASYNC, AuditMode, AuditModes
from serving.audit.record import AuditRecord, AuditSink, NotRecorded
from serving.errors import BadRequest, DeadlineExceeded, NotFound, Overloaded, TooLarge, Unsupported
from serving.messages import EXPLAIN, InferAnswer, InferRequest, Tensor
from serving.models.errors import RunError
from serving.ports import Clock, FeatureReader
from serving.resilience.deadline import too_late
from serving.scoring.accounts.records import audit_record
from serving.scoring.answer_plan import answer_plan_of, operating_point_of, wanted_outputs
from serving.scoring.answers import answer_parameters, output_tensor
from serving.scoring.entity import ENTITY, row_segments
from serving.scoring.explained import ExplanationThread, check_rows, method_asked
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.mirror import Mirror
from serving.scoring.protection import Protection, unprotected
from serving.scoring.row_group import RowGroup
from serving.scoring.variant_runner import ModelUnavailable, RequestState, VariantRunner, VariantTimedOut
from serving.scoring.variant_set import Variant, VariantSet
from serving.segments.mapping import SegmentMap
from serving.telemetry.evidence import VariantEvidence
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import names
from serving.telemetry.tracing.request_trace import RequestTrace
from serving.telemetry.tracing.span_bytes import KnownAttributes

_CLIENT_ERRORS = (BadRequest, NotFound, TooLarge, Unsupported, Overloaded)
"""Errors of the request or of the load; no evidence against a variant."""
_VARIANT_SHARE: Final = 0.5
"""Share of the remaining model time a non-stable variant may use. The rest is reserved for stable as the fallback."""
_ASYNC: Final = KnownAttributes({names.AUDIT_MODE: AuditMode.ASYNC.value})
_STRICT: Final = KnownAttributes({names.AUDIT_MODE: AuditMode.STRICT.value})
_log = logging.getLogger("vedette.scorer")


@dataclass(frozen=True, slots=True)
class ScorerLimits:
    """Limits of one request: times in seconds, and the number of rows."""

    default_deadline_s: float
    feature_timeout_s: float
    max_rows: int


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
        identity: str,
        mirror: Mirror | None = None,
        protection: Protection | None = None,
        audit_modes: AuditModes = ALL_ASYNC,
        explanations: ExplanationThread | None = None,
        segments: SegmentMap | None = None,
    ) -> None:
        self._segments = segments
        self._audit, self._clock, self._metrics, self._mirror = audit, clock, metrics, mirror
        self._limits, self._identity = limits, identity
        self._audit_mode, self._audit_mode_of = audit_modes.default, audit_modes.models
        self._protection = protection or unprotected(limits.default_deadline_s, limits.feature_timeout_s)
        self._runner = VariantRunner(
            features, clock, metrics, feature_timeout_s=limits.feature_timeout_s, protection=self._protection
        )
        self._explanations = explanations or ExplanationThread()
        self._numbers = itertools.count(1)

    async def score(self, variants: VariantSet, request: InferRequest, trace: RequestTrace | None = None) -> InferAnswer:
        """Answer one request with these variants.

        Raises BadRequest, DeadlineExceeded, Overloaded, ModelUnavailable; NotRecorded where the prediction log is strict."""
        state, groups = self._accept(variants, request, trace)
        if len(groups) == 1:
            groups = [await self._answer(variants, state, groups[0])]
        else:
            groups = await self._answer_all(variants, state, groups)
        if trace is not None and trace.trace is None:
            self._judge(trace, state, groups)
        receipt = f"{self._identity}-{next(self._numbers):x}"
        first = groups[0]
        if len(groups) == 1:
            version, outputs = first.variant.revision.version, tuple([make(first) for make in first.plan.makers])
        else:
            version = variants.stable.revision.version
            outputs = tuple([output_tensor(at, groups, state.rows.rows) for at in range(len(state.wanted))])
        parameters = answer_parameters(groups, receipt, None if trace is None or trace.trace is None else trace.trace.trace_id)
        if state.explain is not None:
            outputs = (*outputs, await self._explain(state, groups, state.explain))
            parameters[EXPLAIN] = state.explain
        answer = InferAnswer(first.variant.revision.name, version, outputs, request.id, parameters)
        mode = self._audit_mode_of.get(first.variant.revision.name, self._audit_mode)
        if mode is AuditMode.STRICT and self._audit is not None:
            await self._commit_records(self._audit, state, groups, receipt)
        latency_s = self._count_answered(state, groups)
        if mode is AuditMode.ASYNC and self._audit is not None:
            self._append_records(self._audit, state, groups, receipt, latency_s)
        if variants.mirrors:
            for group in groups:
                if group.fallback_from is None:
                    self._offer_to_mirror(variants, state, group, latency_s)
        return answer

    def _judge(self, trace: RequestTrace, state: RequestState, groups: Sequence[RowGroup]) -> None:
        """Keep the trace of a request that was slow or degraded though it was not sampled."""
        for group in groups:
            if group.degraded_rows or group.fallback_from is not None:
                trace.keep("degraded")
                return
        if self._clock.monotonic_s() - state.started_s > trace.tracer.tail.slow_s:
            trace.keep("slow")

    async def _explain(self, state: RequestState, groups: Sequence[RowGroup], method: str) -> Tensor:
        """The explanation of an answer that is made. Its time is no latency of the model's, and is kept apart."""
        began_s = self._clock.monotonic_s()
        found = await self._explanations.explain(groups, method, state.deadline_s - began_s)
        state.explain_s = self._clock.monotonic_s() - began_s
        if state.trace is not None:
            state.trace.read(names.EXPLAIN, began_s, began_s + state.explain_s, groups[0], {names.EXPLAIN_METHOD: method})
        return found

    async def record(self, model: str, records: Sequence[AuditRecord]) -> None:
        """Put records that are no answers into the prediction log, as the model's answers are. Raises NotRecorded, DeadlineExceeded."""
        mode = self._audit_mode_of.get(model, self._audit_mode)
        if self._audit is None or mode is AuditMode.OFF:
            return
        if mode is AuditMode.STRICT:
            await self._commit(self._audit, records, self._limits.default_deadline_s)
            return
        for record in records:
            self._audit.append(record)

    def keep(self, revisions: Iterable[LoadedRevision]) -> None:
        """Release the breakers and threads of every other variant."""
        kept = [(s.name, s.version, s.variant, s.digest) for s in revisions]
        self._protection.keep(kept)
        self._explanations.keep({name for name, _, _, _ in kept})

    def _accept(
        self, variants: VariantSet, request: InferRequest, trace: RequestTrace | None
    ) -> tuple[RequestState, list[RowGroup]]:
        """Check the request against stable's inputs and split its rows between the variants."""
        started, now_us = self._clock.monotonic_s(), self._clock.now_us()
        stable, allowed_s = variants.stable, request.deadline_s
        if allowed_s is None:
            allowed_s = self._limits.default_deadline_s
        else:
            refusal = too_late(stable.revision.name, allowed_s, stable.revision.run_us * 1e-6)
            if refusal is not None:
                self._protection.refused_late += 1
                raise refusal
        wanted = wanted_outputs(stable.revision, request)
        point = operating_point_of(stable.revision, request)
        explain = method_asked(stable.revision, request) if request.parameters else None
        rows = stable.revision.inputs.read(request, now_us, self._limits.max_rows)
        state = RequestState(request, trace, started, started + allowed_s, now_us, wanted, rows)
        if trace is not None:
            trace.clock, trace.started_s = self._clock, started
        if explain is not None:
            check_rows(rows.rows)
            state.explain = explain
        group = RowGroup(stable, rows, answer_plan_of(stable.revision, wanted, point))
        if not variants.others:
            state.is_evidence = stable.evidence is not None
            return state, [group]
        if not variants.can_split(request, rows):
            return state, [group]
        state.is_evidence = True
        state.entity_hashes = variants.entity_hashes(request, rows)
        return state, _groups_by_variant(variants, state) if variants.split.gives_away else [group]

    async def _answer(self, variants: VariantSet, state: RequestState, group: RowGroup) -> RowGroup:
        """Answer one group by its variant or, if that fails, by stable; count it for its variant. Raises ServingError."""
        try:
            await self._runner.run(state, group, share=1.0 if group.variant is variants.stable else _VARIANT_SHARE)
        except Exception as problem:
            if group.variant is variants.stable:
                if self._count_failure(state, group, problem):
                    self._offer_to_mirror(variants, state, group, self._clock.monotonic_s() - state.started_s, has_failed=True)
                if await self._answer_by_rules(state, group, problem):
                    return group
                if isinstance(problem, RunError):
                    self._runner.release_ticket(group)
                    raise BadRequest(f"model {group.variant.revision.name!r}: {problem}") from problem
                self._protection.refused_by_breaker += isinstance(problem, ModelUnavailable)
                raise
            return await self._answer_by_stable(variants, state, group, problem)
        if state.is_evidence:
            self._count_answer(variants, state, group)
        return group

    async def _answer_all(self, variants: VariantSet, state: RequestState, groups: list[RowGroup]) -> list[RowGroup]:
        found = await asyncio.gather(*(self._answer(variants, state, group) for group in groups), return_exceptions=True)
        done = [group for group in found if isinstance(group, RowGroup)]
        if len(done) < len(groups):
            raise next(problem for problem in found if isinstance(problem, BaseException))
        return done

    async def _answer_by_stable(
        self, variants: VariantSet, state: RequestState, group: RowGroup, problem: Exception
    ) -> RowGroup:
        """Stable answers the rows that a variant failed on. Rows that stable refuses too are a bad request."""
        revision = group.variant.revision
        stable = variants.stable
        plan = answer_plan_of(stable.revision, state.wanted, operating_point_of(stable.revision, state.request))
        fallback = RowGroup(stable, group.rows, plan, group.index, fallback_from=revision.variant)
        try:
            await self._runner.run(state, fallback)
        except RunError as same:
            self._runner.release_ticket(group)
            self._runner.release_ticket(fallback)
            raise BadRequest(f"model {revision.name!r}: {same}") from same
        except Exception as both:
            self._runner.release_ticket(group)
            self._count_failure(state, group, problem)
            if await self._answer_by_rules(state, fallback, both):
                return fallback
            self._protection.refused_by_breaker += isinstance(both, ModelUnavailable)
            raise
        self._runner.record_failure(group)
        if isinstance(problem, (VariantTimedOut, Overloaded)) or (isinstance(problem, ModelUnavailable) and problem.is_slow):
            self._count_answer(variants, state, fallback, group.variant)
        else:
            self._count_failure(state, group, RuntimeError())
        if self._metrics.fell_back(revision.name, revision.version, revision.variant) == 1:
            _log.warning("%s of %s fails, stable answers instead (logged once): %s", revision.variant, revision.name, problem)
        return fallback

    async def _answer_by_rules(self, state: RequestState, group: RowGroup, problem: Exception) -> bool:
        """Let the rules answer where stable's model cannot; not if the request is at fault or overload refused it. True if they did."""
        if isinstance(problem, (*_CLIENT_ERRORS, RunError)):
            return False
        return await self._runner.settle(state, group, "model")

    def _offer_to_mirror(
        self, variants: VariantSet, state: RequestState, group: RowGroup, latency_s: float, *, has_failed: bool = False
    ) -> None:
        """Offer the rows that the split gave to stable to the mirror."""
        if self._mirror is not None and state.entity_hashes and group.variant is variants.stable:
            entity_hashes = _entity_hashes_of(state, group)
            self._mirror.offer(variants, state.request, state.wanted, group, entity_hashes, latency_s, has_failed=has_failed)

    def _count_failure(self, state: RequestState, group: RowGroup, problem: Exception) -> bool:
        """Count a failure against the group's variant unless the request is at fault. True if it was counted."""
        evidence = group.variant.evidence
        if not state.is_evidence or evidence is None or isinstance(problem, (*_CLIENT_ERRORS, RunError)):
            return False
        evidence.live.failed()
        for entity_hash in _entity_hashes_of(state, group):
            evidence.entities.count_first(entity_hash[1], is_error=True, is_slow=False, is_degraded=False, is_alert=False)
        return True

    def _count_answer(
        self, variants: VariantSet, state: RequestState, group: RowGroup, too_slow: Variant | None = None
    ) -> None:
        """Count an answered group. too_slow: the variant that took too long, so that stable answered for it; it is charged a slow
        request and no error."""
        evidence = (too_slow or group.variant).evidence
        if evidence is None or not state.is_evidence:
            return
        is_slow = too_slow is not None or self._clock.monotonic_s() - state.started_s > variants.objective_s
        alerts = group.counts[2] if group.counts is not None else 0
        evidence.live.answered(group.rows.rows, is_slow=is_slow, degraded=group.degraded_rows, alerts=alerts)
        if state.entity_hashes:
            places = self._count_segments(state, group, evidence)
            identities, entities = [entity_hash[1] for entity_hash in _entity_hashes_of(state, group)], evidence.entities
            new = entities.new(identities)
            if not new:
                return
            codes = group.verdicts.codes.tolist() if group.verdicts is not None else [0] * group.rows.rows
            degraded = group.degraded.tolist()
            for at in new:
                is_alert = codes[at] == 2
                is_first = entities.count_first(
                    identities[at], is_error=False, is_slow=is_slow, is_degraded=degraded[at], is_alert=is_alert
                )
                if is_first and places is not None and evidence.segments is not None:
                    evidence.segments.add("entity", [(places[at], is_alert)])

    def _count_segments(
        self, state: RequestState, group: RowGroup, evidence: VariantEvidence
    ) -> Sequence[tuple[int, ...]] | None:
        """Count the rows by segment, if there is a mapping; gives the segments of each row."""
        if self._segments is None or evidence.segments is None or group.verdicts is None:
            return None
        places = row_segments(self._segments, group.rows, state.request.parameters.get(ENTITY))
        if places is not None:
            alerts = (group.verdicts.codes == 2).tolist()
            evidence.segments.add("live", zip(places, alerts, strict=True))
        return places

    def _append_records(
        self, audit: AuditSink, state: RequestState, groups: Sequence[RowGroup], receipt: str, latency_s: float
    ) -> None:
        """Hand the records of the answer on; they are written later."""
        began_s = state.started_s + state.explain_s + latency_s
        for group in groups:
            audit.append(audit_record(state, group, receipt, latency_s))
        if state.trace is not None and state.trace.trace is not None:
            state.trace.read(names.AUDIT, began_s, self._clock.monotonic_s(), None, _ASYNC)

    async def _commit_records(self, audit: AuditSink, state: RequestState, groups: Sequence[RowGroup], receipt: str) -> None:
        """Wait until the records of the answer are durable. Raises NotRecorded, Internal, DeadlineExceeded."""
        now_s = self._clock.monotonic_s()
        records = [audit_record(state, group, receipt, now_s - state.started_s - state.explain_s) for group in groups]
        await self._commit(audit, records, state.deadline_s - now_s)
        if state.trace is not None:
            state.trace.read(names.AUDIT, now_s, self._clock.monotonic_s(), None, _STRICT)
            self._judge(state.trace, state, groups)  # waiting for the disk may have made it slow

    async def _commit(self, audit: AuditSink, records: Sequence[AuditRecord], within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await audit.commit(records)
        except NotRecorded:
            self._protection.refused_unrecorded += 1
            raise
        except TimeoutError as problem:
            self._protection.refused_unrecorded += 1
            raise DeadlineExceeded(
                "the answer's record was not on the disk within the deadline, so the answer was not sent; allow more time"
            ) from problem

    def _count_answered(self, state: RequestState, groups: Sequence[RowGroup]) -> float:
        latency_s = self._clock.monotonic_s() - state.started_s - state.explain_s
        door, trace_id = state.request.door, None if state.trace is None else state.trace.trace_id
        for group in groups:
            revision, features = group.variant.revision, group.features
            self._metrics.for_model(revision.name, revision.version, revision.variant, door).answered(
                latency_s,
                group.rows.rows,
                group.plan.point,
                group.counts,
                group.degraded_rows,
                group.feature_s,
                group.model_s,
                None if features is None else features.oldest_age_ms,
                trace_id,
            )
        return latency_s


def _groups_by_variant(variants: VariantSet, state: RequestState) -> list[RowGroup]:
    """One group for each variant that gets rows. A request that names no operating point gets each revision's own default."""
    if len(state.entity_hashes) == 1:
        variant = variants.ranges[variants.split.choose(state.entity_hashes[0])]
        return [_group_of(state, variant, None)]
    codes = variants.split.choose_all(state.entity_hashes)
    by_variant: dict[str, tuple[Variant, list[int]]] = {}
    for code in np.unique(codes).tolist():
        variant = variants.ranges[code]
        by_variant.setdefault(variant.revision.variant, (variant, []))[1].append(code)
    if len(by_variant) == 1:
        return [_group_of(state, variant, None) for variant, _ in by_variant.values()]
    return [_group_of(state, variant, np.flatnonzero(np.isin(codes, ranges))) for variant, ranges in by_variant.values()]


def _group_of(state: RequestState, variant: Variant, index: NDArray[np.intp] | None) -> RowGroup:
    rows = state.rows if index is None else state.rows.take(index)
    plan = answer_plan_of(variant.revision, state.wanted, operating_point_of(variant.revision, state.request))
    return RowGroup(variant, rows, plan, index)


def _entity_hashes_of(state: RequestState, group: RowGroup) -> list[tuple[int, int]]:
    if group.index is None or len(state.entity_hashes) == 1:
        return state.entity_hashes
    return [state.entity_hashes[i] for i in group.index.tolist()]
