"""The mirror: after the answer has left, a variant scores a copy of the request that stable answered. Differing verdicts are counted.

No request waits for it: a request puts its copy into a bounded queue (a full queue drops it, counted), and the copies are scored
in a thread of their own, a few at a time. The variant sees the same rows and the same feature values; they are read anew only if
its feature service is another. It takes rows that the split gave to stable, for the mirror's share of the entities; the share is sticky and
independent of the split. The latency of a copy is the time the client would have waited: stable's, with the variant's model run (and
feature read) in place of stable's."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.messages import InferRequest
from serving.models.assembly import assemble, feed_of
from serving.models.verdicts import VERDICTS
from serving.ports import Clock, FeatureReader, FeatureRows, StopSignal
from serving.scoring.answer_plan import answer_plan_of, operating_point_of, outputs_to_run
from serving.scoring.entity import ENTITY, EntityHash, mirror_bucket, row_segments
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.row_group import RowGroup, Verdicts, judge, with_unknown
from serving.scoring.rules.columns import fields_with_rules
from serving.scoring.rules.raising import raise_by_rules
from serving.scoring.rules.suppressing import suppress
from serving.scoring.variant_runner import runtime_feed
from serving.scoring.variant_set import Variant, VariantSet
from serving.segments.mapping import SegmentMap
from serving.telemetry import names
from serving.telemetry.evidence import RouteCounts, VariantEvidence
from serving.telemetry.metric_doc import MetricDoc
from serving.telemetry.metrics import ServingMetrics

_BATCH: Final = 32
_BATCH_US: Final = 10_000.0
"""About how long one visit to the thread may take."""
_ALERT: Final = 2


@dataclass(slots=True)
class MirroredRequest:
    """One request's rows for one variant, with stable's result (has_failed: stable failed by our fault).

    degraded, variant_degraded: degraded rows of stable and of the variant. overhead_s: the part of the latency that is not the model run.
    counts_stable: whether this copy is counted for stable too (the first of a request's copies is)."""

    variant: Variant
    stable: Variant
    request: InferRequest
    wanted: tuple[str, ...]
    rows: TensorRows | ColumnRows
    features: FeatureRows | None
    codes: NDArray[np.intp] | None
    degraded: int
    variant_degraded: int
    has_failed: bool
    latency_s: float
    overhead_s: float
    objective_s: float
    offered_s: float
    counts_stable: bool


@dataclass(slots=True)
class _Run:
    """The result of scoring a copy. problem: why it failed. A run that began and is not done timed out."""

    has_begun: bool = False
    is_done: bool = False
    raw: Mapping[str, NDArray[Any]] | None = None
    lasted_s: float = 0.0
    problem: Exception | None = None


class Mirror:
    """Scores copies of stable's requests for other variants, after the answer has left. deadline_s: how long a copy may wait, and
    how long scoring it may take."""

    def __init__(
        self,
        features: FeatureReader | None,
        clock: Clock,
        metrics: ServingMetrics,
        *,
        executor: Executor | None,
        max_copies: int,
        max_rows: int,
        deadline_s: float,
        feature_timeout_s: float,
        segments: SegmentMap | None = None,
    ) -> None:
        self._segments = segments
        self._features, self._clock, self._metrics, self._executor = features, clock, metrics, executor
        self._max_copies, self._max_rows = max_copies, max_rows
        self._deadline_s, self._feature_timeout_s = deadline_s, feature_timeout_s
        self._copies: deque[MirroredRequest] = deque()
        self._rows = 0
        self._task: asyncio.Task[None] | None = None

    def offer(
        self,
        variants: VariantSet,
        request: InferRequest,
        wanted: tuple[str, ...],
        group: RowGroup,
        entity_hashes: Sequence[EntityHash],
        latency_s: float,
        *,
        has_failed: bool = False,
    ) -> None:
        """Queue copies of stable's group for every variant that mirrors; returns at once. entity_hashes: of the group's rows.

        has_failed: stable failed by our fault. Such requests are mirrored too; without them stable would look better than it is."""
        for number, variant in enumerate(variants.mirrors):
            index = _mirrored_rows(entity_hashes, variant.mirror)
            if index is not None and not len(index):
                continue
            copy = self._copy(
                variants, variant, request, wanted, group, index, latency_s, is_first=number == 0, has_failed=has_failed
            )
            if len(self._copies) >= self._max_copies or self._rows + copy.rows.rows > self._max_rows:
                self._metrics.mirrored(variant.revision.name, variant.revision.variant, "dropped")
                continue
            self._copies.append(copy)
            self._rows += copy.rows.rows
        if self._copies and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._score_copies())

    async def drained(self) -> None:
        """Wait until every copy that was left is scored or dropped."""
        if self._task is not None:
            await self._task

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield names.MIRROR_WAITING, {(): float(len(self._copies))}

    def close(self) -> None:
        """Drop the copies that wait and stop those that are being scored."""
        self._copies.clear()
        self._rows = 0
        if self._task is not None:
            self._task.cancel()

    def _copy(
        self,
        variants: VariantSet,
        variant: Variant,
        request: InferRequest,
        wanted: tuple[str, ...],
        group: RowGroup,
        index: NDArray[np.intp] | None,
        latency_s: float,
        *,
        is_first: bool,
        has_failed: bool,
    ) -> MirroredRequest:
        codes = group.verdicts.codes if group.verdicts is not None else None
        is_same_service = variant.revision.feature_service == variants.stable.revision.feature_service
        features = group.features if is_same_service else None
        overhead_s = latency_s - (group.model_s or 0.0) - (0.0 if is_same_service else group.feature_s or 0.0)
        rows, degraded = group.rows, group.degraded_rows
        if index is not None:
            rows = rows.take(index)
            degraded = int(group.degraded[index].sum()) if len(group.degraded) else 0
            codes = None if codes is None else codes[index]
            features = None if features is None else _take(features, index)
        return MirroredRequest(
            variant=variant,
            stable=variants.stable,
            request=request,
            wanted=wanted,
            rows=rows,
            features=features,
            codes=codes,
            degraded=degraded,
            variant_degraded=degraded,
            has_failed=has_failed,
            latency_s=latency_s,
            overhead_s=max(overhead_s, 0.0),
            objective_s=variants.objective_s,
            offered_s=self._clock.monotonic_s(),
            counts_stable=is_first,
        )

    async def _score_copies(self) -> None:
        while self._copies:
            batch = self._next_batch()
            feeds = [await self._tensors(copy) for copy in batch]
            runs = [_Run() for _ in batch]
            stop = StopSignal()
            if self._executor is None:
                _run_all(batch, feeds, runs, self._clock, stop)
            else:
                loop = asyncio.get_running_loop()
                running = loop.run_in_executor(self._executor, _run_all, batch, feeds, runs, self._clock, stop)
                try:
                    await asyncio.wait([running], timeout=self._deadline_s)
                except asyncio.CancelledError:  # the mirror closes
                    stop.request()
                    raise
            for copy, run in zip(batch, runs, strict=True):
                await self._record_result(copy, run)
            stop.request()  # copies that still run are counted already
            await asyncio.sleep(0)

    def _next_batch(self) -> list[MirroredRequest]:
        """Copies that did not wait too long, as many as may be scored in one visit to the thread."""
        batch: list[MirroredRequest] = []
        oldest, cost_us = self._clock.monotonic_s() - self._deadline_s, 0.0
        while self._copies and len(batch) < _BATCH and cost_us < _BATCH_US:
            copy = self._copies.popleft()
            self._rows -= copy.rows.rows
            if copy.offered_s < oldest:
                self._metrics.mirrored(copy.variant.revision.name, copy.variant.revision.variant, "dropped")
                continue
            batch.append(copy)
            cost_us += copy.variant.revision.run_us * copy.rows.rows
        return batch

    async def _tensors(self, copy: MirroredRequest) -> Mapping[str, NDArray[Any]] | Exception:
        rows, revision = copy.rows, copy.variant.revision
        if isinstance(rows, TensorRows):
            return rows.tensors
        try:
            if revision.feature_service is None or self._features is None:
                return assemble(revision.assembly, fields_with_rules(revision, rows), rows.rows)
            if copy.features is None:
                start, service = self._clock.monotonic_s(), revision.feature_service
                found = await self._features.read(service, rows.keys, rows.fields, rows.at_us, self._feature_timeout_s)
                copy.features, copy.variant_degraded = found, int(found.degraded.sum())
                copy.overhead_s += self._clock.monotonic_s() - start
            return feed_of(revision.assembly, fields_with_rules(revision, rows), copy.features, rows.rows)
        except Exception as problem:
            return problem

    async def _record_result(self, copy: MirroredRequest, run: _Run) -> None:
        revision, evidence = copy.variant.revision, copy.variant.evidence
        if evidence is None or not run.has_begun:
            self._metrics.mirrored(revision.name, revision.variant, "dropped")
            return
        if copy.counts_stable and copy.stable.evidence is not None:
            _count_for_stable(copy, copy.stable.evidence.mirror)
            self._count_segments(copy, copy.stable.evidence, None if copy.has_failed else copy.codes)
        scored = await self._verdicts_of(copy, run)
        self._metrics.mirrored(revision.name, revision.variant, "failed" if scored is None else "scored")
        if scored is None:
            evidence.mirror.failed()
            return
        (verdicts,) = scored
        codes = verdicts.codes.tolist() if verdicts is not None else []
        is_slow = copy.overhead_s + run.lasted_s > copy.objective_s
        evidence.mirror.answered(copy.rows.rows, is_slow=is_slow, degraded=copy.variant_degraded, alerts=codes.count(_ALERT))
        self._count_segments(copy, evidence, None if verdicts is None else verdicts.codes)
        if verdicts is not None and copy.codes is not None:
            pairs = zip(copy.codes.tolist(), codes, strict=True)
            evidence.paired(copy.stable.revision.digest, [(VERDICTS[a], VERDICTS[b]) for a, b in pairs])
            evidence.scored(verdicts.scores.tolist())

    def _count_segments(self, copy: MirroredRequest, evidence: VariantEvidence, codes: NDArray[np.intp] | None) -> None:
        """Count the copy's rows by segment, if there is a mapping. codes: of the verdicts; None: there are none."""
        if self._segments is None or evidence.segments is None or codes is None:
            return
        places = row_segments(self._segments, copy.rows, copy.request.parameters.get(ENTITY))
        if places is not None:
            evidence.segments.add("mirror", zip(places, (codes == _ALERT).tolist(), strict=True))

    async def _verdicts_of(self, copy: MirroredRequest, run: _Run) -> tuple[Verdicts | None] | None:
        """Scores and verdicts as the variant would have answered (None within for a model without a score); None if the copy failed."""
        if run.raw is None or not run.is_done or run.lasted_s > self._deadline_s:
            return None
        revision = copy.variant.revision
        try:
            point = operating_point_of(revision, copy.request)
            verdicts = with_unknown(revision, judge(revision, run.raw, copy.rows.rows, point), copy.rows)
            if verdicts is None or (revision.rules is None and revision.suppressions is None):
                return (verdicts,)
            group = RowGroup(copy.variant, copy.rows, answer_plan_of(revision, (), point), features=copy.features)
            group.settle(verdicts)
            await raise_by_rules(group, None)
            await suppress(group, self._clock.now_us(), None)
            return (group.verdicts,)
        except ServingError:
            return None


