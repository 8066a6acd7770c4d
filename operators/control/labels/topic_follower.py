"""Takes labels from a topic: what is read is made durable, what is no label is set aside, and only then is the place in the topic recorded.

So a label is never lost: a process that ends in between reads the same messages again, and a known label is not stored twice. The topic
itself is a port; operators.control.labels.kafka_topic is its adapter."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from lifecycle.labels.desk import LabelDesk
from lifecycle.labels.errors import LabelsLost, WrongLabel
from lifecycle.labels.requests import LabelRequest, decode_request

MOST_BYTES: Final = 64 * 1024
"""A longer message is no label."""
RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits before labels that could not be kept are tried again."""
_log = logging.getLogger("vedette.labels")


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """One message. time_us: when it was produced; None: the topic does not say."""

    topic: str
    partition: int
    offset: int
    value: bytes
    time_us: int | None = None

    @property
    def place(self) -> str:
        """Where it stands, which is the id of a label that has none."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is no label, and why."""

    message: TopicMessage
    reason: str


class TopicError(Exception):
    """The topic cannot be read or written; the message says which, and why."""


class LabelTopic(Protocol):
    """A topic that is read by one of a group."""

    def poll(self, wait_s: float) -> Sequence[TopicMessage]:
        """The next messages, at least one if one comes in time. Raises TopicError."""
        ...

    def commit(self, messages: Sequence[TopicMessage]) -> None:
        """Record that these were dealt with: the group goes on behind them. Raises TopicError; then they come again."""
        ...


class DeadLetters(Protocol):
    """Where messages go that are no labels."""

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them; durable when it returns. Raises TopicError, OSError."""
        ...


@dataclass(slots=True)
class FollowCounts:
    """What became of the messages so far."""

    given: int = 0
    corrected: int = 0
    repeated: int = 0
    dead: int = 0


class TopicFollower:
    """Follows a topic. told: called with the counts after each batch. wait: sleeps; may return earlier when told to stop."""

    def __init__(
        self,
        topic: LabelTopic,
        desk: LabelDesk,
        dead: DeadLetters,
        *,
        told: Callable[[FollowCounts], None] = lambda counts: None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._topic, self._desk, self._dead, self._told, self._wait = topic, desk, dead, told, wait
        self.counts = FollowCounts()

    def run(self, is_told_to_stop: Callable[[], bool], poll_s: float = 0.5) -> None:
        """Follow until told to stop. Raises TopicError if the topic cannot be read."""
        while not is_told_to_stop():
            messages = self._topic.poll(poll_s)
            if messages and not self._dealt_with(messages, is_told_to_stop):
                return

    def _dealt_with(self, messages: Sequence[TopicMessage], is_told_to_stop: Callable[[], bool]) -> bool:
        """Make one batch durable and record the place; False: told to stop before that, and the batch comes again."""
        requests = [_request(message) for message in messages]
        tries = 0
        while True:
            try:
                taken = self._desk.take(requests, [message.place for message in messages])
                letters = [
                    DeadLetter(message, str(one.problem))
                    for message, one in zip(messages, taken, strict=True)
                    if one.problem is not None
                ]
                if letters:
                    self._dead.put(letters)
                break
            except (LabelsLost, OSError) as problem:
                if is_told_to_stop():
                    return False
                _log.error("%d messages wait: %s", len(messages), problem)
                self._wait(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
        self._topic.commit(messages)
        outcomes = [one.outcome for one in taken]
        self.counts.given += outcomes.count("given")
        self.counts.corrected += outcomes.count("corrected")
        self.counts.repeated += outcomes.count("repeated")
        self.counts.dead += len(letters)
        self._told(self.counts)
        return True


def _request(message: TopicMessage) -> LabelRequest | WrongLabel:
    """The label of a message. Without a time of its own it has that of the message, so that reading it again changes nothing."""
    if len(message.value) > MOST_BYTES:
        return WrongLabel(f"the message has {len(message.value):,} bytes; a label has {MOST_BYTES:,} at most")
    try:
        found = decode_request(message.value)
    except WrongLabel as wrong:
        return wrong
    if found.time is None and found.time_us is None and message.time_us is not None:
        return msgspec.structs.replace(found, time_us=message.time_us)
    return found
