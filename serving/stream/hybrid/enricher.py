"""A closer look at doubtful events: another model, or the same one with the features that are known by now, scores them; what it says
becomes a signal of the entity's risk. A result after the deadline counts, and is marked as late."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from serving.errors import ServingError
from serving.models.manifest import Manifest
from serving.risk.json_form import risk_as_json
from serving.risk.ledger import LedgerDown, RiskLedger
from serving.risk.signal import RiskSignal, WrongSignal
from serving.stream.answers import BatchScorer, CannotAnswer, ScoredEvents
from serving.stream.codecs.codec import CodecLimits
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.contract import INVESTIGATE_SCHEMA, InvestigateMessage, VerdictMessage
from serving.stream.encoding import MessageTopics, verdict_records
from serving.stream.hybrid.group_loop import NotNow
from serving.stream.hybrid.signals import enrichment_of
from serving.stream.parsing import EventParser
from serving.stream.ports import OutRecord, Partition, StreamRecord

_INVESTIGATE: Final = msgspec.json.Decoder(InvestigateMessage)
_VERDICT: Final = msgspec.json.Decoder(VerdictMessage)
_OWN: Final = MessageTopics("verdict", "alert", "dead")
"""The answers are read here and written nowhere."""
_log = logging.getLogger("vedette.risk")


class _Asked(NamedTuple):
    record: StreamRecord
    message: InvestigateMessage


class Enricher:
    """RecordHandler of the enrichment queue. risks: the topic of changes; empty: none are written.

    Events that are due first come first, as the queue is in order of time. An event that the model does not take is counted, and its check
    stays overdue: the risk says so."""

    def __init__(self, scorer: BatchScorer, ledger: RiskLedger, risks: str, max_event_bytes: int) -> None:
        self._scorer, self._ledger, self._risks = scorer, ledger, risks
        self._codec = JsonCodec(CodecLimits(record_bytes=max_event_bytes))
        self._max_event_bytes = max_event_bytes
        self.counts = Counter[str]()

    def handle(self, records: Sequence[StreamRecord], traceparent: str | None = None) -> Sequence[OutRecord]:
        """See RecordHandler. Raises NotNow while the model or the ledger is out."""
        asked = self._read(records)
        try:
            manifest = self._scorer.answerer.manifest(self._scorer.model)
            signals = self._look(asked, manifest, traceparent)
        except CannotAnswer as problem:
            raise NotNow(str(problem)) from problem
        except ServingError as problem:
            raise NotNow(problem.message) from problem
        if not signals:
            return ()
        now_us = time.time_ns() // 1000
        try:
            updates = self._ledger.add(signals, [], min(max(signal.at_us for signal in signals), now_us))
        except LedgerDown as problem:
            raise NotNow(str(problem)) from problem
        due = {one.message.verdict.id: one.message.due_us for one in asked.values()}
        self.counts["looked"] += len(signals)
        self.counts["late"] += sum(now_us > due[signal.id] for signal in signals)
        if not self._risks:
            return ()
        return [
            OutRecord(self._risks, risk_as_json(update.after), update.after.entity.encode())
            for update in updates
            if update.is_notable
        ]

    def _read(self, records: Sequence[StreamRecord]) -> dict[int, _Asked]:
        """By place in `records`; what is no such message is counted and passed over."""
        found = {}
        for at, record in enumerate(records):
            try:
                message = _INVESTIGATE.decode(record.value or b"")
                if message.schema != INVESTIGATE_SCHEMA:
                    raise ValueError(f"its schema is {message.schema!r}, expected {INVESTIGATE_SCHEMA!r}")
            except (msgspec.MsgspecError, ValueError) as problem:
                self.counts["unreadable"] += 1
                if self.counts["unreadable"] == 1:
                    _log.error("%s is not a request for a closer look: %s (logged once)", record.id, problem)
                continue
            found[at] = _Asked(record, message)
        return found

    def _look(self, asked: dict[int, _Asked], manifest: Manifest, traceparent: str | None) -> list[RiskSignal]:
        if not asked:
            return []
        place = Partition("look", 0)
        events = [
            StreamRecord(
                place, at, msgspec.json.encode(one.message.event), one.record.key, one.record.headers, one.record.time_us
            )
            for at, one in asked.items()
        ]
        try:
            parser = EventParser.of(manifest, self._codec, {}, self._max_event_bytes)
        except ValueError as problem:  # another bundle may take its place
            raise NotNow(str(problem)) from problem
        parsed, poison = parser.parse(place, events)
        scored, refused = self._scorer.score([parsed], manifest, (), traceparent) if parsed is not None else ([], [])
        self.counts["refused"] += len(poison) + len(refused)
        for reason in [*(one.reason for one in poison), *(one.reason for one in refused)][:1]:
            _log.warning("model %r does not take an event of the queue: %s", manifest.name, reason)
        now_us = time.time_ns() // 1000
        return [signal for one in scored for signal in self._signals(one, asked, manifest, now_us)]

    def _signals(self, scored: ScoredEvents, asked: dict[int, _Asked], manifest: Manifest, now_us: int) -> list[RiskSignal]:
        found = []
        records, _ = verdict_records(scored, {}, manifest, _OWN, now_us)
        answers = [_VERDICT.decode(record.value or b"") for record in records if record.topic == _OWN.verdicts]
        for event, answer in zip(scored.events.records, answers, strict=True):
            signal = enrichment_of(asked[event.offset].message.verdict, answer, now_us)
            try:
                signal.check()
            except WrongSignal as problem:
                self.counts["unreadable"] += 1
                _log.warning("%s", problem)
                continue
            found.append(signal)
        return found
