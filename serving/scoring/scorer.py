"""The Scorer: request -> variants -> features -> model -> verdict, with the account of it. Core; asks only the ports.

Doors decode and encode; which revisions are loaded is serving.replica.inference_service's; what one variant does with its rows is
serving.scoring.variant_runner';
what an answer says is serving.scoring.answers'. Each row of a request goes to the variant its entity meets. Where a variant fails, stable
answers: the failure is evidence against the variant, and no client meets it."""

import asyncio
import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.audit.record import AuditRecord, AuditSink
from serving.errors import BadRequest, NotFound, Overloaded, TooLarge, Unsupported
from serving.messages import InferAnswer, InferRequest
from serving.models.errors import RunError
from serving.ports import Clock, FeatureReader
from serving.resilience.deadline import too_late
from serving.scoring.answer_plan import answer_plan_of, operating_point_of, wanted_outputs
from serving.scoring.answers import answer_parameters, output_tensor
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.mirror import Mirror
from serving.scoring.protection import Protection, unprotected
from serving.scoring.row_group import RowGroup
from serving.scoring.rules_fallback import settle_by_rules
from serving.scoring.variant_runner import ModelUnavailable, RequestState, VariantRunner, VariantTimedOut
from serving.scoring.variant_set import Variant, VariantSet
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import Trace

_NOT_OURS = (BadRequest, NotFound, TooLarge, Unsupported, Overloaded)
"""Errors that blame no variant."""
_VARIANT_SHARE: Final = 0.5
"""Of the time left for the model, what a variant beside stable may take; the rest is stable's, should it have to answer."""
_log = logging.getLogger("vedette.scorer")


