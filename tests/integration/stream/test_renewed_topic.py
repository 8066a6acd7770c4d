"""A topic of Kafka that is another one than the group remembers: its worker is told before it reads the first record."""

import logging

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from serving.stream.kafka.cluster import KafkaCluster
from serving.stream.kafka.source import KafkaSource
from serving.stream.ports import Partition
from tests.waiting import until

pytestmark = pytest.mark.integration

EVENTS = Partition("events", 0)


class Noted:
    """Port Ownership that notes what it is told, and how many records were read before."""

    def __init__(self, read):
        self.read, self.told = read, []

    def assigned(self, partitions):
        self.told.append(("assigned", partitions[EVENTS].offset))
        return dict.fromkeys(partitions)

    def revoked(self, partitions):
        pass

    lost = revoked

    def renewed(self, partition, offset):
        self.told.append(("renewed", partition, offset, len(self.read)))


class GrowingConsumer(Consumer):
    """Its topic grows past the position between the read that failed and the question where the topic ends."""

    def get_watermark_offsets(self, *words, **more):
        low, _ = super().get_watermark_offsets(*words, **more)
        return low, 5001


@pytest.mark.parametrize(
    ("consumer", "told_then", "said"),
    [
        pytest.param(Consumer, [("renewed", EVENTS, 0, 0)], "the topic is another one", id="behind the end"),
        pytest.param(GrowingConsumer, [], "not there for a moment", id="there after all"),
    ],
)
def test_a_position_behind_the_end_of_a_topic_is_one_of_another_topic(caplog, monkeypatch, consumer, told_then, said):
    monkeypatch.setattr("serving.stream.kafka.source.Consumer", consumer)
    broker = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 2})
    (found,) = broker.list_topics(timeout=30).brokers.values()
    servers = f"{found.host}:{found.port}"
    producer = Producer({"bootstrap.servers": servers, "log_level": 2})
    for number in range(10):
        producer.produce(EVENTS.topic, b"%d" % number, partition=0)
    assert producer.flush(30) == 0
    before = Consumer({"bootstrap.servers": servers, "group.id": "workers", "log_level": 2})
    before.commit(offsets=[TopicPartition(*EVENTS, 5000)], asynchronous=False)
    before.close()

    read = []
    told = Noted(read)
    source = KafkaSource(KafkaCluster(servers, {"log_level": "2"}), [EVENTS.topic], "workers", told, protocol="classic")
    with caplog.at_level(logging.ERROR, "vedette.stream"):
        until(lambda: (read.extend(source.poll(100, 0.05)), len(read) >= 10)[1], lambda: f"{told.told}, {len(read)} were read")
    source.close()
    assert [record.offset for record in read] == list(range(10))
    assert told.told == [("assigned", 5000), *told_then]
    assert source.skipped == 0
    assert said in caplog.text
