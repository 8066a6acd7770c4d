"""The topics of the broker in memory: partitions with transactions, read as far as nothing is open, as a Kafka broker does it."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serving.stream.ports import OutRecord, Partition, RecordTooLarge, StreamError, StreamRecord

MOST_BYTES = 1_000_000


def murmur2(data: bytes) -> int:
    """The hash that Java's clients choose a partition with, as an unsigned number; org.apache.kafka.common.utils.Utils.murmur2."""
    mask, m, length = 0xFFFFFFFF, 0x5BD1E995, len(data)
    h = 0x9747B28C ^ length
    for at in range(0, length - length % 4, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if rest := data[length - length % 4 :]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


@dataclass(eq=False)
class Transaction:
    """Open until it is decided."""

    committed: bool | None = None
    places: set[Partition] = field(default_factory=set)


@dataclass
class Entry:
    """A place in a partition. record: None is the mark that a transaction was decided."""

    record: StreamRecord | None
    transaction: Transaction | None


class TopicLogs:
    """Topics by name. One lock for everything; `changed` wakes those who wait for records."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._topics: dict[str, list[list[Entry]]] = {}
        self._spread = itertools.count()

    def create(self, name: str, partitions: int) -> str:
        with self.lock:
            self._topics.setdefault(name, [[] for _ in range(partitions)])
        return name

    def renew(self, name: str) -> None:
        """Delete a topic and make it anew."""
        with self.lock:
            self._topics[name] = [[] for _ in self._topics[name]]

    def count(self, topic: str) -> int:
        """Partitions of a topic; raises StreamError if there is none of that name."""
        if topic not in self._topics:
            raise StreamError(f"memory: there is no topic {topic}; create it")
        return len(self._topics[topic])

    def append(self, record: OutRecord, transaction: Transaction | None = None, time_us: int = 0) -> StreamRecord:
        if len(record.value or b"") > MOST_BYTES:
            raise RecordTooLarge(
                f"memory: a record of {len(record.value or b'')} bytes for {record.topic}, at most {MOST_BYTES}"
            )
        with self.lock:
            count = self.count(record.topic)
            number = record.partition
            if number is None:
                number = (murmur2(record.key) & 0x7FFFFFFF if record.key is not None else next(self._spread)) % count
            place = Partition(record.topic, number)
            entries = self._entries(place)
            kept = StreamRecord(place, len(entries), record.value, record.key, record.headers, time_us)
            entries.append(Entry(kept, transaction))
            if transaction is not None:
                transaction.places.add(place)
            self.changed.notify_all()
            return kept

    def decide(self, transaction: Transaction, committed: bool) -> None:
        """Ends a transaction, with a mark in each partition that it wrote to."""
        with self.lock:
            if transaction.committed is not None:
                return
            transaction.committed = committed
            for place in transaction.places:
                self._entries(place).append(Entry(None, None))
            self.changed.notify_all()

    def end(self, place: Partition) -> int:
        """The offset that the next record gets."""
        with self.lock:
            return len(self._entries(place))

    def committed(self, place: Partition, offset: int = 0) -> Iterator[StreamRecord]:
        """Records from an offset on, up to the first that belongs to an open transaction; those that were given up are passed over."""
        with self.lock:
            found = []
            for entry in self._entries(place)[offset:]:
                if entry.transaction is not None and entry.transaction.committed is None:
                    break
                if entry.record is not None and (entry.transaction is None or entry.transaction.committed):
                    found.append(entry.record)
        return iter(found)

    def everything(self, topic: str) -> Sequence[StreamRecord]:
        """All committed records of a topic, by partition."""
        return [record for number in range(self.count(topic)) for record in self.committed(Partition(topic, number))]

    def _entries(self, place: Partition) -> list[Entry]:
        if place.number >= self.count(place.topic):
            raise StreamError(f"memory: {place.topic} has no partition {place.number}; create it with more")
        return self._topics[place.topic][place.number]
