"""The brokers of the contract: each with its topics, its workers, and somebody up- and downstream."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from serving.stream.ports import (
    OutRecord,
    Ownership,
    Partition,
    Position,
    StateLog,
    StreamOutputs,
    StreamRecord,
    StreamSource,
)
from tests.fakes.stream.broker import MemoryBroker, MemoryOutputs, MemorySource, MemoryStateLog
from tests.waiting import until


def all_ended(servers: str, topic: str) -> bool:
    """Whether all transactions on a Kafka topic have ended, so that all that is committed can be read.

    A commit is answered before its marks are on every partition."""
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec

    admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    places = [TopicPartition(topic, number) for number in admin.list_topics(topic, 30).topics[topic].partitions]
    ends = []
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        asked = admin.list_offsets(dict.fromkeys(places, OffsetSpec.latest()), isolation_level=level)
        ends.append({place.partition: done.result(30).offset for place, done in asked.items()})
    return ends[0] == ends[1]


class BrokerKind(Protocol):
    """A broker, and the adapter's objects on it. name of outputs: the worker's, the same after a restart."""

    is_transactional: bool
    counts_behind: bool
    """Whether it says how many records are left."""

    def topic(self, partitions: int = 3, *, compacted: bool = False) -> str: ...

    def produce(self, topic: str, records: Sequence[OutRecord]) -> None: ...

    def read(self, topic: str, *, is_open: bool = False) -> Sequence[StreamRecord]:
        """What somebody downstream sees, by partition. is_open: a transaction is; else all of them end before this reads."""
        ...

    def positions(self, group: str, topic: str) -> Mapping[Partition, Position]: ...

    def source(self, topic: str, group: str, ownership: Ownership) -> StreamSource: ...

    def outputs(self, source: Any, name: str) -> StreamOutputs: ...

    def state_log(self, topic: str) -> StateLog: ...

    def silence(self, source: Any) -> None:
        """From now on the broker hears nothing of this worker, and takes it for dead in time. The worker does not know."""
        ...

    def kill(self, source: Any, outputs: Any) -> None:
        """As SIGKILL does: nothing is finished, nobody is told."""
        ...


@dataclass
class Memory:
    is_transactional: bool
    counts_behind: bool = True
    broker: MemoryBroker = field(default_factory=MemoryBroker)

    def topic(self, partitions: int = 3, *, compacted: bool = False) -> str:
        return self.broker.topic(uuid.uuid4().hex[:8], partitions)

    def produce(self, topic: str, records: Sequence[OutRecord]) -> None:
        self.broker.produce(topic, *records, time_us=1_700_000_000_000_000)

    def read(self, topic: str, *, is_open: bool = False) -> Sequence[StreamRecord]:
        return self.broker.read(topic)

    def positions(self, group: str, topic: str) -> Mapping[Partition, Position]:
        return self.broker.positions(group)

    def source(self, topic: str, group: str, ownership: Ownership) -> MemorySource:
        return MemorySource(self.broker, [topic], group, ownership)

    def outputs(self, source: MemorySource, name: str) -> StreamOutputs:
        return MemoryOutputs(self.broker, source, name if self.is_transactional else None)

    def state_log(self, topic: str) -> StateLog:
        return MemoryStateLog(self.broker, topic)

    def silence(self, source: MemorySource) -> None:
        source.expel()

    def kill(self, source: MemorySource, outputs: MemoryOutputs) -> None:
        source.kill()


@dataclass
class Kafka:
    """Apache Kafka, of this run. A worker that is silent for a second or so is dead to it."""

    is_transactional: bool
    protocol: Literal["consumer", "classic"]
    broker: Any
    counts_behind: bool = True
    options: Mapping[str, str] = field(
        default_factory=lambda: {"max.poll.interval.ms": "1200", "log_level": "2", "topic.metadata.refresh.interval.ms": "1000"}
    )

    def topic(self, partitions: int = 3, *, compacted: bool = False) -> str:
        return self.broker.topic("stream", partitions, cleanup_policy="compact" if compacted else "delete")

    def produce(self, topic: str, records: Sequence[OutRecord]) -> None:
        from confluent_kafka import Producer

        producer = Producer(
            {
                "bootstrap.servers": self.broker.address,
                "log_level": 2,
                "linger.ms": 0,
                "partitioner": "murmur2",
                "enable.idempotence": True,
            }
        )
        for record in records:
            number = -1 if record.partition is None else record.partition
            producer.produce(topic, record.value, record.key, number, headers=list(record.headers) or None)
        assert producer.flush(60) == 0

    def read(self, topic: str, *, is_open: bool = False) -> Sequence[StreamRecord]:
        from confluent_kafka import Consumer, KafkaError, TopicPartition

        if not is_open:
            until(lambda: all_ended(self.broker.address, topic), f"transactions on {topic} end")
        consumer = Consumer({
            "bootstrap.servers": self.broker.address, "group.id": "downstream", "log_level": 2, "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
        })  # fmt: skip
        found: dict[int, list[StreamRecord]] = {
            number: [] for number in consumer.list_topics(topic, 30).topics[topic].partitions
        }
        consumer.assign([TopicPartition(topic, number, 0) for number in found])
        ended = set[int]()
        while len(ended) < len(found):
            message = consumer.poll(30)
            assert message is not None, "the broker does not answer"
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, str(error)
                ended.add(message.partition())
                continue
            place = Partition(topic, message.partition())
            headers = tuple(message.headers() or ())
            found[place.number].append(
                StreamRecord(place, message.offset(), message.value(), message.key(), headers, message.timestamp()[1] * 1000)
            )
        consumer.close()
        return [record for number in sorted(found) for record in found[number]]

    def positions(self, group: str, topic: str) -> Mapping[Partition, Position]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.broker.address, "group.id": group, "log_level": 2})
        places = [TopicPartition(topic, number) for number in consumer.list_topics(topic, 30).topics[topic].partitions]
        found = consumer.committed(places, 30)
        consumer.close()
        return {
            Partition(one.topic, one.partition): Position(one.offset, one.metadata or "") for one in found if one.offset >= 0
        }

    def source(self, topic: str, group: str, ownership: Ownership) -> StreamSource:
        from serving.stream.kafka.source import KafkaSource

        return KafkaSource(self._cluster(), [topic], group, ownership, protocol=self.protocol, session_timeout_s=1.1)

    def outputs(self, source: Any, name: str) -> StreamOutputs:
        from serving.stream.kafka.idempotent import IdempotentOutputs
        from serving.stream.kafka.transactional import TransactionalOutputs

        if self.is_transactional:
            return TransactionalOutputs(self._cluster(), name, source)
        return IdempotentOutputs(self._cluster(), source, patience_s=30)

    def state_log(self, topic: str) -> StateLog:
        from serving.stream.kafka.state_log import KafkaStateLog

        return KafkaStateLog(self._cluster(), topic)

    def silence(self, source: Any) -> None:
        """It polls no more; after max.poll.interval.ms it is out."""

    def kill(self, source: Any, outputs: Any) -> None:
        """Its client cannot be killed without its process, so it falls silent, as one that hangs."""

    def _cluster(self) -> Any:
        from serving.stream.kafka.cluster import KafkaCluster

        return KafkaCluster(self.broker.address, self.options)


def kafka(*, is_transactional: bool, protocol: Literal["consumer", "classic"]) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[BrokerKind]:
        from tests.fakes import kafka_broker

        yield Kafka(is_transactional, protocol, kafka_broker.shared())

    return opened


@contextmanager
def kinesis() -> Iterator[BrokerKind]:
    from tests.contract.serving.stream.kinesis_kind import opened

    with opened() as found:
        yield found


def memory(*, is_transactional: bool) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[BrokerKind]:
        yield Memory(is_transactional)

    return opened


KINDS: Mapping[str, Callable[[], Any]] = {
    "memory exactly once": memory(is_transactional=True),
    "memory low latency": memory(is_transactional=False),
    "Kafka exactly once": kafka(is_transactional=True, protocol="consumer"),
    "Kafka exactly once, classic groups": kafka(is_transactional=True, protocol="classic"),
    "Kafka low latency": kafka(is_transactional=False, protocol="consumer"),
    "Kinesis": kinesis,
}
WRITING = [name for name in KINDS if "classic" not in name]
"""How a group is kept makes no difference to what is written."""
WITH_STATE_LOG = ["memory exactly once", "Kafka exactly once"]
"""Kinesis keeps none; and it is read in one way, however it was written."""
