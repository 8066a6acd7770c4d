"""Reads the shards of a stream that this worker holds leases of. Leases are renewed in `poll`."""

import secrets
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from serving.stream.kinesis.account import PASSING, AwsError, AwsPlace, code_of
from serving.stream.kinesis.frames import unframed
from serving.stream.kinesis.lease_table import LeaseTable
from serving.stream.kinesis.leases import Lease, plan_leases
from serving.stream.ports import Fenced, Ownership, Partition, Position, StreamError, StreamRecord

MOST_READ: Final = 10_000
"""Records that Kinesis gives in one answer."""
_NAP_S: Final = 0.01


@dataclass(slots=True)
class _HeldShard:
    partition: Partition
    iterator: str | None
    next_offset: int
    """The first sequence number that was not delivered; 0: any."""
    position: Position | None
    """The committed one."""
    after: str
    """Of the last record before it."""
    delivered: list[int] = field(default_factory=list)
    """Sequence numbers since that position."""
    is_over: bool = False
    """The shard was split or merged, and everything in it was read."""
    is_at_end: bool = False
    read_s: float = 0.0


class KinesisSource:
    """Port StreamSource. table: the group's table of leases, made where it is missing. lease_s: after which a silent worker is taken for
    dead. read_every_s: Kinesis answers five reads of a shard in a second. start: where a shard is read from without a position."""

    def __init__(
        self,
        place: AwsPlace,
        stream: str,
        table: str,
        ownership: Ownership,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        lease_s: float = 30.0,
        read_every_s: float = 0.2,
    ) -> None:
        self._place, self._stream, self._ownership = place, stream, ownership
        self._start, self._lease_s, self._read_every_s = start, lease_s, read_every_s
        self._kinesis = place.client("kinesis")
        self._table = LeaseTable(place, table, f"worker-{secrets.token_hex(8)}")
        self._table.ensure()
        self._held: dict[int, _HeldShard] = {}
        self._paused: set[int] = set()
        self._seen: dict[int, tuple[str, int, float]] = {}
        """Of each lease: holder, counter, and since when they are these."""
        self._looked_s = float("-inf")
        self._is_closed = False

    def poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        """See the port."""
        until = time.monotonic() + wait_s
        found: list[StreamRecord] = []
        while True:
            try:
                self._look(time.monotonic())
                self._read(found, most)
            except AwsError as problem:
                if code_of(problem) not in PASSING:
                    raise self._place.error(problem, f"read {self._stream}") from problem
            left = until - time.monotonic()
            if len(found) >= most or left <= 0:
                return found
            time.sleep(min(_NAP_S, left))

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See the port."""
        self._paused |= {one.number for one in partitions if one.number in self._held}

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See the port."""
        self._paused -= {one.number for one in partitions}

    def behind(self) -> Mapping[Partition, int]:
        """See the port. Kinesis says only whether there is more, not how much: a shard that is not read to its end is left out."""
        return {shard.partition: 0 for shard in self._held.values() if shard.is_at_end}

    def close(self) -> None:
        """See the port."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._give(list(self._held))
        except AwsError as problem:
            raise self._place.error(problem, "give the shards back") from problem

    def commit_offsets(self, positions: Mapping[Partition, Position]) -> None:
        """Record positions. Raises Fenced, StreamError."""
        lines: dict[int, tuple[Position, str, bool]] = {}
        for partition, position in positions.items():
            shard = self._held.get(partition.number)
            if shard is None:
                raise Fenced(f"kinesis in {self._place.region}: {partition.topic}/{partition.number} is another worker's now")
            count = bisect_left(shard.delivered, position.offset)
            after = str(shard.delivered[count - 1]) if count else shard.after
            lines[partition.number] = position, after, shard.is_over and position.offset >= shard.next_offset
        try:
            self._table.commit(self._stream, lines)
        except AwsError as problem:
            raise self._place.error(problem, "commit positions") from problem
        for number, (position, after, _) in lines.items():
            shard = self._held[number]
            shard.position, shard.after = position, after
            del shard.delivered[: bisect_left(shard.delivered, position.offset)]

    def _look(self, now_s: float) -> None:
        """Renew the leases; give, take and ask as the plan says. Raises AwsError."""
        if now_s - self._looked_s < self._lease_s / 4:
            return
        self._looked_s = now_s
        lost = [number for number in self._held if not self._table.renew(self._stream, number)]
        self._drop(lost)
        for number, shard in self._held.items():
            if shard.is_over and not shard.delivered:  # its end was seen after everything was committed
                self._table.commit(self._stream, {number: (shard.position or Position(shard.next_offset), shard.after, True)})
        shards = self._shards()
        leases = self._table.read(self._stream)
        for number in shards.keys() - leases.keys():
            self._table.add(self._stream, number)
            leases[number] = Lease(number)
        readable = {n for n, parents in shards.items() if all(p not in leases or leases[p].is_ended for p in parents)}
        plan = plan_leases(leases, self._table.me, self._expired(leases, now_s), readable)
        self._give([n for n in self._held if n in plan.give or (n in leases and leases[n].is_ended)])
        taken = [leases[number] for number in plan.take if self._table.take(self._stream, leases[number])]
        if taken:
            self._begin(taken)
        for number in plan.ask:
            self._table.ask(self._stream, leases[number])

    def _expired(self, leases: Mapping[int, Lease], now_s: float) -> set[int]:
        for number, lease in leases.items():
            seen = self._seen.get(number)
            if seen is None or seen[:2] != (lease.holder, lease.counter):
                self._seen[number] = lease.holder, lease.counter, now_s
        return {number for number in leases if now_s - self._seen[number][2] >= self._lease_s}

    def _shards(self) -> dict[int, list[int]]:
        """The shards and their parents. Raises AwsError."""
        found: dict[int, list[int]] = {}
        for page in self._kinesis.get_paginator("list_shards").paginate(StreamName=self._stream):
            for shard in page["Shards"]:
                parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
                found[_number(shard["ShardId"])] = [_number(parent) for parent in parents if parent]
        return found

    def _begin(self, leases: Sequence[Lease]) -> None:
        committed = {Partition(self._stream, lease.shard): lease.position for lease in leases}
        starts = self._ownership.assigned(committed)
        for lease in leases:
            partition = Partition(self._stream, lease.shard)
            self._held[lease.shard] = self._shard(partition, lease, starts.get(partition))

    def _shard(self, partition: Partition, lease: Lease, start: int | None) -> _HeldShard:
        """Kinesis reads on after a record that it knows, so it is asked for what comes after the last one before the position."""
        position = lease.position
        offset = start if start is not None else position.offset if position is not None else None
        after = lease.after if position is not None and offset is not None and offset >= position.offset else ""
        where: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if after:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        elif offset is None and self._start == "latest":
            where = {"ShardIteratorType": "LATEST"}
        return _HeldShard(partition, self._iterator(partition.number, where), offset or 0, position, after)

    def _iterator(self, number: int, where: Mapping[str, Any]) -> str | None:
        answer = self._kinesis.get_shard_iterator(StreamName=self._stream, ShardId=f"shardId-{number:012d}", **where)
        return str(answer["ShardIterator"])

    def _read(self, found: list[StreamRecord], most: int) -> None:
        now_s = time.monotonic()
        for number, shard in list(self._held.items()):
            left = most - len(found)
            is_due = now_s - shard.read_s >= self._read_every_s
            if left > 0 and is_due and shard.iterator is not None and number not in self._paused:
                shard.read_s = now_s
                found.extend(self._read_shard(shard, left))

    def _read_shard(self, shard: _HeldShard, most: int) -> list[StreamRecord]:
        try:
            answer = self._kinesis.get_records(ShardIterator=shard.iterator, Limit=min(most, MOST_READ))
        except self._kinesis.exceptions.ExpiredIteratorException:
            last = str(shard.delivered[-1]) if shard.delivered else shard.after
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": last} if last else None
            shard.iterator = self._iterator(shard.partition.number, where or {"ShardIteratorType": "TRIM_HORIZON"})
            return []
        shard.iterator = answer.get("NextShardIterator")
        shard.is_over, shard.is_at_end = shard.iterator is None, not answer.get("MillisBehindLatest")
        found = []
        for record in answer["Records"]:
            offset = int(record["SequenceNumber"])
            if offset < shard.next_offset:
                continue
            shard.next_offset = offset + 1
            shard.delivered.append(offset)
            value, key, headers = unframed(record["Data"], record["PartitionKey"])
            arrived = record.get("ApproximateArrivalTimestamp")
            time_us = round(arrived.timestamp() * 1e6) if arrived is not None else 0
            found.append(StreamRecord(shard.partition, offset, value, key, headers, time_us))
        return found

    def _give(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        partitions = [self._held[number].partition for number in numbers]
        try:
            self._ownership.revoked(partitions)
        except Fenced:
            self._drop(numbers)
            return
        for number in numbers:
            self._forget(number)
            self._table.release(self._stream, number)

    def _drop(self, numbers: Sequence[int]) -> None:
        if numbers:
            self._ownership.lost([self._held[number].partition for number in numbers])
            for number in numbers:
                self._forget(number)

    def _forget(self, number: int) -> None:
        del self._held[number]
        self._paused.discard(number)


def _number(shard_id: str) -> int:
    """Of `shardId-000000000007`: 7. Raises StreamError."""
    try:
        return int(shard_id.rpartition("-")[2])
    except ValueError as problem:
        raise StreamError(
            f"the shard {shard_id!r} has no number; a stream's shards are named shardId-000000000007"
        ) from problem