@dataclass(frozen=True, slots=True)
class ScorerLimits:
    """Times in seconds; rows per request."""

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
    ) -> None:
        self._audit, self._clock, self._metrics, self._mirror = audit, clock, metrics, mirror
        self._limits, self._identity = limits, identity
        self._protection = protection or unprotected(limits.default_deadline_s, limits.feature_timeout_s)
        self._stages = VariantRunner(
            features, clock, metrics, feature_timeout_s=limits.feature_timeout_s, protection=self._protection
        )
        self._numbers = itertools.count(1)

    async def score(self, lineup: VariantSet, request: InferRequest, trace: Trace | None = None) -> InferAnswer:
        """Answer one request with this lineup. Raises BadRequest, DeadlineExceeded, Overloaded, ModelUnavailable."""
        work, parts = self._accept(lineup, request, trace)
        if len(parts) == 1:
            parts = [await self._answer(lineup, work, parts[0])]
        else:
            parts = await self._answer_all(lineup, work, parts)
        receipt = f"{self._identity}-{next(self._numbers):x}"
        first = parts[0]
        if len(parts) == 1:
            version, outputs = first.member.served.version, tuple([make(first) for make in first.way.makers])
        else:
            version = lineup.stable.served.version
            outputs = tuple([output_tensor(place, parts, work.rows.rows) for place in range(len(work.wanted))])
        parameters = answer_parameters(parts, receipt, trace.trace_id if trace else None)
        answer = InferAnswer(first.member.served.name, version, outputs, request.id, parameters)
        latency_s = self._account(work, parts, receipt)
        if lineup.mirrors:
            for part in parts:
                if part.fallback_from is None:
                    self._reflect(lineup, work, part, latency_s)
        return answer

    def keep(self, served: Iterable[LoadedRevision]) -> None:
        """Release what is held for the breakers and threads of every other variant."""
        self._protection.keep([(s.name, s.version, s.variant, s.revision) for s in served])

    def _accept(self, lineup: VariantSet, request: InferRequest, trace: Trace | None) -> tuple[RequestState, list[RowGroup]]:
        """Read the request as stable takes it, and say which variant gets which rows."""
        started, now_us = self._clock.monotonic_s(), self._clock.now_us()
        stable, allowed_s = lineup.stable, request.deadline_s
        if allowed_s is None:
            allowed_s = self._limits.default_deadline_s
        else:
            refusal = too_late(stable.served.name, allowed_s, stable.served.run_us * 1e-6)
            if refusal is not None:
                self._protection.late += 1
                raise refusal
        wanted = wanted_outputs(stable.served, request)
        point = operating_point_of(stable.served, request)
        rows = stable.served.inputs.read(request, now_us, self._limits.max_rows)
        work = RequestState(request, trace, started, started + allowed_s, now_us, wanted, rows)
        whole = RowGroup(stable, rows, answer_plan_of(stable.served, wanted, point))
        if not lineup.others:
            work.is_evidence = stable.evidence is not None
            return work, [whole]
        if not lineup.can_split(request, rows):
            return work, [whole]
        work.is_evidence = True
        work.places = lineup.places(request, rows)
        return work, _split(lineup, work) if lineup.split.gives_away else [whole]

    async def _answer(self, lineup: VariantSet, work: RequestState, part: RowGroup) -> RowGroup:
        """One part, by its variant or, if that fails, by stable; either way its variant's evidence. Raises BadRequest, ServingError."""
        try:
            if not self._stages.run_at_once(work, part):
                await self._stages.run(work, part, share=1.0 if part.member is lineup.stable else _VARIANT_SHARE)
        except Exception as problem:
            if part.member is lineup.stable:
                if self._blame(work, part, problem):
                    self._reflect(lineup, work, part, self._clock.monotonic_s() - work.started_s, has_failed=True)
                if await self._ruled(part, problem):
                    return part
                if isinstance(problem, RunError):
                    self._stages.pardon(part)
                    raise BadRequest(f"model {part.member.served.name!r}: {problem}") from problem
                self._protection.barred += isinstance(problem, ModelUnavailable)
                raise
            return await self._rescue(lineup, work, part, problem)
        if work.is_evidence:
            self._count(lineup, work, part)
        return part

    async def _answer_all(self, lineup: VariantSet, work: RequestState, parts: list[RowGroup]) -> list[RowGroup]:
        found = await asyncio.gather(*(self._answer(lineup, work, part) for part in parts), return_exceptions=True)
        done = [part for part in found if isinstance(part, RowGroup)]
        if len(done) < len(parts):
            raise next(problem for problem in found if isinstance(problem, BaseException))
        return done

    async def _rescue(self, lineup: VariantSet, work: RequestState, part: RowGroup, problem: Exception) -> RowGroup:
        """Stable answers the rows a variant failed on. A row that stable cannot take either is the client's mistake."""
        served = part.member.served
        stable = lineup.stable
        way = answer_plan_of(stable.served, work.wanted, operating_point_of(stable.served, work.request))
        instead = RowGroup(stable, part.rows, way, part.index, fallback_from=served.variant)
        try:
            await self._stages.run(work, instead)
        except RunError as same:
            self._stages.pardon(part)
            self._stages.pardon(instead)
            raise BadRequest(f"model {served.name!r}: {same}") from same
        except Exception as both:
            self._stages.pardon(part)
            self._blame(work, part, problem)
            if await self._ruled(instead, both):
                return instead
            self._protection.barred += isinstance(both, ModelUnavailable)
            raise
        self._stages.blame(part)
        if isinstance(problem, (VariantTimedOut, Overloaded)) or (isinstance(problem, ModelUnavailable) and problem.is_slow):
            self._count(lineup, work, instead, part.member)
        else:
            self._blame(work, part, RuntimeError())
        if self._metrics.fell_back(served.name, served.version, served.variant) == 1:
            _log.warning("%s of %s fails, stable answers (said once): %s", served.variant, served.name, problem)
        return instead

    async def _ruled(self, part: RowGroup, problem: Exception) -> bool:
        """Let rules answer where stable's model cannot, unless the request is at fault or there are too many of them."""
        if isinstance(problem, (*_NOT_OURS, RunError)):
            return False
        return await settle_by_rules(part, "model", self._metrics)

    def _reflect(
        self, lineup: VariantSet, work: RequestState, part: RowGroup, latency_s: float, *, has_failed: bool = False
    ) -> None:
        """Leave copies of what stable was given by the split to the mirror."""
        if self._mirror is not None and work.places and part.member is lineup.stable:
            places = _places(work, part)
            self._mirror.offer(lineup, work.request, work.wanted, part, places, latency_s, has_failed=has_failed)

    def _blame(self, work: RequestState, part: RowGroup, problem: Exception) -> bool:
        """Count a failure against the part's variant, if it is one by our fault; whether it is."""
        evidence = part.member.evidence
        if not work.is_evidence or evidence is None or isinstance(problem, (*_NOT_OURS, RunError)):
            return False
        evidence.live.failed()
        for place in _places(work, part):
            evidence.entities.met(place[1], is_error=True, is_slow=False, is_degraded=False, is_alert=False)
        return True

    def _count(self, lineup: VariantSet, work: RequestState, part: RowGroup, too_slow: Variant | None = None) -> None:
        """Evidence of an answered part. too_slow: the variant stable answered for, because it took too long: what stable says is
        then neutral on all but the latency, and a candidate is not blamed for errors where stable would have been slow as well."""
        evidence = (too_slow or part.member).evidence
        if evidence is None or not work.is_evidence:
            return
        is_slow = too_slow is not None or self._clock.monotonic_s() - work.started_s > lineup.objective_s
        alerts = part.counts[2] if part.counts is not None else 0
        evidence.live.answered(part.rows.rows, is_slow=is_slow, degraded=part.degraded_rows, alerts=alerts)
        if work.places:
            identities, entities = [place[1] for place in _places(work, part)], evidence.entities
            new = entities.new(identities)
            if not new:
                return
            codes = part.judged.codes.tolist() if part.judged is not None else [0] * part.rows.rows
            degraded = part.degraded.tolist()
            for at in new:
                entities.met(identities[at], is_error=False, is_slow=is_slow, is_degraded=degraded[at], is_alert=codes[at] == 2)

    def _account(self, work: RequestState, parts: list[RowGroup], receipt: str) -> float:
        latency_s = self._clock.monotonic_s() - work.started_s
        door = work.request.door
        for part in parts:
            served, features = part.member.served, part.features
            self._metrics.for_model(served.name, served.version, served.variant, door).answered(
                latency_s,
                part.rows.rows,
                part.way.point,
                part.counts,
                part.degraded_rows,
                part.feature_s,
                part.model_s,
                None if features is None else features.oldest_age_ms,
            )
            if self._audit is not None:
                self._audit.append(_record(work, part, receipt, latency_s))
        return latency_s


