"""A topic of labels in Kafka, and where what is no label goes: another topic, or a file. The one user of confluent-kafka here."""

import base64
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from operators.control.labels.topic_follower import DeadLetter, TopicError, TopicMessage
from serving.stream.kafka.cluster import words

TIMEOUT_S: Final = 30.0
MOST_TOGETHER: Final = 1000
"""Messages in one batch."""
_PASSING: Final = frozenset(
    {KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT}
)
"""Errors after which librdkafka goes on by itself."""
_log = logging.getLogger("vedette.labels")


class KafkaTopic:
    """Port LabelTopic. servers: `HOST:PORT[,HOST:PORT]`. options: properties of librdkafka, e.g. `security.protocol`.

    Use as a context manager: it leaves the group at the end."""

    def __init__(self, servers: str, topic: str, group: str, options: Mapping[str, str] | None = None) -> None:
        self.label = f"kafka://{servers}/{topic}"
        properties: dict[str, Any] = {
            "auto.offset.reset": "earliest",
            **(options or {}),
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,  # only what is durable is recorded
            "enable.auto.offset.store": False,
            "log.connection.close": False,
            "error_cb": self._say,
        }
        self._told: int | None = None
        try:
            self._consumer = Consumer(properties, logger=_log)
            self._consumer.subscribe([topic])
        except (KafkaException, ValueError) as problem:
            raise TopicError(f"{self.label}: {problem}") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, wait_s: float) -> Sequence[TopicMessage]:
        """See the port."""
        try:
            found = self._consumer.consume(MOST_TOGETHER, wait_s)
        except KafkaException as problem:
            raise TopicError(f"{self.label}: {problem}") from problem
        return [one for message in found if (one := self._read(message)) is not None]

    def commit(self, messages: Sequence[TopicMessage]) -> None:
        """See the port. A group that gave the partition to another one meanwhile reads the messages again there: they are known then."""
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            place = message.topic, message.partition
            ends[place] = max(ends.get(place, 0), message.offset + 1)
        try:
            self._consumer.commit(offsets=[TopicPartition(*place, end) for place, end in ends.items()], asynchronous=False)
        except KafkaException as problem:
            _log.warning("%s: the offset was not committed, so labels will be read again: %s", self.label, problem)

    def _say(self, error: KafkaError) -> None:
        """Tell people what librdkafka tries to overcome by itself, once."""
        if self._told != error.code():
            self._told = error.code()
            _log.warning("%s: %s; the client goes on trying", self.label, words(error))

    def _read(self, message: Message) -> TopicMessage | None:
        error = message.error()
        if error is not None:
            if error.fatal() or error.code() not in _PASSING:
                raise TopicError(f"{self.label}: {error.str()}; check the name of the topic and the rights of this client")
            self._say(error)
            return None
        kind, at_ms = message.timestamp()
        value = message.value() or b""
        body = value.encode() if isinstance(value, str) else value
        time_us = at_ms * 1000 if kind and at_ms > 0 else None
        return TopicMessage(message.topic() or "", message.partition() or 0, message.offset() or 0, body, time_us)


class DeadLetterTopic:
    """Port DeadLetters in another topic: the message as it was, the reason and the place as headers."""

    def __init__(self, servers: str, topic: str, options: Mapping[str, str] | None = None) -> None:
        self.label = f"kafka://{servers}/{topic}"
        self._topic = topic
        properties: dict[str, Any] = {
            **(options or {}),
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": int(TIMEOUT_S * 1000),
        }
        self._producer = Producer(properties, logger=_log)

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """See the port."""
        failures: list[str] = []

        def delivered(error: Any, _: Message) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            for letter in letters:
                headers: dict[str, str | bytes | None] = {
                    "reason": letter.reason.encode("utf-8", "replace"),
                    "place": letter.message.place.encode(),
                }
                self._producer.produce(self._topic, value=letter.message.value, headers=headers, on_delivery=delivered)
            left = self._producer.flush(TIMEOUT_S)
        except (KafkaException, BufferError) as problem:
            raise OSError(f"{self.label}: {problem}") from problem
        if left or failures:
            self._producer.purge()
            raise OSError(f"{self.label}: {failures[0] if failures else f'not delivered within {TIMEOUT_S:.0f} s'}")


class DeadLetterFile:
    """Port DeadLetters in a file of JSON lines, synced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """See the port."""
        lines = "".join(json.dumps(_record(letter)) + "\n" for letter in letters)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


def _record(letter: DeadLetter) -> dict[str, Any]:
    message = letter.message
    try:
        body = {"value": message.value.decode()}
    except UnicodeDecodeError:
        body = {"value_base64": base64.b64encode(message.value).decode()}
    return {"place": message.place, "reason": letter.reason, **body}
