"""A worker as simple as can be: copies records into a topic of results, with the id of each in a header, and notes what it is told."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from serving.stream.contract import ID_HEADER
from serving.stream.ports import OutRecord, Partition, Position, StreamRecord
from tests.contract.serving.stream.broker_kinds import BrokerKind
from tests.waiting import until

MOST = 100


class Worker:
    """Port Ownership. starts: where to read from instead of the committed position. results: the topic it writes to, "" for none."""

    def __init__(
        self,
        kind: BrokerKind,
        topic: str,
        group: str,
        results: str = "",
        *,
        name: str = "",
        starts: Mapping[int, int] | None = None,
    ) -> None:
        self.kind, self.topic, self.results, self._starts = kind, topic, results, starts or {}
        self.name = name or f"worker-{uuid.uuid4().hex[:8]}"
        self.told: list[tuple[str, tuple[int, ...]]] = []
        self.given: dict[Partition, Position | None] = {}
        self.owned: set[int] = set()
        self.read: list[StreamRecord] = []
        self.ahead: dict[Partition, Position] = {}
        self.note = ""
        self.source: Any = kind.source(topic, group, self)
        self.outputs: Any = kind.outputs(self.source, self.name)

    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        self._note_down("assigned", partitions)
        self.owned |= {place.number for place in partitions}
        self.given.update(partitions)
        return {place: self._starts.get(place.number) for place in partitions}

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self._note_down("revoked", partitions)
        self.commit()
        self.owned -= {place.number for place in partitions}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self._note_down("lost", partitions)
        self.ahead.clear()
        self.outputs.abort()
        self.owned -= {place.number for place in partitions}

    def renewed(self, partition: Partition, offset: int) -> None:
        self._note_down("renewed", (partition,))
        self.ahead.pop(partition, None)

    def poll(self, most: int = MOST) -> Sequence[StreamRecord]:
        """Reads, and writes the results."""
        found = self.source.poll(most, 0.1)
        self.read.extend(found)
        for record in found:
            self.ahead[record.partition] = Position(record.offset + 1, self.note)
        if self.results:
            self.outputs.send([result_of(record, self.results) for record in found])
        return found

    def commit(self) -> None:
        self.outputs.commit(self.ahead)
        self.ahead = {}

    def until_read(self, count: int) -> "Worker":
        until(lambda: (self.poll(), len(self.read) >= count)[1], lambda: f"{len(self.read)} of {count} were read")
        return self

    def until_owns(self, count: int) -> "Worker":
        until(lambda: (self.poll(), len(self.owned) == count)[1], lambda: f"owns {self.owned}")
        return self

    def close(self) -> None:
        self.source.close()
        self.outputs.close()

    def _note_down(self, what: str, partitions: Sequence[Partition] | Mapping[Partition, Any]) -> None:
        self.told.append((what, tuple(sorted(place.number for place in partitions))))


def result_of(record: StreamRecord, topic: str) -> OutRecord:
    return OutRecord(topic, record.value, record.key, ((ID_HEADER, record.id.encode()),))


def ids_of(results: Sequence[StreamRecord]) -> list[str]:
    """The events that results are about."""
    return [dict(record.headers)[ID_HEADER].decode() for record in results]
