"""Policies side by side on the same simulated traffic: seconds outside the objective, and replicas paid for. Pure.

Nothing here was measured on a machine: figures of a queueing model (operators.labs.queueing), seeded and repeatable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.autoscaling.spec import ScalingSpec
from operators.labs.queueing import Machine, ReplicaQueue
from operators.labs.scaling_policies import PlainHpa, Policy, RayDefault, SecondSeen, VedettePolicy
from operators.labs.scaling_traffic import TRAFFIC, TrafficPattern

MACHINE: Final = Machine()
SPEC: Final = ScalingSpec.model_validate(
    {"minReplicas": 1, "maxReplicas": 10, "targetOngoingRequests": 2.5, "latencyObjective": "400ms", "startUp": "20s"}
)
"""The default: 2.5 of a replica's 4 slots busy."""
WINDOW: Final = {"name": "shift", "start": "0 8 * * MON-FRI", "duration": "30m", "minReplicas": 5}
"""The window that `vedette (schedule)` has besides, on the traffic `shift`."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One run in time, for plots: a value each second."""

    rate: tuple[float, ...]
    ongoing: tuple[float, ...]
    ready: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's result in one run."""

    violation_s: int
    replica_s: float
    late: int
    requests: int
    peak: int
    trace: Trace


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy on one traffic over several seeds. Medians, and the least and the greatest."""

    traffic: str
    policy: str
    runs: tuple[Run, ...]

    def violation_s(self) -> tuple[float, float, float]:
        """Median, least, greatest."""
        return _spread([r.violation_s for r in self.runs])

    def replica_s(self) -> tuple[float, float, float]:
        """Median, least, greatest."""
        return _spread([r.replica_s for r in self.runs])

    def late_ratio(self) -> float:
        """Requests outside the objective, of all."""
        return sum(r.late for r in self.runs) / max(sum(r.requests for r in self.runs), 1)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return float(np.median(values)), float(min(values)), float(max(values))


def policies(spec: ScalingSpec, traffic: TrafficPattern) -> Mapping[str, Callable[[], Policy]]:
    """What is compared, all with the same target and bounds."""
    target, low, high = spec.target_ongoing_requests, max(spec.min_replicas, 1), spec.max_replicas
    found: dict[str, Callable[[], Policy]] = {"vedette": lambda: VedettePolicy(spec)}
    if traffic.name == "shift" and not spec.schedule:
        scheduled = ScalingSpec.model_validate({**spec.model_dump(by_alias=True), "schedule": [WINDOW]})
        found["vedette (schedule)"] = lambda: VedettePolicy(scheduled)
    found["Ray Serve default"] = lambda: RayDefault(target, low, high)
    found["plain HPA"] = lambda: PlainHpa(target, low, high)
    return found


def simulate(
    spec: ScalingSpec = SPEC,
    *,
    traffic: Sequence[str] = tuple(TRAFFIC),
    runs: int = 5,
    seed: int = 7,
    machine: Machine = MACHINE,
) -> Iterator[PolicyResult]:
    """Every policy on every traffic, on the same arrivals and the same services for each seed."""
    for name in traffic:
        chosen = TRAFFIC[name]
        for policy, make in policies(spec, chosen).items():
            yield PolicyResult(name, policy, tuple(run(make(), chosen, seed + n, machine, spec) for n in range(runs)))


def run(policy: Policy, traffic: TrafficPattern, seed: int, machine: Machine, spec: ScalingSpec) -> Run:
    """One policy on one traffic."""
    rng = np.random.default_rng(seed)
    rate, arrivals = traffic.arrivals(rng)
    half = machine.service_s / 2
    queue = ReplicaQueue(machine, half + rng.exponential(half, len(arrivals)), max(spec.min_replicas, 1))
    ongoing, ready, wanted, rates = [], [], [], []
    coming = iter(arrivals.tolist())
    upcoming = next(coming, float("inf"))
    for second in range(1, int(traffic.length_s) + 1):
        while upcoming <= second:
            queue.arrive(upcoming)
            upcoming = next(coming, float("inf"))
        queue.advance(second)
        seen = SecondSeen(second, queue.ongoing(), queue.p99_ms, queue.ready, queue.wanted)
        queue.scale(policy.replicas(seen))
        ongoing.append(seen.ongoing)
        ready.append(seen.ready)
        wanted.append(queue.wanted)
        rates.append(rate(second))
    trace = Trace(tuple(rates), tuple(ongoing), tuple(ready), tuple(wanted))
    return Run(queue.violation_s(), queue.replica_s, sum(queue.late.values()), len(arrivals), max(wanted), trace)
