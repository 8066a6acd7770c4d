"""What both kinds of outputs share: a producer, and records put into its buffer."""

import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from serving.stream.kafka.cluster import KafkaCluster, ToldOnce, kafka_error, log
from serving.stream.ports import OutRecord, RecordTooLarge

BUFFER_S: Final = 60.0
"""How long a full buffer is waited for."""
_STEP_S: Final = 0.05
DEFAULTS: Final[dict[str, Any]] = {
    "linger.ms": 5,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 262_144,
}
FIXED: Final[dict[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # as Java's clients: a key lies in the same partition whoever writes it
    "delivery.report.only.error": True,
}


def new_producer(cluster: KafkaCluster, told: ToldOnce, fixed: dict[str, Any]) -> Producer:
    """A producer with the properties of all outputs. Raises StreamError."""
    try:
        return Producer(cluster.properties(DEFAULTS, {**FIXED, "error_cb": told, **fixed}), logger=log)
    except (KafkaException, ValueError) as problem:
        raise cluster.error(problem, "open a producer") from problem


def put(cluster: KafkaCluster, producer: Producer, records: Sequence[OutRecord]) -> None:
    """Into the producer's buffer; waits while it is full. Raises KafkaException, and RecordTooLarge for a record that no broker takes."""
    produce = producer.produce
    for record in records:
        headers: Any = list(record.headers) if record.headers else None
        number = -1 if record.partition is None else record.partition
        until = 0.0
        while True:
            try:
                produce(record.topic, record.value, record.key, number, headers=headers)
                break
            except BufferError as problem:
                until = until or time.monotonic() + BUFFER_S
                if time.monotonic() > until:
                    raise cluster.error(problem, f"write to {record.topic}") from problem
                producer.poll(_STEP_S)
            except KafkaException as problem:
                if kafka_error(problem).code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    doing = f"a record of {len(record.value or b'')} bytes for {record.topic}"
                    raise cluster.error(problem, doing, RecordTooLarge) from problem
                raise
    producer.poll(0)
