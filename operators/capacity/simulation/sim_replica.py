"""A replica as a server in simulated time: a queue, service times, pauses, and early refusals like those of the data plane."""

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.capacity.waiting import ReplicaWork

_DRAWN: Final = 4096


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """When a replica refuses (docs/reference/resilience.md), with the settings' defaults. A request is refused if the work before it takes
    longer than half of max_wait_s, did so for strained_s, and at least `always` requests are under way; or beyond max_ongoing.

    The data plane judges turns of its loop, this judges the work that waits: a turn is that work."""

    max_wait_s: float = 0.015
    strained_s: float = 0.1
    always: int = 32
    max_ongoing: int = 1000


class SimReplica:
    """One simulated replica with its queue. slots: servers of its one queue; 1 for an event loop."""

    __slots__ = (
        "_at", "_fixed_s", "_free", "_limits", "_pause_at", "_random_s", "_rng", "_services", "_strained_since", "_under_way",
        "is_alive", "node", "work", "zone",
    )  # fmt: skip

    def __init__(
        self,
        work: ReplicaWork,
        rng: np.random.Generator,
        *,
        zone: int = 0,
        node: int = 0,
        slots: int = 1,
        limits: RefusalLimits | None = None,
    ) -> None:
        self.work, self.zone, self.node, self.is_alive = work, zone, node, True
        self._rng, self._limits = rng, limits
        self._fixed_s, self._random_s = work.fixed_s, work.busy_s - work.fixed_s
        self._free = [0.0] * slots
        self._under_way: deque[float] = deque()
        self._services: list[float] = []
        self._at = 0
        self._strained_since: float | None = None
        self._pause_at = self._next_pause(0.0)

    def take(self, now: float) -> float | None:
        """Take a request; returns when it is answered, or None if it is refused."""
        under_way = self._under_way
        while under_way and under_way[0] <= now:
            under_way.popleft()
        while self._pause_at <= now:  # nobody was there when it began
            self._stand_still()
        if self._limits is not None and self._refuses(now, self._limits):
            return None
        done = max(heapq.heappop(self._free), now) + self._service_s()
        while self._pause_at <= done:
            done += self._stand_still()
        heapq.heappush(self._free, done)
        under_way.append(done)
        return done

    def _stand_still(self) -> float:
        """The next pause: nobody is served for so long, and who is being served waits too."""
        length_s = float(self._rng.exponential(self.work.pause_s))
        self._free = [max(free, self._pause_at) + length_s for free in self._free]
        self._pause_at = self._next_pause(self._pause_at)
        return length_s

    def _next_pause(self, after: float) -> float:
        return after + float(self._rng.exponential(1 / self.work.pause_per_s)) if self.work.paused else math.inf

    def die(self) -> None:
        """What is under way is lost."""
        self.is_alive = False
        self._under_way.clear()

    def _refuses(self, now: float, limits: RefusalLimits) -> bool:
        waiting = len(self._under_way)
        if waiting >= limits.max_ongoing:
            return True
        if waiting < limits.always or self._free[0] - now <= limits.max_wait_s / 2:
            self._strained_since = None
            return False
        if self._strained_since is None:
            self._strained_since = now
        return now - self._strained_since >= limits.strained_s

    def _service_s(self) -> float:
        if self._at == len(self._services):
            drawn = (
                self._fixed_s + self._rng.exponential(self._random_s, _DRAWN)
                if self._random_s
                else np.full(_DRAWN, self._fixed_s)
            )
            if self.work.interrupted:
                lengths_s = self._rng.exponential(self.work.pause_s, _DRAWN)
                drawn = drawn + np.where(self._rng.random(_DRAWN) < self.work.interrupted, lengths_s, 0.0)
            self._services, self._at = drawn.tolist(), 0
        self._at += 1
        return self._services[self._at - 1]
