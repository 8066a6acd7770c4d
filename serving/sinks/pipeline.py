"""From an alert to a sink's spool: filtered, folded or spooled, and durable before the caller records its position in the topic."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from serving.sinks.alert import SinkAlert
from serving.sinks.counts import SinkCounts
from serving.sinks.errors import SpoolFull
from serving.sinks.flow.folding import FoldKey
from serving.sinks.flow.intake import IntakeRules, IntakeState
from serving.sinks.spool.frames import CLOSE, FOLD, SEND
from serving.sinks.spool.spool import Spool

_log = logging.getLogger("vedette.sinks")
_TOGETHER_BYTES: Final = 1024 * 1024
"""Alerts of one append; a single one may be larger."""


class SpoolEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of a record in a spool. key: the fold that the alert belongs to, or that it closes."""

    alert: SinkAlert
    key: FoldKey | None = None


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(SpoolEntry)


@dataclass(slots=True)
class _Waiting:
    """Decided records that are not in the spool yet: they stay if the spool is full, and are not decided on twice."""

    records: list[tuple[int, bytes]] = field(default_factory=list)
    folded: list[tuple[int, FoldKey, SinkAlert]] = field(default_factory=list)
    """Number of the record, key, alert."""


class SinkPipeline:
    """Takes alerts for one sink. Used by one thread."""

    def __init__(self, name: str, rules: IntakeRules, spool: Spool, counts: SinkCounts, now_s: float) -> None:
        self.name, self._spool, self.counts = name, spool, counts
        self._state = IntakeState(rules, now_s)
        self._waiting = _Waiting()
        self._batch_from: int | None = None
        self._together_bytes = min(_TOGETHER_BYTES, spool.most_bytes // 8)
        self._restore(now_s)

    def _restore(self, now_s: float) -> None:
        """Repeats and open folds, from what the spool has."""
        ahead = self._spool.records - self._state.recent.most  # ids that would be forgotten again are not decoded
        for number, (segment, frame) in enumerate(self._spool.replay()):
            if frame.kind == SEND and number < ahead:
                continue
            try:
                entry = _decoder.decode(frame.payload)
            except (msgspec.DecodeError, UnicodeDecodeError) as problem:
                _log.error("sink %s: a record of the spool is not understood: %s", self.name, problem)
                continue
            if frame.kind == CLOSE and entry.key is not None:
                self._state.folds.close(entry.key)
                continue
            self._state.recent.add(entry.alert.id, now_s)
            if frame.kind == FOLD and entry.key is not None and self._state.folds.open(entry.key, now_s):
                self._state.folds.add(entry.key, entry.alert, segment)
        self._pin()

    def take(self, alerts: Sequence[SinkAlert], now_s: float) -> None:
        """Decide on alerts and spool them, durably when it returns.

        Raises SpoolFull, SpoolError: then call `flush` until it does not; the alerts are not to be given again."""
        for alert in alerts:
            intake = self._state.decide(alert, now_s)
            if intake.what == "fold" and intake.key is not None:
                self._waiting.folded.append((len(self._waiting.records), intake.key, alert))
                self._waiting.records.append((FOLD, _encode(SpoolEntry(alert, intake.key))))
            elif intake.what == "send":
                self._waiting.records.append((SEND, _encode(SpoolEntry(alert))))
            elif intake.what == "filtered":
                self.counts.filtered += 1
            else:
                self.counts.repeated += 1
        self.flush()

    def flush(self) -> None:
        """Spool what could not be spooled yet. Raises SpoolFull, SpoolError."""
        try:
            self._append_waiting()
        except SpoolFull:
            # Segments that are kept for this batch or for open folds must not fill the spool for ever.
            self._batch_from = None
            if self._spool.is_held:
                self._close_folds(float("inf"))
            self._pin()
            self._append_waiting()
        self._pin()

    def _append_waiting(self) -> None:
        waiting = self._waiting
        while waiting.records:
            together, size = 0, 0
            for _, payload in waiting.records:
                if together and size + len(payload) > self._together_bytes:
                    break
                together, size = together + 1, size + len(payload)
            segment = self._spool.append(waiting.records[:together])
            self._batch_from = segment if self._batch_from is None else self._batch_from
            for number, key, alert in waiting.folded:
                if number < together:
                    self._state.folds.add(key, alert, segment)
                    self._count_folded(key)
            self.counts.spooled += sum(kind == SEND for kind, _ in waiting.records[:together])
            waiting.folded = [(number - together, key, alert) for number, key, alert in waiting.folded if number >= together]
            del waiting.records[:together]

    def committed(self) -> None:
        """The place in the topic is recorded: the batch is not read again, so its segments need not stay."""
        self._batch_from = None
        self._pin()

    def tick(self, now_s: float, *, is_last: bool = False) -> None:
        """Spool the summaries of folds whose window is over. is_last: of all folds. Raises SpoolFull, SpoolError; it is called again."""
        self.flush()  # alerts that wait belong to folds
        self._close_folds(float("inf") if is_last else now_s)
        self._pin()

    def _close_folds(self, now_s: float) -> None:
        for fold in self._state.folds.due(now_s):
            if fold.count:
                self._spool.append([(CLOSE, _encode(SpoolEntry(fold.summary(), fold.key)))], is_bounded=False)
                self.counts.spooled += 1
            self._state.folds.close(fold.key)

    def _count_folded(self, key: FoldKey) -> None:
        if key.kind == "grouped":
            self.counts.grouped += 1
        else:
            self.counts.throttled += 1

    def _pin(self) -> None:
        needed = [place for place in (self._state.folds.oldest_place, self._batch_from) if place is not None]
        self._spool.keep_from(min(needed, default=None))
