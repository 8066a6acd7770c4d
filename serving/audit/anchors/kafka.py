"""An anchor in a Kafka topic: one message for each checkpoint, keyed by its log, so that a log's checkpoints keep their order.

The topic must not be compacted, and keep its messages as long as the log. The one user of confluent-kafka on the data plane."""

import logging
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from serving.audit.anchors.port import AnchorError
from serving.audit.checkpoint import Checkpoint
from serving.audit.signed_note import NoteError, text_of

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
"""Of one request."""
_FIRST_S: Final = 0.5
"""After which it is asked whether this client is refused, since waiting would not help then. Each further wait is twice as long."""
_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})
"""The password or a certificate is wrong. librdkafka goes on trying all the same."""
TAIL: Final = 1000
"""Messages of each partition that `newest` reads, the last ones."""


class KafkaAnchor:
    """Port Anchor in a topic. servers: `HOST:PORT[,HOST:PORT]`. options: properties of librdkafka, e.g. `security.protocol`."""

    def __init__(self, servers: str, topic: str, options: Mapping[str, str] | None = None) -> None:
        self.label = f"kafka://{servers}/{topic}"
        self._topic = topic
        fixed = {"bootstrap.servers": servers, "log.connection.close": False, "error_cb": self._hear}
        self._options: dict[str, Any] = {**(options or {}), **fixed}
        self._refusal = ""
        """Why the broker or this client refuses the other one; empty: it does not."""
        self._producer: Producer | None = None

    def publish(self, note: str) -> None:
        """See the port."""
        checkpoint = Checkpoint.parse(text_of(note))
        self._refusal = ""
        failures: list[str] = []

        def delivered(error: Any, _: Message) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            if self._producer is None:
                of_producer = {"acks": "all", "enable.idempotence": True, "message.timeout.ms": int(TIMEOUT_S * 1000)}
                self._producer = Producer({**self._options, **of_producer}, logger=log)
            self._producer.produce(self._topic, key=checkpoint.log, value=note.encode(), on_delivery=delivered)
            for wait_s in _waits_s():
                if not self._producer.flush(wait_s):
                    break
                if self._refusal:
                    failures.append(self._refusal)
                    break
            else:
                failures.append(f"not delivered within {TIMEOUT_S:.0f} s")
            if failures:
                self._producer.purge()
        except (KafkaException, BufferError) as error:
            raise AnchorError(f"{self.label}: {error}") from error
        if failures:
            raise AnchorError(f"{self.label}: {failures[0]}")

    def newest(self, most: int) -> list[str]:
        """See the port; of each partition the last TAIL messages are looked at."""
        newest: dict[str, tuple[int, str]] = {}
        for message in self._messages(TAIL):
            note = _note(message)
            try:
                checkpoint = Checkpoint.parse(text_of(note))
            except NoteError:
                continue  # a message of another sender: `read` gives it to the verification
            newest[checkpoint.log] = (checkpoint.time_us, note)
        return [note for _, note in sorted(newest.values())][-most:]

    def read(self) -> Iterator[str]:
        """See the port."""
        return map(_note, self._messages(None))

    def close(self) -> None:
        """See the port."""
        self._producer = None

    def _messages(self, tail: int | None) -> Iterator[Message]:
        """What the topic holds now, or the last `tail` of each partition."""
        self._refusal = ""
        try:
            consumer = Consumer(
                {**self._options, "group.id": f"vedette-{secrets.token_hex(6)}", "enable.auto.commit": False}, logger=log
            )
            try:
                yield from self._poll(consumer, tail)
            finally:
                consumer.close()
        except KafkaException as error:
            raise AnchorError(f"{self.label}: {error}") from error

    def _poll(self, consumer: Consumer, tail: int | None) -> Iterator[Message]:
        described = self._described(consumer)
        if described.error is not None:
            raise AnchorError(f"{self.label}: {described.error}")
        starts, ends = [], {}
        for number in described.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=TIMEOUT_S)
            if high > low:
                starts.append(TopicPartition(self._topic, number, low if tail is None else max(low, high - tail)))
                ends[number] = high
        consumer.assign(starts)
        while ends:
            message = consumer.poll(TIMEOUT_S)
            if message is None:
                raise AnchorError(f"{self.label}: no answer within {TIMEOUT_S:.0f} s")
            if message.error() is not None:
                raise AnchorError(f"{self.label}: {message.error()}")
            yield message
            number, offset = message.partition() or 0, message.offset() or 0
            if offset + 1 >= ends.get(number, 0):
                ends.pop(number, None)

    def _described(self, consumer: Consumer) -> Any:
        """The topic's metadata. Raises AnchorError, and KafkaException if nothing is heard in time."""
        problem: KafkaException | None = None
        for wait_s in _waits_s():
            try:
                return consumer.list_topics(self._topic, timeout=wait_s).topics[self._topic]
            except KafkaException as found:
                problem = found
            consumer.poll(0)
            if self._refusal:
                raise AnchorError(f"{self.label}: {self._refusal}") from problem
        raise problem or KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _hear(self, error: KafkaError) -> None:
        if error.code() in _REFUSED:
            self._refusal = f"{error.str()}; check the user name, the password and ssl.ca.location among the options of the URL"


def _waits_s() -> Iterator[float]:
    """Waits, each twice as long as the one before, until TIMEOUT_S is over."""
    until_s, wait_s = time.monotonic() + TIMEOUT_S, _FIRST_S
    while (left_s := until_s - time.monotonic()) > 0:
        yield min(wait_s, left_s)
        wait_s *= 2


def _note(message: Message) -> str:
    return (message.value() or b"").decode(errors="replace")
