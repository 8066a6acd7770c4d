"""A broker in memory with the ports of streams: groups of several workers, transactions, fencing. Passes the contract that Kafka does.

Nothing runs by itself: a partition changes hands in `poll`, a worker is taken for dead when `expel` says so."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from serving.stream.ports import Fenced, OutRecord, Ownership, Partition, Position, StreamError, StreamRecord
from tests.fakes.stream.groups import ConsumerGroup, Member
from tests.fakes.stream.log import TopicLogs, Transaction

WAIT_S = 0.01
"""An empty `poll` waits no longer."""


class MemoryBroker:
    """Topics and groups. is_down: then reads find nothing and writes raise StreamError."""

    def __init__(self) -> None:
        self.logs = TopicLogs()
        self.is_down = False
        self._groups: dict[str, ConsumerGroup] = {}
        self.holders: dict[str, MemoryOutputs] = {}

    def topic(self, name: str, partitions: int = 3) -> str:
        return self.logs.create(name, partitions)

    def renew(self, topic: str) -> None:
        """Somebody deletes a topic and makes it anew."""
        self.logs.renew(topic)

    def produce(self, topic: str, *records: OutRecord | bytes, time_us: int = 0) -> None:
        """As somebody upstream."""
        for record in records:
            self.logs.append(record if isinstance(record, OutRecord) else OutRecord(topic, record), time_us=time_us)

    def read(self, topic: str) -> Sequence[StreamRecord]:
        """As somebody downstream who reads committed records."""
        return self.logs.everything(topic)

    def group(self, name: str, topics: Sequence[str]) -> ConsumerGroup:
        places = [Partition(topic, number) for topic in topics for number in range(self.logs.count(topic))]
        return self._groups.setdefault(name, ConsumerGroup(places))

    def positions(self, group: str) -> Mapping[Partition, Position]:
        return dict(self._groups[group].positions) if group in self._groups else {}

    def check(self) -> None:
        if self.is_down:
            raise StreamError("memory: the broker is down; start it")


class MemorySource:
    """Port StreamSource."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], group: str, ownership: Ownership) -> None:
        self.broker, self._ownership = broker, ownership
        self.group, self.member = broker.group(group, topics), Member()
        self._next: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._is_closed = False
        with broker.logs.lock:
            self.group.join(self.member)

    def poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        if self.broker.is_down:
            return []
        self._move()
        with self.broker.logs.lock:
            found = self._read(most)
            if not found and wait_s:
                self.broker.logs.changed.wait(min(wait_s, WAIT_S))
                found = self._read(most)
        return found

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._paused |= set(partitions) & self._next.keys()

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._paused -= set(partitions)

    def behind(self) -> Mapping[Partition, int]:
        return {place: sum(1 for _ in self.broker.logs.committed(place, offset)) for place, offset in self._next.items()}

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if owned := sorted(self._next):
            self._let_go(owned, is_lost=not self.member.is_in)
        self._next.clear()
        with self.broker.logs.lock:
            self.group.leave(self.member)

    def expel(self) -> None:
        """The broker takes this worker for dead; it hears of it in its next `poll`."""
        with self.broker.logs.lock:
            self.group.leave(self.member)

    def kill(self) -> None:
        """As a process that is killed: nobody is told anything, and the broker notices."""
        self._is_closed = True
        self.expel()

    def _move(self) -> None:
        if not self.member.is_in:
            if lost := sorted(self._next):
                self._ownership.lost(lost)
            self._forget(lost)
            with self.broker.logs.lock:
                self.group.join(self.member)
        if giving := self.group.to_give(self.member):
            self._let_go(giving, is_lost=False)
            self._forget(giving)
            with self.broker.logs.lock:
                self.member.owned -= set(giving)
        with self.broker.logs.lock:
            taking = self.group.to_take(self.member)
            self.member.owned |= set(taking)
        if taking:
            committed = {place: self.group.positions.get(place) for place in taking}
            starts = self._ownership.assigned(committed)
            for place, position in committed.items():
                start = starts.get(place)
                self._next[place] = start if start is not None else position.offset if position is not None else 0
        for place in [place for place, offset in self._next.items() if offset > self.broker.logs.end(place)]:
            self._ownership.renewed(place, 0)
            self._next[place] = 0

    def _let_go(self, partitions: Sequence[Partition], *, is_lost: bool) -> None:
        if not is_lost:
            try:
                self._ownership.revoked(partitions)
            except Fenced:
                is_lost = True
        if is_lost:
            self._ownership.lost(partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for place in partitions:
            self._next.pop(place, None)
            self._paused.discard(place)

    def _read(self, most: int) -> list[StreamRecord]:
        found: list[StreamRecord] = []
        for place in sorted(self._next.keys() - self._paused):
            for record in self.broker.logs.committed(place, self._next[place]):
                if len(found) == most:
                    return found
                found.append(record)
                self._next[place] = record.offset + 1
        return found


class MemoryOutputs:
    """Port StreamOutputs. transactional_id: None writes at least once."""

    def __init__(self, broker: MemoryBroker, source: MemorySource, transactional_id: str | None = None) -> None:
        self._broker, self._source, self._id = broker, source, transactional_id
        self._transaction: Transaction | None = None
        if transactional_id is not None:
            if before := broker.holders.get(transactional_id):
                before._decide(committed=False)
            broker.holders[transactional_id] = self

    def send(self, records: Sequence[OutRecord]) -> None:
        self._check()
        if self._id is not None and self._transaction is None:
            self._transaction = Transaction()
        for record in records:
            self._broker.logs.append(record, self._transaction)

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        self._check()
        with self._broker.logs.lock:
            self._source.group.commit(self._source.member, dict(positions))
            self._decide(committed=True)

    def abort(self) -> None:
        self._decide(committed=False)

    def close(self) -> None:
        self.abort()

    def _check(self) -> None:
        self._broker.check()
        if self._id is not None and self._broker.holders[self._id] is not self:
            raise Fenced(f"memory: another worker has the transactional id {self._id}; give each worker one of its own")

    def _decide(self, *, committed: bool) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            self._broker.logs.decide(transaction, committed)


class MemoryStateLog:
    """Port StateLog."""

    def __init__(self, broker: MemoryBroker, topic: str) -> None:
        self._broker, self.topic = broker, topic

    def read(self, number: int, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        place = Partition(self.topic, number)
        end = self._broker.logs.end(place)
        for record in self._broker.logs.committed(place):
            yield record.key or b"", record.value
            if progress is not None:
                progress(record.offset + 1, end)
        if progress is not None:
            progress(end, end)
