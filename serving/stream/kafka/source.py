"""Reads topics as a member of a consumer group: positions are committed by the outputs, never by the consumer itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from serving.stream.kafka.cluster import KafkaCluster, ToldOnce, is_passing, log
from serving.stream.kafka.group import GroupProtocol, chosen_protocol, group_properties
from serving.stream.ports import Fenced, Ownership, Partition, Position, RecordHeaders, StreamRecord

PATIENCE_S: Final = 60.0
"""How long committed positions are waited for: a transaction that a dead worker left open hides them until it times out."""


@dataclass(slots=True)
class _Owned:
    partition: Partition
    next_offset: int
    """The first offset that was not delivered; negative: not known yet."""


class KafkaSource:
    """Port StreamSource. Reads committed records only.

    protocol: see `chosen_protocol`. instance_id: names this worker for good (static membership). start: where a partition is read from
    that the group has no position in. session_timeout_s: after which a silent worker is taken for dead (classic protocol).
    is_stopping: then a broker that is away is not asked on for its protocols."""

    def __init__(
        self,
        cluster: KafkaCluster,
        topics: Sequence[str],
        group: str,
        ownership: Ownership,
        *,
        protocol: GroupProtocol = "auto",
        instance_id: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        session_timeout_s: float = 10.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._cluster, self._ownership = cluster, ownership
        self._start = OFFSET_BEGINNING if start == "earliest" else OFFSET_END
        self._owned: dict[tuple[str, int], _Owned] = {}
        self._failure: BaseException | None = None
        self._out_of_range: list[tuple[_Owned, int, int]] = []
        """Partitions whose next offset is not there, with the first offset and the end of what is."""
        self._is_closed = False
        self.skipped = 0
        """Records that the broker had deleted before they were read."""
        self._told = ToldOnce(cluster)
        self.protocol = chosen_protocol(cluster, protocol, instance_id, is_stopping)
        fixed = {
            **group_properties(self.protocol, session_timeout_s),
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # a gap is said, not jumped over
            "error_cb": self._told,
        }
        if instance_id is not None:
            fixed["group.instance.id"] = instance_id
        defaults = {"fetch.error.backoff.ms": 100, "fetch.queue.backoff.ms": 100}
        try:
            self._consumer = Consumer(cluster.properties(defaults, fixed), logger=log)
            self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        except (KafkaException, ValueError) as problem:
            raise cluster.error(problem, f"group {group} on {', '.join(topics)}") from problem

    def poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        """See the port."""
        try:
            while self._out_of_range:  # what was read of them before is dealt with now
                self._jump(*self._out_of_range.pop())
            found = self._consumer.consume(most, wait_s)
        except KafkaException as problem:
            raise self._cluster.error(problem, "read") from problem
        if self._failure is not None:
            raise self._failure
        records = [record for message in found if (record := self._record(message)) is not None]
        if records:
            self._told.works()
        return records

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See the port."""
        self._switch(self._consumer.pause, partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See the port."""
        self._switch(self._consumer.resume, partitions)

    def behind(self) -> Mapping[Partition, int]:
        """See the port; as of the last fetch, and without what a paused partition got since."""
        found: dict[Partition, int] = {}
        for owned in self._owned.values():
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*owned.partition), cached=True)
            if high >= 0:
                read = owned.next_offset if owned.next_offset >= 0 else low if self._start == OFFSET_BEGINNING else high
                found[owned.partition] = max(0, high - max(read, 0))
        return found

    def close(self) -> None:
        """See the port. A source that has failed commits nothing: its partitions are lost."""
        if self._is_closed:
            return
        self._is_closed = True
        owned = [one.partition for one in self._owned.values()]
        try:
            self._let_go(owned, is_lost=self._failure is not None)
        finally:
            self._owned.clear()
            self._consumer.close()

    def group_metadata(self) -> Any:
        """Shows the broker, with a transaction's offsets, that this worker is still a member. Raises Fenced.

        A consumer that was thrown out of a classic group forgets its member id in the background, and gets a new one only in `poll`, after
        the worker was told that its partitions are lost. Offsets without a member id are those of somebody without a group; Kafka 4.3
        refuses them where a group has members. That is not left to the broker's version: who has no id is fenced here."""
        metadata = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():
            raise Fenced(
                f"kafka://{self._cluster.servers}: this worker was taken for dead and its partitions were given away; "
                "if it was only slow, raise max.poll.interval.ms in the Kafka options, or make batches smaller"
            )
        return metadata

    def commit_offsets(self, positions: Mapping[Partition, Position]) -> None:
        """Record positions by themselves, for outputs without transactions. Raises KafkaException."""
        for place in self._consumer.commit(offsets=offsets_of(positions), asynchronous=False):
            if place.error is not None:
                raise KafkaException(place.error)

    def _switch(self, switch: Any, partitions: Sequence[Partition]) -> None:
        try:
            switch([TopicPartition(*one) for one in partitions if one in self._owned])
        except KafkaException as problem:
            raise self._cluster.error(problem, "pause or resume") from problem

    def _record(self, message: Message) -> StreamRecord | None:
        error = message.error()
        if error is not None:
            self._mend(message, error)
            return None
        offset = message.offset() or 0
        owned = self._owned.get((message.topic() or "", message.partition() or 0))
        if owned is None or offset < owned.next_offset:
            return None  # read ahead before the partition went
        owned.next_offset = offset + 1
        headers = message.headers()
        return StreamRecord(
            owned.partition,
            offset,
            message.value(),
            message.key(),
            _headers(headers) if headers else (),
            message.timestamp()[1] * 1000 if message.timestamp()[0] else 0,
        )

    def _mend(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            owned = self._owned.get((message.topic() or "", message.partition() or 0))
            if owned is not None:
                self._out_of_range.append((owned, *self._ends(owned.partition)))
        elif is_passing(error):
            self._told(error)
        else:
            raise self._cluster.error(KafkaException(error), f"read {message.topic() or ''}".strip())

    def _ends(self, partition: Partition) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=PATIENCE_S)
        except KafkaException as problem:
            raise self._cluster.error(problem, f"ask for the ends of {partition.topic}/{partition.number}") from problem
        return low, high

    def _jump(self, owned: _Owned, low: int, high: int) -> None:
        """What was to be read next is not there: begin at the oldest record there is, and say what is gone."""
        if self._owned.get(owned.partition) is not owned:  # it went meanwhile
            return
        gone, is_another = max(0, low - max(owned.next_offset, 0)), owned.next_offset > high
        self.skipped += gone
        log.error(
            "%s/%d: offset %d is not there, the topic has %d to %d: %s; reading goes on at %d",
            *owned.partition,
            owned.next_offset,
            low,
            high,
            f"{gone} records were deleted before they were read (retention.ms, retention.bytes)"
            if gone
            else "the topic is another one"
            if is_another
            else "it was not there for a moment, and what lies before it is passed over where it is dealt with",
            low,
        )
        if is_another:
            self._ownership.renewed(owned.partition, low)
        owned.next_offset = low
        place = TopicPartition(*owned.partition, low)  # it is not being fetched now, so it cannot be sought in
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([place])

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            if partitions and self._failure is None and not self._is_closed:
                self._take(partitions)
        except BaseException as problem:
            self._failure = problem  # raised by poll: librdkafka would swallow it here
        consumer.incremental_assign(partitions)

    def _take(self, partitions: list[TopicPartition]) -> None:
        committed = self._committed(partitions)
        starts = self._ownership.assigned(committed)
        for place in partitions:
            partition = Partition(place.topic, place.partition)
            position, start = committed[partition], starts.get(partition)
            if start is None:
                start = self._start if position is None else position.offset
            place.offset = start
            self._owned[partition] = _Owned(partition, start)

    def _committed(self, partitions: list[TopicPartition]) -> dict[Partition, Position | None]:
        found: dict[Partition, Position | None] = {}
        for place in self._consumer.committed(partitions, PATIENCE_S):
            if place.error is not None:
                raise self._cluster.error(KafkaException(place.error), f"position in {place.topic}/{place.partition}")
            is_set = place.offset >= 0
            found[Partition(place.topic, place.partition)] = Position(place.offset, place.metadata or "") if is_set else None
        return found

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_closed:  # `close` has let go of all. A consumer that closes may never answer a question about its member
            consumer.incremental_unassign(partitions)
            return
        # librdkafka says "revoked", too, to a member that the group has thrown out for being slow
        self._give(consumer, partitions, is_lost=not consumer.memberid())

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give(consumer, partitions, is_lost=True)

    def _give(self, consumer: Consumer, partitions: list[TopicPartition], *, is_lost: bool) -> None:
        known = [one for place in partitions if (one := Partition(place.topic, place.partition)) in self._owned]
        try:
            self._let_go(known, is_lost=is_lost)
        except BaseException as problem:
            self._failure = problem
        for one in known:
            del self._owned[one]
        consumer.incremental_unassign(partitions)

    def _let_go(self, partitions: Sequence[Partition], *, is_lost: bool) -> None:
        if partitions and not is_lost:
            try:
                self._ownership.revoked(partitions)
            except Fenced as late:
                log.warning("%s; what was not committed is read again by the new owner", late)
                is_lost = True
        if partitions and is_lost:
            self._ownership.lost(partitions)


def _headers(found: Any) -> RecordHeaders:
    return tuple((name, value or b"") for name, value in found)


def offsets_of(positions: Mapping[Partition, Position]) -> list[TopicPartition]:
    """Positions as librdkafka writes them, the note as the offset's metadata."""
    return [
        TopicPartition(partition.topic, partition.number, position.offset, position.note)
        for partition, position in positions.items()
    ]
