"""How many replicas the load asks for, before stabilization and limits. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import LoadSample, ScalingFacts
from operators.ports import Load

BUSY_RATIO: Final = 0.5
"""From this part of the target on, a slow service is slow because it is busy; below it, more replicas would not make it faster."""
CLOSE_RATIO: Final = 0.8
"""From this part of the latency objective on, no replica is taken away."""
STEEPEST: Final = 2.0
"""Latency or trend ask for at most this multiple of the present count, because both are rough far from where they were measured."""
_SURE: Final = 2.0
"""Standard errors that a slope must be above zero to be followed. Requests come in clumps; most slopes are noise."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How many replicas the load needs, before bounds and stabilization. replicas: as a real number; for stable, or for both where they
    share. candidate: for the candidate's own. why: which of the
    measures asked for the most."""

    replicas: float
    candidate: float
    why: str


def demand(spec: ScalingSpec, looks: Sequence[LoadSample], load: Load, facts: ScalingFacts, now: datetime) -> Demand:
    """What the load asks for. looks: known ones, with `load` the last."""
    expected, rises = forecast(looks, now, ahead_s=spec.start_up.total_seconds())
    trend = f", rising to {expected:.3g}" if rises else ""
    work = expected * work_ratio(facts)
    extra = f" x {work_ratio(facts):.3g} for the candidate's work" if work_ratio(facts) > 1 else ""
    target = spec.target_ongoing_requests
    mean = _mean(looks)
    asked = [(work / target, f"{mean:.3g} requests under way{trend}{extra}, {target:g} per replica")]
    asked += _by_latency(spec, load, mean)
    if spec.stream_lag is not None and load.stream_lag is not None:
        asked.append((load.stream_lag / spec.stream_lag, f"{load.stream_lag:.0f} events wait, {spec.stream_lag:g} per replica"))
    most, why = max(asked, key=lambda a: a[0])
    own = max(facts.weight_ratio, facts.mirror_ratio) * facts.cost_ratio
    return Demand(most, most * own if not facts.shares_replicas and facts.is_rolling_out else 0.0, why)


def work_ratio(facts: ScalingFacts) -> float:
    """Work of one request now or in the step to come, relative to stable's alone; never below 1, because a cheaper candidate saves nothing
    before it is promoted. If the variants do not share replicas, stable keeps enough for all requests, so that an abort takes effect at
    once."""
    if not facts.shares_replicas:
        return 1.0
    answered = 1 - facts.weight_ratio + facts.weight_ratio * facts.cost_ratio
    return max(answered, 1.0) + facts.mirror_ratio * facts.cost_ratio


def _by_latency(spec: ScalingSpec, load: Load, mean: float) -> list[tuple[float, str]]:
    if spec.latency_objective is None or load.p99_ms is None or not load.ready_replicas:
        return []
    objective_ms = spec.latency_objective.total_seconds() * 1000
    ratio, ready = load.p99_ms / objective_ms, load.ready_replicas
    if ratio < CLOSE_RATIO or mean < BUSY_RATIO * spec.target_ongoing_requests * ready:
        return []
    reason = f"p99 {load.p99_ms:.3g} ms of {objective_ms:g} ms"
    return [(ready * min(max(ratio, 1.0), STEEPEST), reason)]


def is_slow_but_idle(spec: ScalingSpec, load: Load, looks: Sequence[LoadSample]) -> bool:
    """Over the latency objective although load is too low to be the cause: features, the network or the machine are slow."""
    if spec.latency_objective is None or load.p99_ms is None:
        return False
    is_slow = load.p99_ms > spec.latency_objective.total_seconds() * 1000
    return is_slow and _mean(looks) < BUSY_RATIO * spec.target_ongoing_requests * max(load.ready_replicas, 1)


def forecast(looks: Sequence[LoadSample], now: datetime, ahead_s: float) -> tuple[float, bool]:
    """Requests under way, `ahead_s` from now if they are surely rising, else their mean; and whether they are rising.

    A least-squares line through the looks; followed only if its slope is two standard errors above zero, and to twice the mean at most."""
    mean = _mean(looks)
    if ahead_s <= 0 or len(looks) < 4:
        return mean, False
    times = [(look.at - now).total_seconds() for look in looks]
    middle = sum(times) / len(times)
    spread = sum((t - middle) ** 2 for t in times)
    if spread <= 0:
        return mean, False
    slope = sum((t - middle) * (look.ongoing - mean) for t, look in zip(times, looks, strict=True)) / spread
    misses = sum((look.ongoing - mean - slope * (t - middle)) ** 2 for t, look in zip(times, looks, strict=True))
    error = math.sqrt(misses / (len(looks) - 2) / spread)
    if slope <= 0 or slope < _SURE * error:
        return mean, False
    return min(mean + slope * (ahead_s - middle), STEEPEST * mean), True


def _mean(looks: Sequence[LoadSample]) -> float:
    return sum(look.ongoing for look in looks) / len(looks) if looks else 0.0
