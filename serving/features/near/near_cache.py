"""The rows that a replica keeps, and the rules about rows that must not be kept. Core: the store reports changes, the caller reads.

A read takes a `ReadTicket` before it is sent. A reported change of the entity voids the ticket if it comes before the read's row, because
it is unknown whether the row is older than the change. So a kept row is never older than the last reported change."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from serving.features.near.change_source import ChangeSource
from serving.features.near.s3_fifo import S3Fifo
from serving.features.plan.feature_plan import Row, RowMemo
from serving.telemetry import near_cache_names as names
from serving.telemetry.metric_doc import MetricDoc

MOST_KEPT_S: Final = 60.0
"""A row is read again after this time, whatever the store told: a last bound, for changes that a store does not tell."""
JOINED_S: Final = 0.02
"""Who asks for a row that is being read waits for that read, if it began at most so long ago: less than a row may be behind the store."""
_ROW_BYTES: Final = 1300
"""A row without its cells: its name, containers, decoded table, the tensor made of it and place in a queue, as measured."""
_CELL_BYTES: Final = 49
_TYPICAL_BYTES: Final = 3000

Rows = dict[int, Row]
"""Rows of one entity by the number of what was asked: two services read different cells of one hash."""


class JoinedRead:
    """A read of one row that further requests for it wait for. began_s, until_s: monotonic seconds. waiting: told its row, or None."""

    __slots__ = ("began_s", "number", "until_s", "waiting")

    def __init__(self, number: int, began_s: float, until_s: float) -> None:
        self.number, self.began_s, self.until_s = number, began_s, until_s
        self.waiting: list[Callable[[Row | None], None]] = []


class ReadTicket:
    """Reads of one entity that are under way. is_void: the entity changed meanwhile. joined: the one that may be waited for."""

    __slots__ = ("is_void", "joined", "reads")

    def __init__(self) -> None:
        self.is_void, self.reads = False, 0
        self.joined: JoinedRead | None = None


class NearCache:
    """Rows by name (the store's name of the entity) and number. Belongs to one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._rows: S3Fifo[Rows] = S3Fifo(most_bytes)
        self._reading: dict[bytes, ReadTicket] = {}
        self._asked: set[int] = set()  # hashes of names that were asked for and were not here
        self._asked_before: set[int] = set()
        self._most_asked = max(most_bytes // _TYPICAL_BYTES, 1)
        self.hits = self.misses = self.unproven = self.joined = self.invalidated = 0
        self.flushes: Counter[str] = Counter()
        self.source: ChangeSource | None = None
        """Of the store that is read now; None: the store does not report changes."""

    def find(self, name: bytes, number: int, now_s: float) -> Row | None:
        """The row that is kept. now_s: monotonic seconds; an expired row is not returned."""
        rows = self._rows.get(name)
        row = None if rows is None else rows.get(number)
        if row is None or len(row) != 3 or row[2].until_s <= now_s:
            self.misses += 1
            return None
        row[2].is_hit = True
        self.hits += 1
        return row

    def is_wanted(self, name: bytes) -> bool:
        """Whether a row that is not here should be kept once it is read: from the second recent request on. Most entities
        of a scan are requested once, and keeping a row takes longer than reading it."""
        mark = hash(name)
        if mark in self._asked or mark in self._asked_before:
            return True
        self._mark(mark)
        return False

    def _mark(self, mark: int) -> None:
        if len(self._asked) >= self._most_asked:
            self._asked, self._asked_before = set(), self._asked
        self._asked.add(mark)

    def begin(self, name: bytes) -> ReadTicket:
        """A read of this entity is about to be sent. Every ticket is handed to `keep` or `leave`."""
        ticket = self._reading.get(name)
        if ticket is None:
            ticket = self._reading[name] = ReadTicket()
        ticket.reads += 1
        return ticket

    def under_way(self, name: bytes, number: int, now_s: float, until_s: float) -> JoinedRead | None:
        """A read of this row that can be joined: its result is as good as that of a new read, and arrives by until_s. A read older
        than JOINED_S cannot be joined. Nor can one that began before a reported change."""
        ticket = self._reading.get(name)
        read = None if ticket is None else ticket.joined
        if read is None or read.number != number or read.until_s > until_s or now_s - read.began_s > JOINED_S:
            return None
        self.joined += 1
        return read

    def lead(self, ticket: ReadTicket, number: int, now_s: float, until_s: float) -> JoinedRead:
        """A new read that others may join. Hand it to `tell` when it has ended, whether or not it failed."""
        read = JoinedRead(number, now_s, until_s)
        ticket.joined = read
        return read

    def tell(self, read: JoinedRead, ticket: ReadTicket, row: Row | None) -> None:
        """The read is over: who waits gets its row, or None if there is none or the entity changed meanwhile."""
        if ticket.joined is read:
            ticket.joined = None
        for tell in read.waiting:
            tell(None if ticket.is_void else row)

    def leave(self, name: bytes, ticket: ReadTicket) -> bool:
        """The read is over. Whether what it found may be kept."""
        ticket.reads -= 1
        if ticket.is_void:
            return False
        if not ticket.reads:
            del self._reading[name]
        return True

    def keep(self, name: bytes, number: int, row: Row, ticket: ReadTicket, now_s: float) -> Row:
        """The read is over and found this row. Gives the row with its memo, whether or not it is kept."""
        memo = row[2] if len(row) == 3 else RowMemo(now_s + MOST_KEPT_S)
        row = (row[0], row[1], memo)
        if self.leave(name, ticket):
            memo.size = size_of(name, row)
            size, rows = memo.size, self._rows.get(name)
            if rows is None:
                rows = {number: row}
            else:
                rows[number] = row
                size = sum([other[2].size for other in rows.values() if len(other) == 3])
            self._rows.put(name, rows, size)
        return row

    def invalidate(self, changed: Iterable[bytes]) -> None:
        """These entities have changed."""
        for name in changed:
            self.invalidated += 1
            if self._rows.drop(name):
                self._mark(hash(name))  # so that it is kept again at once
            ticket = self._reading.pop(name, None)
            if ticket is not None:
                ticket.is_void = True

    def flush(self, reason: str) -> None:
        """Anything may have changed. reason: lost, emptied, changed or plan."""
        if len(self._rows) or self._reading:
            self.flushes[reason] += 1
        self._rows.clear()
        for ticket in self._reading.values():
            ticket.is_void = True
        self._reading.clear()

    @property
    def is_on(self) -> bool:
        """Whether the store that is read tells its changes."""
        source = self.source
        return source is not None and source.is_telling()

    @property
    def bytes(self) -> int:
        """What the rows take, about."""
        return self._rows.bytes

    @property
    def entities(self) -> int:
        """How many entities have rows here."""
        return len(self._rows)

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        asked = {"hit": self.hits, "miss": self.misses, "unproven": self.unproven, "joined": self.joined}
        yield names.NEAR_ROWS, {(outcome,): float(count) for outcome, count in asked.items()}
        yield names.NEAR_INVALIDATED, {(): float(self.invalidated)}
        yield names.NEAR_FLUSHES, {(reason,): float(self.flushes[reason]) for reason in names.FLUSH_REASONS}
        yield names.NEAR_EVICTED, {(): float(self._rows.evicted)}
        yield names.NEAR_BYTES, {(): float(self._rows.bytes)}
        yield names.NEAR_ENTITIES, {(): float(len(self._rows))}
        source = self.source
        yield names.NEAR_LAG, {(): 0.0 if source is None else source.lag_s()}
        yield names.NEAR_ON, {(): float(self.is_on)}


def size_of(name: bytes, row: Row) -> int:
    """What a row takes in memory, in bytes. An estimate that a test holds against what Python allocates."""
    cells = [cell for cell in row[0] if cell is not None]
    return _ROW_BYTES + len(name) + (_CELL_BYTES + 8) * len(cells) + 2 * len(b"".join(cells))