def _split(lineup: VariantSet, work: RequestState) -> list[RowGroup]:
    """One part a variant that some row's entity meets; a variant's own default operating point is its revision's."""
    if len(work.places) == 1:
        member = lineup.ranges[lineup.split.choose(work.places[0])]
        return [_part(work, member, None)]
    codes = lineup.split.choose_all(work.places)
    members: dict[str, tuple[Variant, list[int]]] = {}
    for code in np.unique(codes).tolist():
        member = lineup.ranges[code]
        members.setdefault(member.served.variant, (member, []))[1].append(code)
    if len(members) == 1:
        return [_part(work, member, None) for member, _ in members.values()]
    return [_part(work, member, np.flatnonzero(np.isin(codes, ranges))) for member, ranges in members.values()]


def _part(work: RequestState, member: Variant, index: NDArray[np.intp] | None) -> RowGroup:
    rows = work.rows if index is None else work.rows.take(index)
    way = answer_plan_of(member.served, work.wanted, operating_point_of(member.served, work.request))
    return RowGroup(member, rows, way, index)


def _places(work: RequestState, part: RowGroup) -> list[tuple[int, int]]:
    if part.index is None or len(work.places) == 1:
        return work.places
    return [work.places[i] for i in part.index.tolist()]


def _record(work: RequestState, part: RowGroup, receipt: str, latency_s: float) -> AuditRecord:
    """One variant's record: of a request whose rows met several there are several, with one receipt."""
    served, features, judged, request = part.member.served, part.features, part.judged, work.request
    inputs = {t.name: t for t in request.inputs}
    if part.index is not None:
        inputs = {name: tensor.take(part.index) for name, tensor in inputs.items()}
    return AuditRecord(
        receipt=receipt,
        time_us=work.now_us,
        door=request.door,
        model=served.name,
        version=served.version,
        revision=served.revision,
        variant=served.variant,
        source=part.source,
        request_id=request.id,
        trace_id=work.trace.trace_id if work.trace else None,
        rows=part.rows.rows,
        inputs=inputs,
        features=features.columns if features else {},
        event_times_us=features.event_times_us if features else {},
        operating_point=part.point,
        scores=judged.scores if judged else [],
        verdicts=judged.codes if judged else [],
        degraded=part.degraded,
        latency_us=int(latency_s * 1e6),
        row_numbers=part.index,
        rules=[list(ids) for ids in part.matched],
        fallback_from=part.fallback_from,
    )
