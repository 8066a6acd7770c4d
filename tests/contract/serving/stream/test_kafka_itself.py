"""What the adapter of Kafka does beyond the contract: protocols of groups, names of workers, records that are gone, errors."""

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from serving.stream.kafka.cluster import KafkaCluster
from serving.stream.kafka.source import KafkaSource
from serving.stream.kafka.topics import KafkaTopics, TopicPlan
from serving.stream.kafka.transactional import TransactionalOutputs
from serving.stream.ports import OutRecord, StreamError
from tests.contract.serving.stream.broker_kinds import Kafka
from tests.contract.serving.stream.conftest import event
from tests.fakes.stream.log import murmur2
from tests.waiting import until


@pytest.fixture
def kind(kafka):
    return Kafka(is_transactional=True, protocol="auto", broker=kafka)


@pytest.fixture
def cluster(kafka):
    return KafkaCluster(kafka.address, {"log_level": "2"})


class Told:
    """Port Ownership that takes what comes."""

    def __init__(self):
        self.owned = set()

    def assigned(self, partitions):
        self.owned |= partitions.keys()
        return dict.fromkeys(partitions)

    def revoked(self, partitions):
        self.owned -= set(partitions)

    lost = revoked

    def renewed(self, partition, offset):
        pass


def test_a_group_speaks_the_new_protocol_where_the_broker_has_it(cluster, kind, group):
    source = KafkaSource(cluster, [kind.topic()], group, Told())
    assert source.protocol == "consumer"
    source.close()


def test_a_named_worker_speaks_the_classic_one_and_takes_its_place_at_once(cluster, kind, group):
    topic, before, after = kind.topic(), Told(), Told()
    killed = KafkaSource(cluster, [topic], group, before, instance_id="pod-0", session_timeout_s=120)
    assert killed.protocol == "classic"
    until(lambda: (killed.poll(10, 0.05), len(before.owned) == 3)[1])
    source = KafkaSource(cluster, [topic], group, after, instance_id="pod-0", session_timeout_s=120)
    until(lambda: (source.poll(10, 0.05), len(after.owned) == 3)[1])
    with pytest.raises(StreamError, match="another worker has the same instance id"):
        until(lambda: killed.poll(10, 0.05))
    source.close()
    killed.close()


class Asked(Consumer):
    """A consumer that says when it is asked for its member id."""

    asked = 0

    def memberid(self):
        self.asked += 1
        return super().memberid()


def test_a_consumer_that_closes_is_asked_nothing(cluster, kind, group, monkeypatch):
    """It may never answer: librdkafka waits without end for a thread that is ending, and so did the worker."""
    monkeypatch.setattr("serving.stream.kafka.source.Consumer", Asked)
    topic, told = kind.topic(), Told()
    source = KafkaSource(cluster, [topic], group, told)
    until(lambda: (source.poll(10, 0.05), len(told.owned) == 3)[1])
    before = source._consumer.asked
    source.close()
    assert (told.owned, source._consumer.asked) == (set(), before)


def test_keys_lie_where_clients_in_java_put_them(cluster, kind, start, events):
    results = kind.topic(7)
    worker = start(events).until_owns(3)
    keys = [b"host-%d" % number for number in range(50)] + [b"", b"\xff\x00\xfe", "π".encode()]
    worker.outputs.send([OutRecord(results, b"v", key) for key in keys])
    worker.outputs.commit({})
    found = {record.key: record.partition.number for record in kind.read(results)}
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 7 for key in keys}


def test_records_that_were_deleted_before_they_were_read_are_counted_and_told(
    cluster, kind, kafka, group, start, events, caplog
):
    worker = start(events).until_read(60)
    worker.commit()
    worker.close()
    kind.produce(events, [event(events, number) for number in range(60, 120)])
    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 2})
    (done,) = admin.delete_records([TopicPartition(events, 0, 35)]).values()
    done.result(60)
    worker = start(events).until_read(45)
    assert sorted(record.offset for record in worker.read if record.partition.number == 0) == [35, 36, 37, 38, 39]
    assert worker.source.skipped == 15
    assert "15 records were deleted before they were read (retention.ms, retention.bytes)" in caplog.text


def test_a_transaction_that_took_too_long_is_void_and_the_next_one_is_not(cluster, kind, group, start, events):
    results, told = kind.topic(1), Told()
    source = KafkaSource(cluster, [events], group, told)
    until(lambda: (source.poll(1, 0.05), len(told.owned) == 3)[1])
    outputs = TransactionalOutputs(cluster, group, source, transaction_s=1.0)
    outputs.send([OutRecord(results, b"late")])
    watcher = Consumer({"bootstrap.servers": cluster.servers, "group.id": "watcher", "log_level": 2})
    until(lambda: watcher.get_watermark_offsets(TopicPartition(results, 0), 30)[1] == 2, "the record, and the mark of its end")
    watcher.close()
    with pytest.raises(StreamError, match="time limit"):
        outputs.commit({})
    outputs.abort()
    outputs.send([OutRecord(results, b"next")])
    outputs.commit({})
    assert [record.value for record in kind.read(results)] == [b"next"]
    outputs.close()
    source.close()


def test_topics_are_made_once_and_counted(cluster, kafka):
    topics = KafkaTopics(cluster)
    plans = [TopicPlan("made-here", 5, config={"cleanup.policy": "compact"}), TopicPlan("made-here-too", 1)]
    assert list(topics.create(plans)) == ["made-here", "made-here-too"]
    assert list(topics.create(plans)) == []
    until(lambda: topics.partitions().get("made-here") == 5)


def test_a_changelog_with_too_few_partitions_is_said_with_the_way_out(kind):
    changelog = kind.topic(1, compacted=True)
    with pytest.raises(StreamError, match="create it with as many"):
        list(kind.state_log(changelog).read(3))


def test_a_topic_that_is_not_there_is_waited_for(cluster, kafka, group):
    told = Told()
    source = KafkaSource(cluster, [f"late-{group}"], group, told)
    assert source.poll(1, 0.1) == []
    KafkaTopics(cluster).create([TopicPlan(f"late-{group}", 2)])
    source.close()


def test_a_setting_that_librdkafka_does_not_know_is_named(kafka, group):
    with pytest.raises(StreamError, match=r"no\.such\.property"):
        KafkaSource(KafkaCluster(kafka.address, {"no.such.property": "1"}), ["events"], group, Told(), protocol="classic")
