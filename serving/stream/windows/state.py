"""The windows of a bundle as states of the partitions that a worker owns: updated with each batch, written to the changelog and restored
from it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from serving.stream.events import StreamEvents
from serving.stream.state import RuleHit
from serving.stream.windows.encoding import decode_delta, encode_delta, encode_snapshot, restore_part
from serving.stream.windows.encoding import digest as digest_of
from serving.stream.windows.engine import SECOND_US, Key, WindowEngine, WindowRows
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.push import OnlinePush

_PUSHED_ANEW_S: Final = 120
"""Rows that are at most so old are pushed again after a restart."""
Answered = Callable[[StreamEvents, Sequence[Key], WindowRows], None]
"""Told of each batch that was counted: its keys, and the row that each event reads."""


class PartitionWindows:
    """The windows of one partition; a serving.stream.state.PartitionState."""

    def __init__(
        self, plan: WindowPlan, *, bound: int, lateness_s: int, answered: Answered, push: OnlinePush | None = None
    ) -> None:
        """See WindowEngine. answered: told of each batch. push: gets the newest row of each entity that has a new one."""
        self.engine = WindowEngine(plan, bound=bound, lateness_s=lateness_s)
        self._plan, self._answered = plan, answered
        self._pending: list[tuple[list[Key], StreamEvents]] = []
        self._push = push
        self._touched: dict[Key, int] = {}
        """Entities whose newest row is not pushed yet, and the tick of the last one that was."""

    def update(self, events: StreamEvents) -> Sequence[RuleHit]:
        """Count the events and read the row of each; see PartitionState."""
        keys: list[Key] = events.columns[self._plan.spec.key].tolist()
        rows = self.engine.step(keys, events.times_us, events.columns, events.is_counted)
        if events.is_counted.any():
            self._pending.append((keys, events))
            self._touch(keys)
        self._answered(events, keys, rows)
        return ()

    def take_delta(self) -> bytes | None:
        """The events that were counted since the last call."""
        self._offer()
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
        keys = restore_part(self.engine, part)
        newest_s = self.engine.newest_us // SECOND_US
        self._touch([key for key in keys if self.engine.entities[key].newest > newest_s - _PUSHED_ANEW_S])

    def apply(self, delta: bytes) -> None:
        """Count the events of a delta. Raises ValueError."""
        keys, at_us, columns = decode_delta(delta)
        if missing := self._plan.columns.keys() - columns.keys():
            raise ValueError(f"a delta of windows lacks the columns {sorted(missing)}")
        self.engine.step(keys, at_us, columns, np.ones(len(keys), dtype=np.bool_))
        self._touch(keys)

    def _touch(self, keys: Sequence[Key]) -> None:
        if self._push is not None:
            for key in keys:
                self._touched.setdefault(key, 0)

    def _offer(self) -> None:
        """Offer rows of seconds that are over, as long as there is room."""
        push, engine = self._push, self.engine
        if push is None or not self._touched:
            return
        newest_s, horizon, room = engine.newest_us // SECOND_US, engine.horizon, push.room
        rows: dict[Key, tuple[int, bytes]] = {}
        for key, offered in list(self._touched.items()):
            if len(rows) >= room:
                break
            entity = engine.entities.get(key)
            if entity is None:
                del self._touched[key]
                continue
            tick, raw, _ = engine.counting.row(entity, newest_s, horizon)
            if tick > offered or (tick and entity.newest == tick):
                rows[key] = (tick, raw)
            if tick and entity.newest == tick:
                del self._touched[key]
            else:
                self._touched[key] = tick
        if rows:
            push.offer(rows)

    def digest(self) -> str:
        """Equal for two states that answer every later event alike."""
        return digest_of(self.engine)
