"""Kinesis of the contract: moto's server in this process, with streams, and a table of leases for each group."""

import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from serving.stream.kinesis.account import AwsPlace
from serving.stream.kinesis.frames import unframed
from serving.stream.kinesis.lease_table import LeaseTable
from serving.stream.kinesis.outputs import KinesisOutputs
from serving.stream.kinesis.source import KinesisSource
from serving.stream.ports import OutRecord, Ownership, Partition, Position, StateLog, StreamOutputs, StreamRecord
from tests.waiting import until

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
LEASE_S = 1.0


@dataclass
class Kinesis:
    place: AwsPlace
    is_transactional: bool = False
    counts_behind: bool = False

    @cached_property
    def client(self) -> Any:
        return self.place.client("kinesis")

    def topic(self, partitions: int = 3, *, compacted: bool = False) -> str:
        name = f"stream-{uuid.uuid4().hex[:8]}"
        self.client.create_stream(StreamName=name, ShardCount=partitions)
        until(
            lambda: self.client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        )
        return name

    def produce(self, topic: str, records: Sequence[OutRecord]) -> None:
        outputs = KinesisOutputs(self.place, None)  # type: ignore[arg-type]
        outputs.send(records)
        outputs.commit({})

    def read(self, topic: str, *, is_open: bool = False) -> Sequence[StreamRecord]:
        found = []
        for shard in self.client.list_shards(StreamName=topic)["Shards"]:
            place = Partition(topic, int(shard["ShardId"].rpartition("-")[2]))
            iterator = self.client.get_shard_iterator(
                StreamName=topic, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                answer = self.client.get_records(ShardIterator=iterator)
                for record in answer["Records"]:
                    value, key, headers = unframed(record["Data"], record["PartitionKey"])
                    found.append(StreamRecord(place, int(record["SequenceNumber"]), value, key, headers))
                iterator = answer.get("NextShardIterator") if answer["Records"] else None
        return found

    def positions(self, group: str, topic: str) -> Mapping[Partition, Position]:
        leases = LeaseTable(self.place, group, "nobody").read(topic)
        return {Partition(topic, n): lease.position for n, lease in leases.items() if lease.position is not None}

    def source(self, topic: str, group: str, ownership: Ownership) -> KinesisSource:
        return KinesisSource(self.place, topic, group, ownership, lease_s=LEASE_S, read_every_s=0.01)

    def outputs(self, source: KinesisSource, name: str) -> StreamOutputs:
        return KinesisOutputs(self.place, source)

    def state_log(self, topic: str) -> StateLog:
        raise NotImplementedError

    def silence(self, source: KinesisSource) -> None:
        """It polls no more, so it renews no lease; others see that after LEASE_S."""

    def kill(self, source: KinesisSource, outputs: StreamOutputs) -> None:
        """As one that hangs."""


@contextmanager
def opened() -> Iterator[Kinesis]:
    from moto.server import ThreadedMotoServer

    before = {name: os.environ.get(name) for name in CREDENTIALS}
    os.environ.update(CREDENTIALS)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it writes a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Kinesis(AwsPlace("eu-central-1", f"http://{host}:{port}"))
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
