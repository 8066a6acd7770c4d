"""Carries a plan out: simulated requests meet simulated replicas, and what is before and after a fault is judged.

A part of the plan is simulated: as many replicas as the budget of requests allows, with their share of the load. Requests are spread over
replicas at random, so each replica meets a Poisson process of its own, and a part behaves as the whole does; only the size of the
sample differs. Where a node is a larger part of the simulated replicas than of the plan, requests are left out, so that the share that is
lost and what each other replica gets are those of the plan. Clients do not try again."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import simpy

from operators.capacity.errors import CapacityError
from operators.capacity.figures import PlanFigures
from operators.capacity.plan import CapacityPlan
from operators.capacity.simulation.scenarios import FaultTimes, SimScenario
from operators.capacity.simulation.sim_replica import RefusalLimits, SimReplica

WINDOW_S: Final = 0.5
SETTLE_S: Final = 0.5
"""After the arrivals are as planned again, for what waits to be worked off."""
NOISE: Final = 1.1
"""A p99 of a few seconds of simulated requests varies; it may exceed the target by this."""
MOST_REFUSED: Final = 0.001
MOST_OVER: Final = 30
_LEAST_OF_ONE_ZONE: Final = 6
"""Replicas that stand for a plan of one zone, so that a node is a part of them."""
_BLOCK: Final = 8192


@dataclass(frozen=True, slots=True)
class SimWindow:
    """Half a second: requests, those that were refused, lost with a replica and answered without features, and p50 and p99 in seconds."""

    at_s: float
    requests: int
    refused: int
    lost: int
    degraded: int
    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class SimOutcome:
    """Result of one simulated scenario: whether the plan held. worst_p99_s: of a window, the fault included. recovery_s: from the fault
    (or burst) to the first half second from which on all that follows is as planned; None if there was none. broke: what first exceeded
    its bound where it had to be kept; empty if the plan held."""

    scenario: SimScenario
    replicas: int
    share: float
    requests: int
    refused: float
    lost: float
    degraded: float
    p50_s: float
    p99_s: float
    worst_p99_s: float
    recovery_s: float | None
    broke: str
    windows: tuple[SimWindow, ...]

    @property
    def is_held(self) -> bool:
        """Whether the plan held."""
        return not self.broke


def simulate_plan(
    plan: CapacityPlan,
    figures: PlanFigures,
    scenario: SimScenario,
    *,
    seed: int = 7,
    budget: int = 100_000,
    times: FaultTimes | None = None,
) -> SimOutcome:
    """Run one scenario. budget: about how many requests are simulated at most; one replica in each zone may take more. Raises CapacityError
    where these take MOST_OVER times as many."""
    run = _Run(plan, figures, scenario, seed, budget, times or FaultTimes())
    run.go()
    return run.outcome()


class _Run:
    """One run: the environment, the replicas, and what was seen in each window."""

    def __init__(
        self, plan: CapacityPlan, figures: PlanFigures, scenario: SimScenario, seed: int, budget: int, times: FaultTimes
    ) -> None:
        demand, placed = plan.demand, plan.sizes.serving
        self.plan, self.scenario, self.times = plan, scenario, times
        self.rng, self.env = np.random.default_rng(seed), simpy.Environment()
        most = budget / max(demand.door_rate / max(placed.replicas, 1) * scenario.end_s, 1)
        least = 1 if demand.zones > 1 else _LEAST_OF_ONE_ZONE
        in_zone = max(1, min(placed.replicas // demand.zones, max(int(most / demand.zones), least)))
        self.share = min(in_zone * demand.zones / max(placed.replicas, 1), 1.0)
        self.rate = demand.door_rate * self.share
        if self.rate * scenario.end_s > MOST_OVER * budget:
            raise CapacityError(
                f"--simulate-s {scenario.end_s:g}: the least part of the plan is sent {self.rate * scenario.end_s:,.0f} requests, more "
                f"than {MOST_OVER} times --budget {budget}; simulate a shorter time, or give a greater budget"
            )
        work = figures.door(demand.door).replica()
        of_node = min(placed.replicas_per_node, placed.replicas / max(placed.nodes, 1)) / max(placed.replicas, 1)
        with_node = min(in_zone, max(1, math.ceil(of_node * in_zone * demand.zones - 1e-9)))
        self.replicas = [
            SimReplica(work, self.rng, zone=zone, node=int(at >= in_zone - with_node), limits=RefusalLimits())
            for zone in range(demand.zones)
            for at in range(in_zone)
        ]
        self.delay_s = work.delay_s
        self.shards = max(plan.sizes.store.shards, 1) if demand.reads_features else 0
        self.asked = list(self.replicas)
        self.of_node, self.lost_counted, self.sent = of_node, 1.0, 1.0
        self.shard_is_lost = self.shard_stalls = False
        count = int(scenario.end_s / WINDOW_S + 0.5)
        self.took: list[list[float]] = [[] for _ in range(count)]
        self.refused, self.lost, self.degraded = [0] * count, [0] * count, [0] * count

    def go(self) -> None:
        self.env.process(self._arrivals())
        if self.scenario.fault != "none":
            self.env.process(self._fault())
        self.env.run(until=self.scenario.end_s)

    def _arrivals(self) -> Generator[Any, Any, None]:
        """A Poisson process of the greatest rate, thinned to the rate of the moment (Lewis and Shedler 1979)."""
        greatest = max(times for _, times in self.scenario.rates)
        env, rng, rate_at = self.env, self.rng, self.scenario.rate
        while self.rate * greatest > 0:
            gaps = rng.exponential(1 / (self.rate * greatest), _BLOCK).tolist()
            keeps, picks = (rng.random(_BLOCK) * greatest).tolist(), rng.random(_BLOCK).tolist()
            shards = rng.random(_BLOCK).tolist()
            for gap, keep, pick, shard in zip(gaps, keeps, picks, shards, strict=True):
                yield env.timeout(gap)
                if keep < rate_at(env.now):
                    self._request(env.now, pick, shard)

    def _request(self, now: float, pick: float, shard: float) -> None:
        if self.sent < 1 and self.rng.random() >= self.sent:
            return
        window = min(int(now / WINDOW_S), len(self.took) - 1)
        if not self.asked:
            self.lost[window] += 1
            return
        replica = self.asked[int(pick * len(self.asked))]
        if not replica.is_alive:
            self.lost[window] += self.lost_counted == 1 or self.rng.random() < self.lost_counted
            return
        done = replica.take(now)
        if done is None:
            self.refused[window] += 1
            return
        delay_s = self.delay_s
        if self.shard_is_lost and shard * self.shards < 1:
            delay_s += self.times.feature_timeout_s if self.shard_stalls else 0.0
            self.degraded[window] += 1
        self.took[window].append(done - now + delay_s)

    def _fault(self) -> Generator[Any, Any, None]:
        yield self.env.timeout(self.scenario.fault_s)
        if self.scenario.fault == "shard":
            self.shard_is_lost = self.shard_stalls = self.shards > 0
            stalled_s = min(self.times.stalled_s, self.times.failover_s)
            yield self.env.timeout(stalled_s)
            self.shard_stalls = False
            yield self.env.timeout(self.times.failover_s - stalled_s)
            self.shard_is_lost = False
            return
        last, is_node = self.replicas[-1], self.scenario.fault == "node"
        for replica in self.replicas:
            if replica.zone == last.zone and (replica.node == last.node or not is_node):
                replica.die()
        alive = [replica for replica in self.replicas if replica.is_alive]
        every, left = len(self.replicas), len(alive)
        if is_node:  # of the few that are simulated a node may be a larger part than of the plan
            self.lost_counted = left * self.of_node / ((1 - self.of_node) * (every - left))
        yield self.env.timeout(self.times.detect_s)
        self.asked = alive
        if is_node:
            self.sent = left / ((1 - self.of_node) * every)

    def outcome(self) -> SimOutcome:
        """What was seen."""
        total, target = sum(self._count(0, len(self.took))), self.plan.demand.p99_s
        broke = next((words for name, first, end in self._phases() if (words := self._broken(first, end, target, name))), "")
        p50, p99 = np.quantile(self._all(0, len(self.took)), [0.5, 0.99])
        windows = tuple(self._window(at) for at in range(len(self.took)))
        refused, lost, degraded = (sum(counts) / max(total, 1) for counts in (self.refused, self.lost, self.degraded))
        return SimOutcome(
            self.scenario, len(self.replicas), self.share, total, refused, lost, degraded, float(p50), float(p99),
            max((w.p99_s for w in windows), default=0.0), self._recovery_s(target), broke, windows,
        )  # fmt: skip

    def _all(self, first: int, end: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
        found = [np.asarray(took) for took in self.took[first:end] if took]
        return np.concatenate(found) if found else np.zeros(1)

    def _count(self, first: int, end: int) -> tuple[int, int, int]:
        """Answered, refused and lost in these windows."""
        return sum(map(len, self.took[first:end])), sum(self.refused[first:end]), sum(self.lost[first:end])

    def _window(self, at: int) -> SimWindow:
        took = np.asarray(self.took[at] or [0.0])
        requests = len(self.took[at]) + self.refused[at] + self.lost[at]
        p50, p99 = np.quantile(took, [0.5, 0.99])
        return SimWindow(at * WINDOW_S, requests, self.refused[at], self.lost[at], self.degraded[at], float(p50), float(p99))

    def _upset(self) -> tuple[float, float]:
        """From when to when the plan does not have what it counts on."""
        scenario, times = self.scenario, self.times
        if scenario.is_beyond:
            over = [since for since, factor in scenario.rates if factor > 1]
            return over[0], next(since for since, factor in scenario.rates if since > over[0] and factor <= 1)
        length = {"none": 0.0, "node": times.detect_s, "zone": times.detect_s, "shard": times.stalled_s}[scenario.fault]
        return scenario.fault_s, scenario.fault_s + length

    def _phases(self) -> list[tuple[str, int, int]]:
        """Windows in which the plan must hold: name, first, end. A phase is judged as a whole: one long pause of a replica takes more than
        a hundredth of half a second of the few that are simulated, and of none of what the many of the plan answer."""
        (begins, ends), count = self._upset(), len(self.took)
        if ends <= begins:
            return [("", 0, count)]
        what = "the burst" if self.scenario.is_beyond else "the fault"
        after = min(math.ceil((ends + SETTLE_S) / WINDOW_S), count - 1)
        return [(f" before {what}", 0, int(begins / WINDOW_S)), (f" after {what}", after, count)]

    def _broken(self, first: int, end: int, target_s: float, when: str) -> str:
        """The first bound that is exceeded in these windows, in words; empty if none."""
        answered, refused, lost = self._count(first, end)
        missing = (refused + lost) / max(answered + refused + lost, 1)
        if missing > MOST_REFUSED:
            return f"{missing:.1%} {'refused' if refused >= lost else 'lost'}{when}"
        p99_s = float(np.quantile(self._all(first, end), 0.99))
        return f"p99 {p99_s * 1000:.1f} ms{when}" if p99_s > target_s * NOISE else ""

    def _recovery_s(self, target: float) -> float | None:
        """From the fault to the first window from which on all that follows is as planned."""
        (begins, ends), count = self._upset(), len(self.took)
        if ends <= begins:
            return 0.0
        fault = int(begins / WINDOW_S)
        for at in range(fault, count):
            if not self._broken(at, count, target, ""):
                return max(at * WINDOW_S - begins, 0.0)
        return None
