"""Reads verdicts, and requests for a closer look, into the ledger of risks; notable changes go to a topic of their own."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from serving.risk.json_form import risk_as_json
from serving.risk.ledger import LedgerDown, RiskLedger, RiskUpdate
from serving.risk.signal import PendingCheck, RiskSignal, WrongSignal
from serving.stream.contract import INVESTIGATE_SCHEMA, VERDICT_SCHEMA, InvestigateMessage, VerdictMessage
from serving.stream.hybrid.group_loop import NotNow
from serving.stream.hybrid.signals import pending_of, signals_of
from serving.stream.ports import OutRecord, StreamRecord

_VERDICT: Final = msgspec.json.Decoder(VerdictMessage)
_INVESTIGATE: Final = msgspec.json.Decoder(InvestigateMessage)
_FORGET_EVERY_US: Final = 3600 * 1_000_000
FORGET_AFTER_US: Final = 90 * 86_400 * 1_000_000
"""Entities that nobody spoke of for so long are forgotten."""
_log = logging.getLogger("vedette.risk")


class RiskFollower:
    """RecordHandler of verdicts and requests for a closer look. risks: the topic of changes; empty: none are written.

    A record that is no such message is counted, logged and passed over: both topics are written by stream workers."""

    def __init__(self, ledger: RiskLedger, verdicts: str, risks: str, forget_after_us: int = FORGET_AFTER_US) -> None:
        self._ledger, self._verdicts, self._risks = ledger, verdicts, risks
        self.counts = Counter[str]()
        self._forget_after_us, self._forgot_us = forget_after_us, 0

    def handle(self, records: Sequence[StreamRecord], traceparent: str | None = None) -> Sequence[OutRecord]:
        """See RecordHandler; nobody else is asked. Raises NotNow while the ledger is away."""
        now_us = time.time_ns() // 1000
        signals: list[RiskSignal] = []
        pending: list[PendingCheck] = []
        for record in records:
            try:
                if record.partition.topic == self._verdicts:
                    signals += self._signals(record, now_us)
                else:
                    pending += self._pending(record)
            except (msgspec.MsgspecError, WrongSignal, ValueError) as problem:
                self.counts["unreadable"] += 1
                if self.counts["unreadable"] == 1:
                    _log.error("%s is not a message of a stream worker: %s (logged once)", record.id, problem)
        self.counts["read"] += len(records)
        if not signals and not pending:
            return ()
        seen_us = max((signal.at_us for signal in signals), default=now_us)
        try:
            # Weighed at the newest event, not at the clock: a replay of old events leaves what a replay of today's would.
            updates = self._ledger.add(signals, pending, min(seen_us, now_us))
        except LedgerDown as problem:
            raise NotNow(str(problem)) from problem
        self._forget(now_us)
        self.counts["signals"] += len(signals)
        self.counts["checks"] += len(pending)
        notable = [update for update in updates if update.is_notable]
        self.counts["notable"] += len(notable)
        return [self._message(update) for update in notable] if self._risks else ()

    def _forget(self, now_us: int) -> None:
        """Now and then, remove entities that were not heard of for long: the ledger does not grow with every host that was ever seen."""
        if now_us - self._forgot_us < _FORGET_EVERY_US:
            return
        self._forgot_us = now_us
        try:
            self.counts["forgotten"] += self._ledger.forget_before(now_us - self._forget_after_us)
        except LedgerDown as problem:
            raise NotNow(str(problem)) from problem

    def _signals(self, record: StreamRecord, now_us: int) -> list[RiskSignal]:
        verdict = _VERDICT.decode(record.value or b"")
        if verdict.schema != VERDICT_SCHEMA:
            raise ValueError(f"its schema is {verdict.schema!r}, expected {VERDICT_SCHEMA!r}")
        found = signals_of(verdict, now_us)
        for signal in found:
            signal.check()
        return found

    def _pending(self, record: StreamRecord) -> list[PendingCheck]:
        message = _INVESTIGATE.decode(record.value or b"")
        if message.schema != INVESTIGATE_SCHEMA:
            raise ValueError(f"its schema is {message.schema!r}, expected {INVESTIGATE_SCHEMA!r}")
        return [pending_of(message)]

    def _message(self, update: RiskUpdate) -> OutRecord:
        return OutRecord(self._risks, risk_as_json(update.after), update.after.entity.encode())