def _count_for_stable(copy: MirroredRequest, counts: RouteCounts) -> None:
    if copy.has_failed:
        counts.failed()
        return
    alerts = 0 if copy.codes is None else int((copy.codes == _ALERT).sum())
    counts.answered(copy.rows.rows, is_slow=copy.latency_s > copy.objective_s, degraded=copy.degraded, alerts=alerts)


def _mirrored_rows(entity_hashes: Sequence[EntityHash], share: int) -> NDArray[np.intp] | None:
    """Which rows the mirror takes; None for all."""
    picked = [i for i, entity_hash in enumerate(entity_hashes) if mirror_bucket(entity_hash) < share]
    return None if len(picked) == len(entity_hashes) else np.array(picked, dtype=np.intp)


def _take(found: FeatureRows, index: NDArray[np.intp]) -> FeatureRows:
    columns = {name: column[index] for name, column in found.columns.items()}
    times = {name: column[index] for name, column in found.event_times_us.items()}
    return FeatureRows(columns, {}, found.degraded[index], times, found.oldest_age_ms)


def _run_all(
    batch: Sequence[MirroredRequest],
    feeds: Sequence[Mapping[str, NDArray[Any]] | Exception],
    runs: Sequence[_Run],
    clock: Clock,
    stop: StopSignal,
) -> None:
    for copy, feed, run in zip(batch, feeds, runs, strict=True):
        if stop.is_requested:
            return
        if isinstance(feed, Exception):
            run.has_begun, run.is_done, run.problem = True, True, feed
            continue
        revision, start = copy.variant.revision, clock.monotonic_s()
        run.has_begun = True
        try:
            run.raw = revision.model.run(runtime_feed(feed), outputs_to_run(revision, copy.wanted), stop)
        except Exception as problem:
            run.problem = problem
        run.lasted_s = clock.monotonic_s() - start
        run.is_done = True
