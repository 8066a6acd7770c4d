"""The windows of a bundle as states of the partitions that a worker owns: updated with each batch, written to the changelog and restored
from it."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from serving.stream.events import StreamEvents
from serving.stream.state import RuleHit
from serving.stream.windows.encoding import decode_delta, encode_delta, encode_snapshot, restore_part
from serving.stream.windows.encoding import digest as digest_of
from serving.stream.windows.engine import Key, WindowEngine, WindowRows
from serving.stream.windows.plan import WindowPlan

Answered = Callable[[StreamEvents, Sequence[Key], WindowRows], None]
"""Told of each batch that was counted: its keys, and the row that each event reads."""


class PartitionWindows:
    """The windows of one partition; a serving.stream.state.PartitionState."""

    def __init__(self, plan: WindowPlan, *, bound: int, lateness_s: int, answered: Answered) -> None:
        """See WindowEngine. answered: told of each batch."""
        self.engine = WindowEngine(plan, bound=bound, lateness_s=lateness_s)
        self._plan, self._answered = plan, answered
        self._pending: list[tuple[list[Key], StreamEvents]] = []

    def update(self, events: StreamEvents) -> Sequence[RuleHit]:
        """Count the events and read the row of each; see PartitionState."""
        keys: list[Key] = events.columns[self._plan.spec.key].tolist()
        rows = self.engine.step(keys, events.times_us, events.columns, events.is_counted)
        if events.is_counted.any():
            self._pending.append((keys, events))
        self._answered(events, keys, rows)
        return ()

    def take_delta(self) -> bytes | None:
        """The events that were counted since the last call."""
        if not self._pending:
            return None
        pending, self._pending = self._pending, []
        counted = np.concatenate([events.is_counted for _, events in pending])
        where = np.flatnonzero(counted)
        keys = [key for keys, _ in pending for key in keys]
        columns = {name: np.concatenate([events.columns[name] for _, events in pending])[where] for name in self._plan.columns}
        at_us = np.concatenate([events.times_us for _, events in pending])[where]
        return encode_delta([keys[place] for place in where.tolist()], at_us, columns)

    def snapshot(self) -> Iterable[bytes]:
        """The entities that still count."""
        return encode_snapshot(self.engine)

    def restore(self, part: bytes) -> None:
        """Take in one part of a snapshot. Raises ValueError."""
        restore_part(self.engine, part)

    def apply(self, delta: bytes) -> None:
        """Count the events of a delta. Raises ValueError."""
        keys, at_us, columns = decode_delta(delta)
        if missing := self._plan.columns.keys() - columns.keys():
            raise ValueError(f"a delta of windows lacks the columns {sorted(missing)}")
        self.engine.step(keys, at_us, columns, np.ones(len(keys), dtype=np.bool_))

    def digest(self) -> str:
        """Equal for two states that answer every later event alike."""
        return digest_of(self.engine)
