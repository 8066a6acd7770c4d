"""The partitions that a worker owns: opened with restored state, and dropped when they are reassigned."""

import itertools
import logging
import secrets
import time
from collections.abc import Mapping, Sequence

from serving.stream.counts import StreamCounts
from serving.stream.partitions.changelog import read_changelog
from serving.stream.partitions.holding import HoldLimits
from serving.stream.partitions.owned import OwnedPartition
from serving.stream.ports import Partition, Position, StateLog, StreamError
from serving.stream.settings import StreamSettings
from serving.stream.state import StateKind

_log = logging.getLogger("vedette.stream")


class PartitionOwner:
    """owned: by partition. state_log: None if nothing is to be restored."""

    def __init__(
        self, kinds: Sequence[StateKind], state_log: StateLog | None, settings: StreamSettings, counts: StreamCounts
    ) -> None:
        self._kinds, self._state_log, self._counts, self._group = kinds, state_log, counts, settings.group
        self._limits = HoldLimits(int(settings.disorder_s * 1e6), int(settings.lateness_s * 1e6), settings.max_held)
        self.owned: dict[Partition, OwnedPartition] = {}
        marks, run = itertools.count(), secrets.token_hex(6)
        self._new_mark = lambda: f"{run}-{next(marks)}"

    def adopt(self, partition: Partition, committed: Position | None) -> int | None:
        """Own a partition; returns the offset to read it from. Raises StreamError if its state cannot be restored."""
        states = {kind.name: kind.open(partition) for kind in self._kinds}
        began_s, log, state_log = time.monotonic(), None, self._state_log
        if state_log is not None and (states or self._limits.disorder_us):
            log = read_changelog(partition, state_log.read(partition.number))
            if log.mark is not None and log.mark.group != self._group:
                raise StreamError(
                    f"topic {state_log.topic} holds the state of the group {log.mark.group!r}, not of {self._group!r}: each group needs a "
                    "topic of its own; name another by VEDETTE_STREAM_STATE, and make it with `vedette stream topics`"
                )
        owned = self.owned[partition] = OwnedPartition(
            partition,
            states,
            self._limits,
            committed=committed,
            log=log,
            topic=state_log.topic if state_log is not None else "",
            group=self._group,
            new_name=self._new_mark,
            now_s=time.monotonic(),
        )
        if log is not None:
            took_s = time.monotonic() - began_s
            self._counts.restored_s += took_s
            self._counts.restored_records += log.records
            _log.info("%s/%d: %d records of state read in %.2f s", *partition, log.records, took_s)
        return owned.start

    def renew(self, partition: Partition, offset: int) -> None:
        """Begin a partition anew at this offset, without state."""
        before = self.owned[partition]
        if before.unscored:
            _log.error("%s/%d: %d events of the deleted topic were not scored", *partition, before.unscored)
        for kind in self._kinds:
            kind.forget(partition)
        states = {kind.name: kind.open(partition) for kind in self._kinds}
        self.owned[partition] = before.anew(offset, states, self._limits, time.monotonic())

    def look(self, behind: Mapping[Partition, int]) -> None:
        """Gauges for the next scrape. behind: records of each partition that were not read yet."""
        counts, now_us = self._counts, time.time_ns() // 1000
        counts.behind = dict(behind)
        counts.held = {p.partition: p.held.count for p in self.owned.values()}
        counts.watermarks_us = {p.partition: mark for p in self.owned.values() if (mark := p.held.watermark_us) is not None}
        counts.behind_s = {
            number: max(0.0, (now_us - self.owned[number].produced_us) / 1e6) if n and self.owned[number].produced_us else 0.0
            for number, n in behind.items()
            if number in self.owned
        }

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Drop partitions with their states."""
        for partition in partitions:
            if self.owned.pop(partition, None) is not None:
                for kind in self._kinds:
                    kind.forget(partition)
