"""Replicas as a queue: requests that come, slots that serve them, replicas that take their time to start. Simulated, pure.

One first-come-first-served queue before the slots of all ready replicas. It is kinder than replicas that each have their own
(nobody waits in the wrong one), and alike for every policy that is compared on it."""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

LATENCY_WINDOW_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A replica: how many requests at once, how long one takes (a fixed half and an exponential half), how long it starts.

    The defaults carry 50 requests a second."""

    slots: int = 4
    service_s: float = 0.08
    start_up_s: float = 20.0
    objective_s: float = 0.4


@dataclass(slots=True)
class ReplicaQueue:
    """The queue in time. It takes arrivals and the wanted number of replicas, and gives the load and the latency."""

    machine: Machine
    service: NDArray[np.float64]
    """How long each request will take, in the order they come."""
    wanted: int
    now: float = 0.0
    late: dict[int, int] = field(default_factory=dict)
    """Requests that took longer than the objective, by the second they came in."""
    all: dict[int, int] = field(default_factory=dict)
    replica_s: float = 0.0
    """Replicas paid for, over time; a starting one is paid for."""
    _free: list[float] = field(default_factory=list)
    _waiting: deque[float] = field(default_factory=deque)
    _starting: deque[float] = field(default_factory=deque)
    _ready: int = 0
    _surplus: int = 0
    _started_requests: int = 0
    _answered: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4096))

    def __post_init__(self) -> None:
        for _ in range(self.wanted):
            self._open(0.0)

    @property
    def ready(self) -> int:
        """Replicas that answer."""
        return self._ready

    def ongoing(self) -> float:
        """Requests under way, waiting ones included."""
        return float(len(self._waiting) + sum(free > self.now for free in self._free))

    def p99_ms(self) -> float | None:
        """Of recent answers; None if there were none."""
        since = self.now - LATENCY_WINDOW_S
        while self._answered and self._answered[0][0] < since:  # time only goes on, so it never counts again
            self._answered.popleft()
        lately = [took for done, took in self._answered if since <= done <= self.now]
        return sorted(lately)[min(int(0.99 * len(lately)), len(lately) - 1)] * 1000 if lately else None

    def arrive(self, at: float) -> None:
        """A request comes."""
        self._waiting.append(at)
        self.advance(at)

    def advance(self, to: float) -> None:
        """Let time pass: replicas become ready, slots take requests."""
        self.replica_s += self.wanted * (to - self.now)
        while self._starting and self._starting[0] <= to:
            self._open(self._starting.popleft())
        while self._waiting and self._free and self._free[0] <= to:
            free = heapq.heappop(self._free)
            if self._surplus:
                self._surplus -= 1
                continue
            came = self._waiting.popleft()
            done = max(free, came) + float(self.service[self._started_requests])
            self._started_requests += 1
            heapq.heappush(self._free, done)
            self._count(came, done)
        self.now = to

    def scale(self, wanted: int) -> None:
        """Set the wanted number. New replicas start. Starting replicas are removed first, then ready ones after their requests."""
        for _ in range(wanted - self.wanted):
            self._starting.append(self.now + self.machine.start_up_s)
        for _ in range(self.wanted - wanted):
            if self._starting:
                self._starting.pop()
            else:
                self._ready -= 1
                self._close()
        self.wanted = wanted

    def _open(self, at: float) -> None:
        self._ready += 1
        for _ in range(self.machine.slots):
            heapq.heappush(self._free, at)

    def _close(self) -> None:
        """Remove idle slots now, busy ones when they are free."""
        for _ in range(self.machine.slots):
            if self._free and self._free[0] <= self.now:
                heapq.heappop(self._free)
            else:
                self._surplus += 1

    def _count(self, came: float, done: float) -> None:
        second, took = int(came), done - came
        self.all[second] = self.all.get(second, 0) + 1
        if took > self.machine.objective_s:
            self.late[second] = self.late.get(second, 0) + 1
        self._answered.append((done, took))

    def violation_s(self) -> int:
        """Seconds of whose requests more than one in a hundred took longer than the objective."""
        return sum(count > 0.01 * self.all[second] for second, count in self.late.items())
