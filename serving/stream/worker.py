"""The worker: reads, scores and commits in one thread, one batch after the other.

A batch is parsed, held until its time has come, counted in the states of its partition, scored in one request, and written; every
`commit_ms` what was written is committed with the positions that it stands for and with what changed in the states. While nothing can
be answered the partitions are paused and the batch is tried again; it is never dropped. Whatever goes wrong with the broker ends in the
same way: what is not committed is given up, and the worker reads anew (`run`)."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np

from serving.models.manifest import Manifest
from serving.stream.answers import BatchScorer, CannotAnswer, ScoredEvents
from serving.stream.codecs.codec import EventCodec, SchemasUnreachable
from serving.stream.correlations.recording import hit_records
from serving.stream.counts import ScoredBatch, StreamCounts
from serving.stream.encoding import MessageTopics, dead_letter, verdict_records
from serving.stream.events import StreamEvents
from serving.stream.model_in_use import ModelChanged, ModelInUse
from serving.stream.ownership import PartitionOwner
from serving.stream.parsing import ParsedRecords
from serving.stream.partitions.owned import OwnedPartition, batches_of
from serving.stream.ports import (
    Fenced,
    OutRecord,
    Ownership,
    Partition,
    Position,
    StateLog,
    StreamError,
    StreamOutputs,
    StreamRecord,
    StreamSource,
)
from serving.stream.settings import StreamSettings
from serving.stream.spans.batch_spans import BatchSpans, StreamSpans
from serving.stream.state import KindsOf, RuleHit

T = TypeVar("T")
_FIRST_PAUSE_S: Final = 0.1
_IDLE_LOOK_S: Final = 0.25
_log = logging.getLogger("vedette.stream")


class Connect(Protocol):
    """Joins the group."""

    def __call__(self, ownership: Ownership) -> tuple[StreamSource, StreamOutputs]:
        """A source whose partitions this ownership hears of, and outputs. Raises StreamError."""
        ...


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What a worker is made of. state_log: None if nothing is to be restored."""

    connect: Connect
    state_log: StateLog | None
    codec: EventCodec
    scorer: BatchScorer
    kinds_of: KindsOf
    settings: StreamSettings
    counts: StreamCounts
    spans: StreamSpans


class Stopped(Exception):
    """The worker was asked to end while it waited."""


