"""A broker that is away: the log says so once, in our words."""

import logging
import socket

import pytest

from serving.sinks.worker import OwnedPartitions
from serving.stream.kafka.cluster import KafkaCluster, ToldOnce
from serving.stream.kafka.producing import new_producer
from serving.stream.kafka.source import KafkaSource
from tests.waiting import until

pytestmark = pytest.mark.integration


def test_a_broker_that_is_away_is_one_line_for_each_error_of_a_client(caplog):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        cluster = KafkaCluster(f"127.0.0.1:{taken.getsockname()[1]}")
        with caplog.at_level(logging.DEBUG, "vedette.stream"):
            source = KafkaSource(cluster, ["events"], "workers", OwnedPartitions(), protocol="classic")
            producer = new_producer(cluster, ToldOnce(cluster), {})
            until(lambda: (source.poll(1, 0.05), producer.poll(0), len(caplog.records) >= 4)[2], lambda: caplog.text)
            for _ in range(20):  # it is tried again several times meanwhile
                source.poll(1, 0.05)
                producer.poll(0)
            source.close()
    said = [record.getMessage() for record in caplog.records if record.name == "vedette.stream"]
    assert [words for words in said if not words.startswith(f"kafka://{cluster.servers}: ")] == []
    assert len(said) == 4, "two errors of each client: this broker is away, and all are"
