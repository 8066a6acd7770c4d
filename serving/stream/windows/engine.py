"""The windows of one partition: events in, in the order in which they are scored, and the row that each event reads. Pure.

A row is read as training's point-in-time join reads it: the newest tick of the entity at or before the event's time. Events of one
batch that fall on the same whole second are all counted before any of them reads. Entities whose rows are all too old are forgotten."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.ports import Columns
from serving.stream.windows.entity import NO_ROW, EntityCounting, EntityWindows
from serving.stream.windows.plan import WindowPlan

SECOND_US: Final = 1_000_000
_DUE_S: Final = 32
Key = bytes | int


class WindowRows(NamedTuple):
    """Rows of n events. at_us: (n,), tick of each row, 0: the entity has none. values: (n, features), in the spec's order, meaningless
    where at_us is 0. sketched: (n,), a distinct count in the row is an estimate."""

    at_us: NDArray[np.int64]
    values: NDArray[np.float64]
    sketched: NDArray[np.bool_]


class WindowEngine:
    """The windows of one partition. Not thread-safe."""

    def __init__(self, plan: WindowPlan, *, bound: int, lateness_s: int) -> None:
        """bound: distinct values of an entity and column that are told apart exactly. lateness_s: how far behind the newest event a late
        one may come and be counted."""
        self.plan, self.bound, self.lateness_s = plan, bound, lateness_s
        self.newest_us = 0
        self.entities: dict[Key, EntityWindows] = {}
        self._due: dict[int, list[Key]] = {}
        self._next_due: int | None = None
        self.counting = EntityCounting(plan, bound, remembers=lateness_s > 0)
        self._empty = bytes(plan.pack.size)

    @property
    def horizon(self) -> int:
        """No event is counted, and no row asked, before this second."""
        return self.newest_us // SECOND_US - self.lateness_s

    def step(self, keys: Sequence[Key], at_us: NDArray[np.int64], columns: Columns, counted: NDArray[np.bool_]) -> WindowRows:
        """Count n events, in order, and read the row of each. columns: those of the plan, each of shape (n,). counted: (n,); an event that
        is not counted still reads."""
        sums, values = self.plan.measured(columns)
        numbers = list(zip([1] * len(keys), *sums, strict=True))
        names = list(zip(*values, strict=True)) if values else [()] * len(keys)
        ticks, seconds = (-(-at_us // SECOND_US)).tolist(), (at_us // SECOND_US).tolist()
        ties = self._ties(at_us)
        entities, counting, found = self.entities, self.counting, []
        horizon = self.horizon
        waiting: list[int] = []
        for place, (key, tick, second, is_counted) in enumerate(zip(keys, ticks, seconds, counted.tolist(), strict=True)):
            entity = entities.get(key)
            if is_counted:
                if entity is None:
                    entity = entities[key] = EntityWindows()
                    self._due.setdefault(self._due_after(tick), []).append(key)
                counting.add(entity, tick, numbers[place], names[place], horizon)
            if place in ties:
                waiting.append(place)
                found.append(NO_ROW)
                if ties[place] == place:
                    for each in waiting:
                        found[each] = self._read(entities.get(keys[each]), seconds[each], horizon)
                    waiting.clear()
                continue
            found.append(self._read(entity, second, horizon))
        if counted.any():
            self.newest_us = max(self.newest_us, int(at_us[counted].max()))
            self._forget()
        return self._rows(found)

    def _read(self, entity: EntityWindows | None, second: int, horizon: int) -> tuple[int, bytes, bool]:
        """The row that an event reads, whether or not it was counted. An entity that counts for nothing any more has none, also while it is
        still here: a state that was restored does not have it."""
        if entity is None or entity.newest + self.plan.lives_s < horizon:
            return NO_ROW
        return self.counting.row(entity, second, horizon)

    def is_over(self, newest: int) -> bool:
        """Whether an entity whose newest tick this is counts for nothing any more."""
        return newest + self.plan.lives_s < self.horizon

    def put(self, key: Key, entity: EntityWindows) -> None:
        """Take in an entity as it was kept elsewhere."""
        self.entities[key] = entity
        self.counting.sketched += self.counting.is_sketched(entity)
        self._due.setdefault(self._due_after(entity.newest), []).append(key)

    def _due_after(self, newest: int) -> int:
        return (newest + self.plan.lives_s) // _DUE_S + 1

    def _ties(self, at_us: NDArray[np.int64]) -> dict[int, int]:
        """Places of events on a whole second -> the last place of those that follow each other on the same one."""
        whole = np.flatnonzero(at_us % SECOND_US == 0).tolist()
        last: dict[int, int] = {}
        for place in reversed(whole):
            last[place] = last[place + 1] if place + 1 in last and at_us[place + 1] == at_us[place] else place
        return last

    def _rows(self, found: list[tuple[int, bytes, bool]]) -> WindowRows:
        empty = self._empty
        raw = np.frombuffer(b"".join([row or empty for _, row, _ in found]), dtype="<f8").reshape(len(found), -1)
        at_us = np.array([tick for tick, _, _ in found], dtype=np.int64) * SECOND_US
        return WindowRows(at_us, self.plan.features(raw), np.array([sketched for _, _, sketched in found], dtype=np.bool_))

    def _forget(self) -> None:
        """Forget entities whose newest tick is in no row that an event may still read, and in no window that one may still open."""
        horizon = self.horizon
        now = horizon // _DUE_S
        if self._next_due is None:
            self._next_due = now
        for due in range(self._next_due, now + 1) if now - self._next_due < len(self._due) else sorted(self._due):
            if due > now:
                break
            for key in self._due.pop(due, ()):
                newest = self.entities[key].newest
                if self.is_over(newest):
                    self.counting.sketched -= self.counting.is_sketched(self.entities.pop(key))
                else:
                    self._due.setdefault(self._due_after(newest), []).append(key)
        self._next_due = now + 1