class StreamWorker:
    """One member of the group. `run` does everything, in one thread; `open`, `step` and `close` are its parts."""

    def __init__(self, parts: StreamParts, is_stopping: Callable[[], bool]) -> None:
        self._parts, self._settings, self._counts = parts, parts.settings, parts.counts
        self._is_stopping = is_stopping
        settings = self._settings
        self._topics = MessageTopics(
            settings.verdicts, settings.alerts, settings.dead_letters, settings.investigate, int(settings.investigate_s * 1e6)
        )
        self._model = ModelInUse(parts.scorer.answerer, parts.codec, parts.kinds_of, settings)
        self._owner = PartitionOwner((), parts.state_log, settings, self._counts)
        self._owned = self._owner.owned
        self._source: StreamSource | None = None
        self._outputs: StreamOutputs | None = None
        self._is_given_up = False
        self._failure: StreamError | None = None
        self._scored: list[ScoredBatch] = []
        self._dead = 0
        self._has_written = False
        self._read_ahead: list[StreamRecord] = []
        self._committed_s = self._looked_s = 0.0

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that it owns."""
        return tuple(self._owned)

    @property
    def is_joined(self) -> bool:
        """Whether it is a member of its group."""
        return self._source is not None

    def run(self) -> None:
        """Work until asked to stop; then commit what is scored and leave the group. Raises StreamError if it cannot join it at first."""
        is_first, pause_s = True, _FIRST_PAUSE_S
        while not self._is_stopping():
            try:
                self.open()
                is_first = False
                while not self._is_stopping():
                    self.step()
                    pause_s = _FIRST_PAUSE_S
                self.close()
            except Stopped:
                self.close()
            except ModelChanged:
                _log.info("model %s takes other columns or needs other states: the worker begins anew", self._settings.model)
                self.close()
            except StreamError as problem:
                self.give_up()
                if is_first and not isinstance(problem, Fenced):
                    raise
                self._counts.restarts += 1
                _log.warning("%s; the worker reads anew", problem)
                self._wait(pause_s)
                pause_s = min(pause_s * 2, self._settings.retry_s)

    def step(self) -> None:
        """Read, score what is due, commit if it is time. Raises StreamError, Stopped."""
        settings = self._settings
        records = self._poll(settings.batch_events, settings.linger_ms / 1000)
        if self._read_ahead:
            records, self._read_ahead = [*self._read_ahead, *records], []
        if records:
            self._take(records)
        now_s = time.monotonic()
        due = [
            (partition, events)
            for partition in list(self._owned.values())
            if partition.held.count and (events := partition.due(now_s, settings.idle_s)) is not None
        ]
        for batch in batches_of(due, settings.batch_events):
            self._score(batch)
        if settings.mode == "low_latency" or time.monotonic() - self._committed_s >= settings.commit_ms / 1000:
            self._commit()
        if now_s - self._looked_s >= _IDLE_LOOK_S:
            self._looked_s = now_s
            self._owner.look(self._connected()[0].behind())

    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        """See Ownership: restores the states."""
        self._counts.rebalances += 1
        starts = {}
        for partition, committed in partitions.items():
            try:
                starts[partition] = self._owner.adopt(partition, committed)
            except StreamError as problem:  # told by `poll`, for a callback may not raise
                self._failure = problem
                starts[partition] = None if committed is None else committed.offset
        return starts

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """See Ownership: commits what is scored; the rest is read again by the next owner of the partitions."""
        self._counts.rebalances += 1
        try:
            if not self._is_given_up and self._failure is None:
                self._commit()
        except StreamError as problem:
            self._failure = problem
        self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """See Ownership: what was written for them must not be committed, and with it nothing else is."""
        self._counts.rebalances += 1
        if not self._is_given_up and any(p in self._owned for p in partitions):
            self._failure = Fenced(f"{len(partitions)} partitions were given to another worker before this one had committed")
        self._forget(partitions)

    def renewed(self, partition: Partition, offset: int) -> None:
        """See Ownership: what was read ahead of the old topic is not scored."""
        if partition in self._owned:
            self._read_ahead = [record for record in self._read_ahead if record.partition != partition]
            self._owner.renew(partition, offset)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        self._owner.forget(partitions)
        self._read_ahead = [record for record in self._read_ahead if record.partition in self._owned]

    def _poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        """Raises StreamError, also for what went wrong in a callback."""
        records = self._connected()[0].poll(most, wait_s)
        if self._failure is not None:
            raise self._failure
        return records

    def _take(self, records: Sequence[StreamRecord]) -> None:
        """Parse records and hold the events; what is no event goes to the dead letters."""
        by_partition: dict[Partition, list[StreamRecord]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        owned = [
            (partition, found) for number, found in by_partition.items() if (partition := self._owned.get(number)) is not None
        ]
        for partition, found in owned:
            if self._owned.get(partition.partition) is partition:  # else it went meanwhile, and if it is back, it is read anew
                self._take_of(partition, found)

    def _take_of(self, partition: OwnedPartition, found: Sequence[StreamRecord]) -> None:
        fresh, counted = partition.fresh(found)
        self._counts.events["repeated"] += len(found) - len(fresh)

        def parse() -> ParsedRecords:
            latest_us = time.time_ns() // 1000 + int(self._settings.max_ahead_s * 1e6)
            return self._model.parser().parse(partition.partition, fresh, latest_us)

        events, poison = self._patiently(parse) if fresh else ParsedRecords(None, ())
        if self._owned.get(partition.partition) is not partition:
            return
        for one in poison:
            self._set_aside(one.record, one.reason)
        if events is not None and counted:
            events = events.flagged(events.is_late, np.array([r.offset not in counted for r in events.records]))
        partition.took(found, events, time.monotonic())

    def _score(self, batch: Sequence[tuple[OwnedPartition, StreamEvents]]) -> None:
        """Count a batch in the states, score it, write its verdicts."""
        batch = [(p, events) for p, events in batch if self._owned.get(p.partition) is p]
        if batch:
            with self._parts.spans.batch([events.records for _, events in batch]) as spans:
                self._score_in(spans, batch)

    def _score_in(self, spans: BatchSpans, batch: Sequence[tuple[OwnedPartition, StreamEvents]]) -> None:
        hits = [partition.count(events) for partition, events in batch]
        spans.counted()
        parts = [events for _, events in batch]

        def ask() -> tuple[list[ScoredEvents], Sequence[tuple[int, int, str]], Manifest]:
            manifest = self._model.manifest()
            scored, refused = self._parts.scorer.score(parts, manifest, self._model.kinds, spans.traceparent)
            if refused:
                self._model.manifest()  # another one may have refused these columns
            if hit_rows := [r for one in scored for r in hit_records(one, hits[one.part], manifest, time.time_ns() // 1000)]:
                self._parts.scorer.record(hit_rows)
            return scored, refused, manifest

        scored, refused, manifest = self._patiently(ask)
        self._counts.batches.add(float(sum(map(len, parts))))
        is_live = [self._owned.get(partition.partition) is partition for partition, _ in batch]
        for one in scored:
            if is_live[one.part]:
                self._write(one, hits[one.part], manifest, spans)
        for part, row, reason in refused:
            if is_live[part]:
                self._set_aside(parts[part].records[row], reason)
        for (partition, events), is_own in zip(batch, is_live, strict=True):
            if is_own:
                partition.scored(events)

    def _set_aside(self, record: StreamRecord, reason: str) -> None:
        self._send([dead_letter(record, reason, self._topics)])
        self._parts.spans.set_aside(record, reason)
        self._dead += 1

    def _write(self, one: ScoredEvents, hits: Mapping[int, Sequence[RuleHit]], manifest: Manifest, spans: BatchSpans) -> None:
        if hits and one.first:
            hits = {row - one.first: found for row, found in hits.items()}
        now_us = time.time_ns() // 1000
        records, alerts = verdict_records(one, hits, manifest, self._topics, now_us, spans.trace_of)
        self._send(records)
        produced_us = np.array([r.time_us for r in one.events.records], np.int64)
        self._scored.append(ScoredBatch(produced_us, one.events.is_late, one.events.is_counted, alerts))

    def _patiently(self, act: Callable[[], T]) -> T:
        """Try until it succeeds. Meanwhile partitions are paused, and the group hears of this worker. Raises Stopped, StreamError."""
        pause_s = min(_FIRST_PAUSE_S, self._settings.retry_s)
        while True:
            try:
                result = act()
                break
            except (CannotAnswer, SchemasUnreachable) as problem:
                self._counts.retries += 1
                if not self._counts.is_paused:
                    _log.warning("%s; partitions are paused, and the batch is tried again", problem)
                    self._counts.is_paused = True
                    self._commit()  # a transaction may not stay open
                self._pause_for(pause_s)
                pause_s = min(pause_s * 2, self._settings.retry_s)
        if self._counts.is_paused:
            self._counts.is_paused = False
            self._connected()[0].resume(list(self._owned))
            _log.info("events are scored again")
        return result

    def _pause_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        source = self._connected()[0]
        while (left := until - time.monotonic()) > 0:
            if self._is_stopping():
                raise Stopped
            source.pause(list(self._owned))
            found = self._poll(
                1, min(left, 0.1)
            )  # of a partition that came just now; others may go in it, with what was read ahead
            self._read_ahead += found

    def _send(self, records: Sequence[OutRecord]) -> None:
        self._has_written = True
        self._connected()[1].send(records)

    def _commit(self) -> None:
        """Commit what was written and where it stands. Raises StreamError."""
        now_s = time.monotonic()
        positions: dict[Partition, Position] = {}
        for partition in self._owned.values():
            if not partition.is_moved:
                continue
            position, changes = partition.commit_records(now_s, self._settings.snapshot_s)
            if position is not None:
                positions[partition.partition] = position
                if changes:
                    self._send(changes)
        if not positions and not self._has_written:
            return
        self._connected()[1].commit(positions)
        self._has_written, self._committed_s = False, now_s
        for number in positions:
            self._owned[number].committed()
        self._counts.committed(self._scored, self._dead, time.time_ns() // 1000)
        self._scored, self._dead = [], 0

    def _connected(self) -> tuple[StreamSource, StreamOutputs]:
        if self._source is None or self._outputs is None:
            raise StreamError("the worker is not connected")
        return self._source, self._outputs

    def open(self) -> None:
        """Wait for the model, then join the group. Raises StreamError, Stopped."""
        self._is_given_up, self._failure = False, None
        self._await_model()
        self._counts.kinds = self._model.kinds
        self._owner = PartitionOwner(self._model.kinds, self._parts.state_log, self._settings, self._counts)
        self._owned = self._owner.owned
        self._source, self._outputs = self._parts.connect(self)

    def _await_model(self) -> None:
        """Raises Stopped."""
        is_told = False
        while True:
            try:
                return self._model.take()
            except CannotAnswer as problem:
                if not is_told:
                    _log.warning("%s; the worker waits for it", problem)
                    is_told = True
            self._wait(_FIRST_PAUSE_S)
            if self._is_stopping():
                raise Stopped

    def close(self) -> None:
        """Commit, leave the group. A failure is logged: what was not committed is read anew by others."""
        try:
            if self._source is not None:
                self._source.close()
            if self._failure is not None:
                _log.warning("%s; what was not committed is read again by the next worker", self._failure)
        except StreamError as problem:
            _log.warning("%s; what was not committed is read again by the next worker", problem)
        finally:
            if self._outputs is not None:
                self._outputs.close()
            self._forget(list(self._owned))
            self._source = self._outputs = None

    def give_up(self) -> None:
        """Abort what was written and leave; nothing here raises."""
        self._is_given_up = True
        for act in (
            self._outputs.abort if self._outputs is not None else None,
            self._source.close if self._source is not None else None,
            self._outputs.close if self._outputs is not None else None,
        ):
            try:
                if act is not None:
                    act()
            except Exception as problem:
                _log.info("while giving up: %s", problem)
        self._forget(list(self._owned))
        self._source = self._outputs = None
        self._scored, self._dead, self._has_written, self._counts.is_paused = [], 0, False, False

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_stopping():
            time.sleep(0.05)
