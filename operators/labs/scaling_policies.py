"""The policies that are compared: ours, Ray Serve's default and a plain HPA rule, behind one method. Pure.

Ray's and Kubernetes' policies are written anew from their sources, since neither may be imported here; a test compares the first with
Ray's own functions. Each gets its load at its own interval and window, without the delay of its metrics, which favours the other two."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from operators.autoscaling.decide import decide
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import ScalingState
from operators.ports import Load

EPOCH = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
"""When a simulated run begins: a Monday; the shift is at 08:00."""


@dataclass(frozen=True, slots=True)
class SecondSeen:
    """One second: requests under way at its end, the latency lately (worked out when asked for), replicas."""

    at_s: float
    ongoing: float
    p99_ms: Callable[[], float | None]
    ready: int
    wanted: int


class Policy(Protocol):
    """Called every second; gives the number of replicas."""

    def replicas(self, seen: SecondSeen) -> int:
        """The count from now on."""
        ...


@dataclass(slots=True)
class VedettePolicy:
    """operators.autoscaling.decide, a look every five seconds on the mean of the seconds between."""

    spec: ScalingSpec
    every_s: int = 5
    _state: ScalingState | None = None
    _since: list[float] = field(default_factory=list)

    def replicas(self, seen: SecondSeen) -> int:
        """Decide at a look, hold between."""
        self._since.append(seen.ongoing)
        if len(self._since) < self.every_s:
            return seen.wanted
        now = EPOCH + timedelta(seconds=seen.at_s)
        mean = sum(self._since) / len(self._since)
        load = Load(
            now, ongoing=mean, p99_ms=seen.p99_ms(), rate_per_s=1.0, ready_replicas=seen.ready, wanted_replicas=seen.wanted
        )
        decision = decide(self.spec, self._state, load, None, now)
        self._state, self._since = decision.state, []
        return decision.replicas


@dataclass(slots=True)
class RayDefault:
    """Ray Serve 2.60's default policy with its default window and delays.

    Source: ray.serve.autoscaling_policy (`_core_replica_queue_length_policy`, `_apply_scaling_factors`, `_apply_delay_logic`) and
    ray.serve.config.AutoscalingConfig: mean over 30 s, up after 30 s, down after 600 s, factors 1."""

    target: float
    low: int
    high: int
    look_back_s: int = 30
    up_delay_s: float = 30.0
    down_delay_s: float = 600.0
    _window: deque[float] = field(default_factory=deque)
    _leaning: tuple[int, float] | None = None
    """The direction it wants to scale in, and since when."""

    def replicas(self, seen: SecondSeen) -> int:
        """Every second; Ray's controller decides ten times as often, which its delays make no difference of."""
        self._window.append(seen.ongoing)
        while len(self._window) > self.look_back_s:
            self._window.popleft()
        desired = self.desired(sum(self._window) / len(self._window), seen.ready, seen.wanted)
        return self.delayed(desired, seen.wanted, seen.at_s)

    def desired(self, ongoing: float, running: int, wanted: int) -> int:
        """Without delay: ceil(ongoing / target), since its factors are 1."""
        if running == 0:
            return wanted
        return max(self.low, min(self.high, math.ceil(running + (ongoing / self.target - running))))

    def delayed(self, desired: int, wanted: int, now_s: float) -> int:
        """It must want the same direction for the whole delay."""
        direction = (desired > wanted) - (desired < wanted)
        if direction == 0:
            self._leaning = None
            return wanted
        since = self._leaning[1] if self._leaning is not None and self._leaning[0] == direction else now_s
        self._leaning = (direction, since)
        if now_s - since + 1e-6 < (self.up_delay_s if direction > 0 else self.down_delay_s):
            return wanted
        self._leaning = None
        return desired if direction > 0 else max(1, desired)


@dataclass(slots=True)
class PlainHpa:
    """Kubernetes' HorizontalPodAutoscaler on a pods metric, at its defaults: every 15 s, tolerance 10 %, up by 4 pods or 100 %
    in 15 s, down to the most of the last 300 s.

    Source: kubernetes pkg/controller/podautoscaler (replica_calculator.go, horizontal.go), `behavior` defaults of autoscaling/v2."""

    target: float
    low: int
    high: int
    _window: deque[float] = field(default_factory=deque)
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _counts: deque[tuple[float, int]] = field(default_factory=deque)

    def replicas(self, seen: SecondSeen) -> int:
        """At each sync; pods that are not ready count as doing nothing."""
        self._window.append(seen.ongoing)
        if len(self._window) < 15:
            return seen.wanted
        mean = sum(self._window) / len(self._window)
        self._window.clear()
        ratio = mean / (self.target * seen.wanted)
        desired = seen.wanted if abs(ratio - 1) <= 0.1 else math.ceil(ratio * seen.wanted)
        desired = max(self.low, min(self.high, desired))
        self._wanted.append((seen.at_s, desired))
        while self._wanted[0][0] <= seen.at_s - 300:
            self._wanted.popleft()
        if desired < seen.wanted:
            desired = min(seen.wanted, max(n for _, n in self._wanted))
        return min(desired, max(seen.wanted + 4, seen.wanted * 2))
