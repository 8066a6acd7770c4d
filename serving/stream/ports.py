"""The ports of a broker: records in, records out, positions kept. Kafka and Kinesis are adapters of these ports.

A partition is the unit of order, of ownership and of state: one worker of a group owns it at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

RecordHeaders = tuple[tuple[str, bytes], ...]
"""Names and values of a record's headers, in order; a name may occur more than once."""


class Partition(NamedTuple):
    """One partition of a topic, or one shard of a Kinesis stream."""

    topic: str
    number: int


class StreamRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as it was read. time_us: when it was produced, microseconds since the epoch, 0 if the broker does not say."""

    partition: Partition
    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: RecordHeaders = ()
    time_us: int = 0

    @property
    def id(self) -> str:
        """Names the record for good: `TOPIC/PARTITION/OFFSET`.

        >>> StreamRecord(Partition("events", 3), 1829, b"").id
        'events/3/1829'
        """
        return f"{self.partition.topic}/{self.partition.number}/{self.offset}"


class OutRecord(msgspec.Struct, frozen=True, gc=False):
    """One record to write. partition: None lets the key choose it. value: None is a tombstone in a compacted topic."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: RecordHeaders = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a group stands in a partition. offset: the first record that is not dealt with. note: a short text of the worker's own,
    kept beside the offset (at most 4,000 bytes)."""

    offset: int
    note: str = ""


class StreamError(Exception):
    """The broker cannot be read or written; the message says which, why, and what to do."""


class Fenced(StreamError):
    """Another worker owns the partitions now. What was sent since the last commit is void; the worker must read anew."""


class RecordTooLarge(StreamError):
    """A record is larger than the broker takes: trying again cannot help. `StreamOutputs.send` raises it; of that call's records, those
    before it are on their way, so `abort` follows."""


class Ownership(Protocol):
    """What a source tells its worker about partitions. Called from within `StreamSource.poll` and `close`, in the worker's
    thread."""

    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        """These partitions are the worker's from now on; value: the committed position. Returns the offset to read each from; None: the
        committed one, or the source's own start where there is none."""
        ...

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """These go to another worker when this returns: finish and commit what was read of them, then forget their state. Let a Fenced
        that `commit` raises here pass: `lost` follows."""
        ...

    def lost(self, partitions: Sequence[Partition]) -> None:
        """These are another worker's already: forget their state, commit nothing."""
        ...

    def renewed(self, partition: Partition, offset: int) -> None:
        """The records of this partition are not those that were read before: its topic was deleted and made anew. It stays the worker's,
        and reading goes on at this offset: forget its state and what was dealt with. All that was read of the old one was given to the
        worker before."""
        ...


class StreamSource(Protocol):
    """A stream that is read by one worker of a group."""

    def poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        """The next records, in order within each partition; returns when `most` are there or `wait_s` is over. Raises StreamError."""
        ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Read no more of these until `resume`; the partitions stay this worker's."""
        ...

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Read these again."""
        ...

    def behind(self) -> Mapping[Partition, int]:
        """Records of each owned partition that were not read yet, as far as the broker said."""
        ...

    def close(self) -> None:
        """Give the partitions back (`Ownership.revoked` is called) and leave the group."""
        ...


class StreamOutputs(Protocol):
    """Where results go, together with the positions that they stand for."""

    def send(self, records: Sequence[OutRecord]) -> None:
        """Begin to write; returns soon, and waits only where the buffer is full. Raises StreamError."""
        ...

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Make everything sent since the last commit durable, then record the positions.

        Where the adapter is transactional both become visible together or not at all. Raises Fenced, StreamError: then nothing is
        committed that was not committed before, and `abort` follows."""
        ...

    def abort(self) -> None:
        """Give up what was sent since the last commit, as far as readers of committed records are concerned."""
        ...

    def close(self) -> None:
        """Let go of connections; what was not committed is given up."""
        ...


class StateLog(Protocol):
    """The changelog of a worker's state: a compacted topic with one partition for each partition of the input. It is written through
    `StreamOutputs`, so that state, results and positions are committed together."""

    topic: str

    def read(self, number: int, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        """Keys and values of one partition in order, committed ones only, from its beginning to where it ends now. progress: gets the
        offset read and the end. Raises StreamError."""
        ...
