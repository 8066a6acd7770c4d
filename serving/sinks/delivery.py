"""Delivers one sink's spool: a batch at a time, in order; the next batch begins when each alert of this one is taken or set aside.

So the alerts of an entity arrive in order, also when parts of a batch are refused. A crash between delivery and cursor sends a batch
again, with the same ids."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Final

import msgspec

from serving.sinks.alert import SinkAlert
from serving.sinks.counts import SinkCounts
from serving.sinks.errors import AlertUnwritable, FarEndDown, SpoolError
from serving.sinks.pipeline import SpoolEntry
from serving.sinks.ports import SendAnswer, SinkTransport
from serving.sinks.spool.dead_letters import DeadLetters
from serving.sinks.spool.spool import Spool, Spooled
from serving.sinks.transports.backoff import Backoff
from serving.stream.spans.contexts import MOST_LINKS
from serving.telemetry.tracing.message_names import DELIVER, MESSAGES, SINK, TAKEN
from serving.telemetry.tracing.tracer import Tracer

_log = logging.getLogger("vedette.sinks")
_IDLE_S: Final = 0.5
_decoder: Final = msgspec.json.Decoder(SpoolEntry)


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How much is sent together."""

    most_alerts: int = 200
    most_bytes: int = 1024 * 1024


@dataclass(slots=True)
class _Pending:
    """An alert of the batch that is being delivered. place: its position in the batch."""

    place: int
    alert: SinkAlert


@dataclass(slots=True)
class Delivery:
    """One sink's delivering. Runs in a thread of its own until `stopped` is set."""

    name: str
    spool: Spool
    transport: SinkTransport
    dead: DeadLetters
    counts: SinkCounts
    limits: DeliveryLimits = field(default_factory=DeliveryLimits)
    backoff: Backoff = field(default_factory=Backoff)
    stopped: Event = field(default_factory=Event)
    rng: Random = field(default_factory=Random)
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    wait: Callable[[float], object] | None = None
    """Waits; returns early when told to stop. Unset: on `stopped`."""
    tracer: Tracer | None = None
    """Of the deliveries of alerts that are sampled; None: nothing is traced."""
    _last_warning: str = ""

    def run(self) -> None:
        """Deliver until told to stop."""
        tries = 0
        try:
            while not self.stopped.is_set():
                try:
                    if not self.step():
                        self.spool.wait(_IDLE_S)
                    tries = 0
                except SpoolError as problem:
                    tries += 1
                    self._say(str(problem))
                    self._pause(self.backoff.wait_s(tries, self.rng))
        finally:
            self.transport.close()

    def step(self) -> bool:
        """Deliver one batch; False: there was nothing to deliver. Raises SpoolError; then the batch is delivered again."""
        batch = self.spool.read(self.limits.most_alerts, self.limits.most_bytes)
        if not batch:
            return False
        pending = [_Pending(place, alert) for place, one in enumerate(batch) if (alert := self._decoded(one)) is not None]
        left = self._deliver(pending)
        done = min((one.place for one in left), default=len(batch))
        if done:
            self.spool.advance(batch[:done])
        return True

    def _decoded(self, one: Spooled) -> SinkAlert | None:
        try:
            return _decoder.decode(one.payload).alert
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:  # written by another version
            self._bury(one.payload, f"the spool's record is not understood: {problem}")
            return None

    def _deliver(self, pending: list[_Pending]) -> list[_Pending]:
        """Send until each is taken or set aside; what is left when told to stop."""
        together, tries = len(pending), 0
        while pending and not self.stopped.is_set():
            chunk = pending[:together]
            answers = self._sent_traced([one.alert for one in chunk])
            later = [
                one for one, answer in zip(chunk, answers, strict=True) if not self._is_settled(one.alert, answer, len(chunk))
            ]
            if any(answer.what == "split" for answer in answers):
                together = max(1, len(chunk) // 2)
            pending = [*later, *pending[len(chunk) :]]
            failed = [answer for answer in answers if answer.what == "later"]
            if failed:
                tries += 1
                asked_s = max((answer.after_s for answer in failed if answer.after_s is not None), default=None)
                self.counts.retried += len(failed)
                self.counts.is_up = False
                self._say(f"{self.transport.label}: {failed[0].reason}; it is tried again")
                self._pause(self.backoff.wait_s(tries, self.rng, asked_s))
            elif any(answer.what == "taken" for answer in answers):
                tries = 0
                self._is_well()
        return pending

    def _sent_traced(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        """Send, with a span if an alert of these is sampled."""
        sampled = [one.traceparent for one in alerts if one.traceparent is not None] if self.tracer is not None else []
        span = None
        if self.tracer is not None and sampled:
            links = sampled[1:MOST_LINKS]
            span = self.tracer.begin(sampled[0], f"{DELIVER} {self.name}", kind="client", links=links)
        answers = self._sent(alerts)
        if span is not None:
            taken = sum(answer.what == "taken" for answer in answers)
            wrong = next((answer.reason for answer in answers if answer.what != "taken"), None)
            span.end({SINK: self.name, MESSAGES: len(alerts), TAKEN: taken}, error=wrong)
        return answers

    def _sent(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        try:
            return self.transport.send(alerts)
        except FarEndDown as problem:
            self.counts.failed += 1
            return [SendAnswer("later", str(problem).removeprefix(f"{self.transport.label}: "))] * len(alerts)
        except AlertUnwritable as problem:
            return [SendAnswer("split", str(problem))] * len(alerts)
        except Exception as problem:
            _log.exception("sink %s: a defect of the transport", self.name)
            self.counts.failed += 1
            return [SendAnswer("later", f"a defect: {type(problem).__name__}; the log has the trace")] * len(alerts)

    def _is_settled(self, alert: SinkAlert, answer: SendAnswer, together: int) -> bool:
        if answer.what == "taken":
            self.counts.sent += 1
            self.counts.sent_us = self.now_us()
            return True
        if answer.what == "refused" or (answer.what == "split" and together == 1):
            self._bury(msgspec.json.encode(alert), f"{self.transport.label}: {answer.reason}")
            return True
        return False

    def _bury(self, value: bytes, reason: str) -> None:
        self.dead.put(value, reason, self.now_us())
        self.counts.dead += 1
        self._say(f"an alert is set aside in {self.dead.path}: {reason}")

    def _is_well(self) -> None:
        self.counts.is_up = True
        if self._last_warning:
            _log.info("sink %s: %s takes alerts again", self.name, self.transport.label)
            self._last_warning = ""

    def _say(self, words: str) -> None:
        """Once, until something else is to be said."""
        if words != self._last_warning:
            self._last_warning = words
            _log.warning("sink %s: %s", self.name, words)

    def _pause(self, wait_s: float) -> None:
        (self.wait or self.stopped.wait)(wait_s)
