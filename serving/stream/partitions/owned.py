"""One partition that the worker owns: its held events and states, and the positions of reading and of the changelog."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.stream.events import StreamEvents, joined
from serving.stream.partitions.changelog import ChangelogWriter, Mark, RestoredLog, packed, unpacked
from serving.stream.partitions.holding import HeldEvents, HoldLimits
from serving.stream.ports import OutRecord, Partition, Position, StreamError, StreamRecord
from serving.stream.state import PartitionState, RuleHit

_NONE: Final[NDArray[np.int64]] = np.zeros(0, np.int64)


class OwnedPartition:
    """Owned from `assigned` to `revoked`. log: what its changelog says; None: it has none. committed: the position of the group.

    new_name: names a mark."""

    def __init__(
        self,
        partition: Partition,
        states: Mapping[str, PartitionState],
        limits: HoldLimits,
        *,
        committed: Position | None,
        log: RestoredLog | None,
        topic: str,
        group: str,
        new_name: Callable[[], str],
        now_s: float,
    ) -> None:
        self.partition, self.states = partition, states
        mark = log.mark if log is not None else None
        self.held = HeldEvents(limits, mark.newest_us, mark.floor_us) if mark is not None else HeldEvents(limits)
        self._writer = None if log is None else ChangelogWriter(topic, partition.number, log.generation, log.deltas_written)
        self._new_name, self._group = new_name, group
        self._mark, self._waiting = mark, unpacked(mark.waiting) if mark is not None else _NONE
        self._is_mark_committed = mark is not None and committed is not None and committed.note == mark.name
        self.start: int | None = committed.offset if committed is not None else mark.position if mark is not None else None
        self._next = self.start
        self._in_flight: list[StreamEvents] = []
        self._deltas: list[tuple[str, bytes]] = []
        self.heard_s, self.snapshot_s = now_s, now_s
        self.produced_us = 0
        """When the newest record that was read was produced; 0: not known."""
        self.is_moved = False
        """Whether there is something to commit."""
        self._has_new_deltas = False
        self._is_anew = False
        """Whether the changelog tells of another topic until the next commit."""
        if log is not None:
            self._restore(log)

    def anew(self, offset: int, states: Mapping[str, PartitionState], limits: HoldLimits, now_s: float) -> "OwnedPartition":
        """The partition after its topic was made anew: nothing is dealt with, and the next commit empties the changelog."""
        found = OwnedPartition(
            self.partition,
            states,
            limits,
            committed=Position(offset),
            log=None,
            topic="",
            group=self._group,
            new_name=self._new_name,
            now_s=now_s,
        )
        found._writer, found._is_anew, found.is_moved = self._writer, self._writer is not None, True
        return found

    @property
    def unscored(self) -> int:
        """How many events wait to be scored."""
        return self.held.count + sum(map(len, self._in_flight))

    def count(self, events: StreamEvents) -> dict[int, list[RuleHit]]:
        """Count events in the states; what rules over several events say, by row."""
        found: dict[int, list[RuleHit]] = {}
        for state in self.states.values():
            for hit in state.update(events):
                found.setdefault(hit.row, []).append(hit)
        return found

    def fresh(self, records: Sequence[StreamRecord]) -> tuple[list[StreamRecord], set[int]]:
        """Of these records, those that are not dealt with, and the offsets among them that were counted before a restart.

        A record that was committed as dealt with is left out. One that is in the changelog, but whose verdict may not have been
        written, is scored again and not counted again."""
        first = self._next
        if first is not None and records[0].offset < first:
            records = [r for r in records if r.offset >= first]
        mark = self._mark
        if mark is None or not records or records[0].offset >= mark.next:
            return list(records), set()
        waiting = set(self._waiting.tolist())
        known = {r.offset for r in records if r.offset < mark.next and r.offset not in waiting}
        if self._is_mark_committed:
            return [r for r in records if r.offset not in known], set()
        return list(records), known

    def took(self, records: Sequence[StreamRecord], events: StreamEvents | None, now_s: float) -> None:
        """These records are dealt with, but for the events among them, which are held from now on."""
        self._next, self.heard_s, self.is_moved = records[-1].offset + 1, now_s, True
        self.produced_us = records[-1].time_us
        if events is not None:
            self.held.add(events)

    def due(self, now_s: float, idle_s: float) -> StreamEvents | None:
        """The held events that are to be scored now; they are in flight until `scored`."""
        events = self.held.release()
        if self.held.count and now_s - self.heard_s >= idle_s:
            rest = self.held.release_all()
            if rest is not None:
                events = rest if events is None else joined([events, rest])
        if events is not None:
            self._in_flight.append(events)
        return events

    def scored(self, events: StreamEvents) -> None:
        """These left flight; keep what they changed in the states for the next commit. They are the first in flight."""
        self.is_moved = True
        first = self._in_flight[0]
        if len(events) >= len(first):
            self._in_flight.pop(0)
        else:
            self._in_flight[0] = first.part(len(events), len(first))
        if self._writer is not None:
            for kind, state in self.states.items():
                delta = state.take_delta()
                if delta is not None:
                    self._deltas.append((kind, delta))

    def commit_records(self, now_s: float, snapshot_every_s: float) -> tuple[Position | None, list[OutRecord]]:
        """The position to commit and the changelog's records that belong to it."""
        if self._next is None:
            return None, []
        waiting = self._waiting_offsets()
        position = int(waiting[0]) if len(waiting) else self._next
        if self._writer is None:
            return Position(position), []
        mark = Mark(
            self._new_name(), position, self._next, packed(waiting), self.held.newest_us, self.held.floor_us, self._group
        )
        self._has_new_deltas = self._has_new_deltas or bool(self._deltas)
        records = self._writer.snapshot({}, mark) if self._is_anew else []
        records += self._writer.delta(self._deltas, mark)
        if self._has_new_deltas and not self._in_flight and now_s - self.snapshot_s >= snapshot_every_s:
            records += self._writer.snapshot(self.states, mark)
            self.snapshot_s, self._has_new_deltas = now_s, False
        return Position(position, mark.name), records

    def committed(self) -> None:
        """The commit succeeded."""
        self._deltas, self.is_moved, self._is_anew = [], False, False

    def _waiting_offsets(self) -> NDArray[np.int64]:
        """Offsets that were read and are not dealt with, sorted."""
        held = self.held.offsets() if self.held.count else _NONE
        if not self._in_flight:
            return held
        flying = np.array([r.offset for events in self._in_flight for r in events.records], np.int64)
        return np.sort(np.concatenate([held, flying]))

    def _restore(self, log: RestoredLog) -> None:
        for changes, is_part in ((log.parts, True), (log.deltas, False)):
            for kind, content in changes:
                state = self.states.get(kind)
                if state is None:  # a kind that this bundle does not have
                    continue
                try:
                    if is_part:
                        state.restore(content)
                    else:
                        state.apply(content)
                except ValueError as problem:
                    raise StreamError(
                        f"state {kind!r} of {self.partition.topic}/{self.partition.number} cannot be restored: {problem}; "
                        "delete the topic of the state to begin without state"
                    ) from problem


def batches_of(
    due: Sequence[tuple[OwnedPartition, StreamEvents]], most: int
) -> list[list[tuple[OwnedPartition, StreamEvents]]]:
    """The due events in batches of at most so many."""
    batches: list[list[tuple[OwnedPartition, StreamEvents]]] = []
    room = 0
    for partition, events in due:
        at = 0
        while at < len(events):
            if not room:
                batches.append([])
                room = most
            n = min(room, len(events) - at)
            batches[-1].append((partition, events.part(at, at + n)))
            at += n
            room -= n
    return batches
