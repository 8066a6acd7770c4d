"""The changelog of a partition: what to write beside the verdicts, and how to read it after a restart or a rebalance. Pure.

Each commit writes one delta: the mark (where reading stands) and what changed in the states since the one before. Now and then a snapshot
holds the whole. Two generations of keys take turns, so that a compacted topic always holds one whole snapshot and every delta after it:

    s{g}/{i}       part i of the snapshot of generation g: the kind of state, and its bytes
    s{g}/end       how many parts there are, and the mark
    d{g}/{n}       delta n since that snapshot

Values are MessagePack."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.stream.ports import OutRecord, Partition, StreamError
from serving.stream.state import PartitionState

MOST_BYTES: Final = 700_000
"""Of one record; Kafka's own limit is 1,048,588 bytes."""
FIRST_GENERATION: Final = 0
_MORE: Final = "+"


class Mark(msgspec.Struct, frozen=True):
    """Where reading a partition stands. name: of this mark, unique; the committed position carries it as its note. position: the oldest
    offset that is not dealt with. next: the offset after the newest that was read. waiting: offsets between them that are not dealt with
    (see `packed`). newest_us, floor_us: as in HeldEvents. group: whose changelog it is."""

    name: str
    position: int
    next: int
    waiting: bytes
    newest_us: int
    floor_us: int
    group: str = ""


class _Delta(msgspec.Struct, frozen=True):
    states: tuple[tuple[str, bytes], ...]
    mark: Mark | None
    """None: the delta goes on in the next record."""
    is_first: bool = True
    """False: the delta began in a record before."""


class _Part(msgspec.Struct, frozen=True):
    kind: str
    content: bytes


class _End(msgspec.Struct, frozen=True):
    parts: int
    mark: Mark


class RestoredLog(msgspec.Struct, frozen=True):
    """What a changelog says. mark: the newest; None: the log is empty. parts, deltas: kinds and bytes, in order. generation,
    deltas_written: where to go on writing. records: how many were read."""

    mark: Mark | None
    parts: Sequence[tuple[str, bytes]]
    deltas: Sequence[tuple[str, bytes]]
    generation: int
    deltas_written: int
    records: int


def packed(offsets: NDArray[np.int64]) -> bytes:
    """Sorted offsets in few bytes.

    >>> unpacked(packed(np.array([5, 6, 1_000_000]))).tolist()
    [5, 6, 1000000]
    """
    return zlib.compress(np.diff(offsets, prepend=0).astype("<i8").tobytes(), 1) if len(offsets) else b""


def unpacked(content: bytes) -> NDArray[np.int64]:
    """The offsets that `packed` packed."""
    return np.cumsum(np.frombuffer(zlib.decompress(content), "<i8")) if content else np.zeros(0, np.int64)


class ChangelogWriter:
    """Makes the records of one partition's changelog. topic, number: where they go."""

    def __init__(self, topic: str, number: int, generation: int = FIRST_GENERATION, deltas: int = 0) -> None:
        self._topic, self._number = topic, number
        self._generation, self._deltas = generation, deltas

    def delta(self, states: Sequence[tuple[str, bytes]], mark: Mark) -> list[OutRecord]:
        """The records of one commit, mostly one."""
        out: list[OutRecord] = []
        waiting: list[tuple[str, bytes]] = []
        size = 0
        for kind, content in _pieces(states):
            if waiting and size + len(content) > MOST_BYTES:
                out.append(self._delta(_Delta(tuple(waiting), None, not out)))
                waiting, size = [], 0
            waiting.append((kind, content))
            size += len(content)
        return [*out, self._delta(_Delta(tuple(waiting), mark, not out))]

    def snapshot(self, states: Mapping[str, PartitionState], mark: Mark) -> list[OutRecord]:
        """The records of a snapshot; the deltas after it are of its generation."""
        self._generation, self._deltas = 1 - self._generation, 0
        whole = ((kind, content) for kind, state in states.items() for content in state.snapshot())
        parts = [_Part(kind, content) for kind, content in _pieces(whole)]
        records = [self._record(f"s{self._generation}/{i}", _encode(part)) for i, part in enumerate(parts)]
        return [*records, self._record(f"s{self._generation}/end", _encode(_End(len(parts), mark)))]

    def _delta(self, content: _Delta) -> OutRecord:
        record = self._record(f"d{self._generation}/{self._deltas}", _encode(content))
        self._deltas += 1
        return record

    def _record(self, key: str, value: bytes) -> OutRecord:
        return OutRecord(self._topic, value, key.encode(), partition=self._number)


def read_changelog(partition: Partition, records: Iterable[tuple[bytes, bytes | None]]) -> RestoredLog:
    """Find the newest whole snapshot and the deltas after it. Raises StreamError for a log that is damaged."""
    parts: dict[int, list[_Part]] = {}
    whole: list[_Part] = []
    deltas: list[tuple[str, bytes]] = []
    open_delta: list[tuple[str, bytes]] = []
    mark, generation, written, count = None, FIRST_GENERATION, 0, 0
    for key, value in records:
        count += 1
        if value is None:
            continue
        try:
            what, g, place = key[:1], int(key[1:2]), key[3:]
            if what == b"d":
                change = msgspec.msgpack.decode(value, type=_Delta)
                open_delta = [*([] if change.is_first else open_delta), *change.states]
                if change.mark is not None:
                    deltas += open_delta
                    mark, written = change.mark, int(place) + 1
            elif place == b"end":
                end = msgspec.msgpack.decode(value, type=_End)
                collected = parts.pop(g, []) if end.parts else []
                if len(collected) == end.parts:
                    whole, deltas, open_delta, mark, generation, written = collected, [], [], end.mark, g, 0
            else:
                if int(place) == 0:
                    parts[g] = []
                parts.setdefault(g, []).append(msgspec.msgpack.decode(value, type=_Part))
        except (ValueError, msgspec.DecodeError) as problem:
            raise StreamError(
                f"the changelog of {partition.topic}/{partition.number} holds the record {key!r:.60} that cannot be read: {problem}; "
                "delete the topic of the state to begin without state"
            ) from problem
    return RestoredLog(mark, _joined((p.kind, p.content) for p in whole), _joined(deltas), generation, written, count)


def _pieces(contents: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Contents that fit into a record; a name with _MORE says that the next piece belongs to it.

    >>> [(kind, len(piece)) for kind, piece in _pieces([("a", bytes(MOST_BYTES + 1)), ("b", b"")])]
    [('a+', 700000), ('a', 1), ('b', 0)]
    """
    for kind, content in contents:
        start = 0
        while len(content) - start > MOST_BYTES:
            yield kind + _MORE, content[start : start + MOST_BYTES]
            start += MOST_BYTES
        yield kind, content[start:]


def _joined(pieces: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The contents that `_pieces` cut."""
    found: list[tuple[str, bytes]] = []
    waiting: list[bytes] = []
    for kind, piece in pieces:
        waiting.append(piece)
        if not kind.endswith(_MORE):
            found.append((kind, b"".join(waiting)))
            waiting = []
    return found


def _encode(value: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(value)
