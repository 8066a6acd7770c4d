"""What the adapter of Kinesis does beyond the contract: shards that are split, records that a busy shard refuses, errors in words."""

import pytest

from serving.stream.kinesis.account import AwsPlace
from serving.stream.kinesis.outputs import KinesisOutputs
from serving.stream.kinesis.source import KinesisSource
from serving.stream.ports import OutRecord, StreamError
from tests.contract.serving.stream.conftest import event
from tests.contract.serving.stream.kinesis_kind import opened
from tests.waiting import until


@pytest.fixture
def kind():
    with opened() as found:
        yield found


class Split:
    """A client of a stream whose shard 0 was split into 1 and 2. moto's own split moves the records, and its shards never end."""

    def __init__(self, client):
        self._client, self._parents = client, set()

    def __getattr__(self, name):
        return getattr(self._client, name)

    def get_paginator(self, name):
        pages = self._client.get_paginator(name)

        class Pages:
            def paginate(self, **of):
                for page in pages.paginate(**of):
                    for shard in page["Shards"][1:]:
                        shard["ParentShardId"] = page["Shards"][0]["ShardId"]
                    yield page

        return Pages()

    def get_shard_iterator(self, **of):
        answer = self._client.get_shard_iterator(**of)
        if of["ShardId"] == "shardId-000000000000":
            self._parents.add(answer["ShardIterator"])
        return answer

    def get_records(self, ShardIterator, Limit):
        answer = self._client.get_records(ShardIterator=ShardIterator, Limit=Limit)
        if ShardIterator in self._parents:
            self._parents.add(answer["NextShardIterator"])
            if not answer["Records"]:
                del answer["NextShardIterator"]
        return answer


def test_a_shard_that_was_split_is_dealt_with_before_its_children_are_read(kind, start):
    topic = kind.topic(3)
    kind.produce(topic, [event(topic, number) for number in range(60)])
    worker = start(topic)
    worker.source._kinesis = Split(kind.client)
    until(lambda: len(worker.poll(7)) or worker.owned == {0})
    worker.until_read(20)
    for _ in range(3):
        worker.poll()
    assert worker.owned == {0}, "what was read of it is not committed"
    until(lambda: (worker.poll(), worker.commit(), len(worker.read) >= 60)[2])
    assert [record.partition.number for record in worker.read[:20]] == [0] * 20
    assert sorted(record.value for record in worker.read) == sorted(b"value %d" % n for n in range(60))
    until(lambda: (worker.poll(), worker.owned == {1, 2})[1])
    worker.close()
    kind.produce(topic, [event(topic, number) for number in (61, 62)])
    following = start(topic)
    following.source._kinesis = Split(kind.client)
    following.until_read(2)
    assert sorted(record.value for record in following.read) == [b"value 61", b"value 62"], "the parent is not read again"


def test_a_shard_whose_end_is_seen_after_all_was_committed_ends_too(kind, start):
    topic = kind.topic(3)
    kind.produce(topic, [event(topic, number) for number in range(60)])
    worker = start(topic)
    worker.source._kinesis = Split(kind.client)
    until(lambda: (worker.poll(1), worker.commit(), len(worker.read) >= 60)[2])
    assert [record.partition.number for record in worker.read[:20]] == [0] * 20


class BusyOnce:
    """A client that refuses every other record the first time."""

    def __init__(self, client):
        self._client, self._refused = client, False

    def put_records(self, StreamName, Records):
        if self._refused:
            return self._client.put_records(StreamName=StreamName, Records=Records)
        self._refused = True
        self._client.put_records(StreamName=StreamName, Records=Records[::2])
        busy = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        return {"Records": [{} if place % 2 == 0 else busy for place in range(len(Records))]}


def test_records_that_a_busy_shard_refuses_are_written_again_and_no_others(kind):
    topic = kind.topic(2)
    outputs = KinesisOutputs(kind.place, None)
    outputs._kinesis = BusyOnce(kind.client)
    outputs.send([OutRecord(topic, b"%d" % n, b"key %d" % n) for n in range(10)])
    outputs.commit({})
    assert sorted(record.value for record in kind.read(topic)) == [b"%d" % n for n in range(10)]


def test_a_stream_that_is_not_there_is_said_with_the_way_out(kind, group):
    class Told:
        def assigned(self, partitions):
            return dict.fromkeys(partitions)

    source = KinesisSource(kind.place, "nowhere", group, Told())
    with pytest.raises(StreamError, match="create the stream, or check its name and the region"):
        source.poll(1, 0)


def test_aws_that_cannot_be_reached_is_said(group):
    with pytest.raises(StreamError, match="eu-central-1"):
        KinesisSource(AwsPlace("eu-central-1", "http://127.0.0.1:9"), "events", group, None)
