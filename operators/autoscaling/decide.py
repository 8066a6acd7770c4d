"""The scaling decision: how many replicas one look leads to, between which bounds, and why.

Pure: no clock, cluster or metrics. Every rule that moves the count is called from `decide`, in this order: what the load asks
for (demand), tolerance, bounds, stabilization windows and step limits (stabilization).
The autoscaler is the one owner of the count: a rollout asks
through `ScalingFacts`, it never sets one. Missing measurements never remove a replica."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from operators.autoscaling.demand import Demand, demand, is_slow_but_idle
from operators.autoscaling.schedule import bounds
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.stabilization import count_before, least_allowed, most_allowed, with_count, with_peak, with_trough
from operators.autoscaling.values import LoadSample, Point, ScalingDecision, ScalingFacts, ScalingState
from operators.ports import Load


def decide(
    spec: ScalingSpec, state: ScalingState | None, load: Load, facts: ScalingFacts | None, now: datetime
) -> ScalingDecision:
    """Choose the count. Deciding twice on the same facts gives the same, also from the state that the first gave.

    state: of the last decision; None or empty: this is the first, and the count that is found is where it begins."""
    facts = replace(facts or ScalingFacts(), mirror_ratio=max((facts or ScalingFacts()).mirror_ratio, load.mirror_ratio))
    limits = _limits(spec, facts, now)
    before = _with_starting_count(state or ScalingState(), load, now)
    current = count_before(before.counts, now) or 0
    unknown = _why_unknown(spec, load, now)
    if unknown is not None:
        return _hold(spec, before, limits, current, unknown, now)
    looks = _with_look(before.looks, load, now - spec.look_back)
    demanded = demand(spec, looks, load, facts, now)
    idle_since = _idle_since(before.idle_since, load, demanded, now)
    wanted = _wanted(spec, limits, current, demanded)
    if wanted == 0 and not _may_scale_to_zero(spec, current, idle_since, now):
        wanted = 1
    held, stabilization = _stabilized(spec, before, current, wanted, now)
    paced, limit = _rate_limited(spec, before, current, held, now)
    replicas = min(max(paced, limits.lower), limits.upper)
    why = [demanded.why, stabilization, limit, _why_bounded(demanded, replicas, limits), _why_slow(spec, load, looks)]
    return ScalingDecision(
        replicas=replicas,
        lower=limits.lower,
        upper=limits.upper,
        candidate=_candidate(facts, demanded, limits),
        reason=_sentence(current, replicas, why),
        state=ScalingState(
            looks=looks,
            peaks=with_peak(before.peaks, wanted, now, spec.down_window),
            troughs=with_trough(before.troughs, wanted, now, spec.up_window),
            counts=with_count(before.counts, replicas, now, _longest(spec)),
            idle_since=idle_since,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Limits:
    lower: int
    upper: int
    source: str


def _limits(spec: ScalingSpec, facts: ScalingFacts, now: datetime) -> _Limits:
    """Bounds now. Zero only where the backend wakes up by itself, and never during a rollout."""
    by_time = bounds(spec, now)
    source = f"window {', '.join(by_time.windows)}" if by_time.windows else "the spec"
    lower = by_time.lower
    if lower == 0 and (facts.is_rolling_out or not facts.can_sleep):
        lower = 1
    if facts.rollout_min is not None and min(facts.rollout_min, by_time.upper) > lower:
        lower, source = min(facts.rollout_min, by_time.upper), "the rollout's setReplicas"
    if facts.most is not None and facts.most < by_time.upper:
        return _Limits(min(lower, facts.most), facts.most, "what the backend can hold")
    return _Limits(lower, by_time.upper, source)


def _why_unknown(spec: ScalingSpec, load: Load, now: datetime) -> str | None:
    if load.problem is not None:
        return f"the load is not known ({load.problem})"
    if not all(map(math.isfinite, (load.ongoing, load.queued, load.rate_per_s))):
        return f"the load is not known ({load.ongoing:g} requests under way)"
    age = now - load.at
    if age > spec.stale_after:
        return f"the load is {age.total_seconds():.0f} s old"
    return None


def _hold(
    spec: ScalingSpec, before: ScalingState, limits: _Limits, current: int, unknown: str, now: datetime
) -> ScalingDecision:
    """The load is not known. The lower bound still holds (a window opens, a rollout asks); nothing is removed, even above the upper bound.
    The held count counts as wanted, so that scaling down waits a whole window once the load is known again."""
    replicas = max(current, limits.lower)
    over = f"; above the maximum of {limits.upper} until it is known" if replicas > limits.upper else ""
    return ScalingDecision(
        replicas=replicas,
        lower=limits.lower,
        upper=limits.upper,
        reason=_sentence(
            current, replicas, [unknown + over, "" if replicas == current else f"raised to the minimum by {limits.source}"]
        ),
        state=before.model_copy(
            update={
                "peaks": with_peak(before.peaks, replicas, now, spec.down_window),
                "troughs": with_trough(before.troughs, replicas, now, spec.up_window),
                "counts": with_count(before.counts, replicas, now, _longest(spec)),
                "idle_since": None,
            }
        ),
    )


def _with_look(looks: Sequence[LoadSample], load: Load, since: datetime) -> tuple[LoadSample, ...]:
    kept = [look for look in looks if since < look.at < load.at]
    return (*kept[-63:], LoadSample(at=load.at, ongoing=max(load.ongoing, 0.0)))


def _idle_since(before: datetime | None, load: Load, demanded: Demand, now: datetime) -> datetime | None:
    is_idle = demanded.replicas <= 0 and load.rate_per_s <= 0 and load.queued <= 0
    return (before or now) if is_idle else None


def _may_scale_to_zero(spec: ScalingSpec, current: int, idle_since: datetime | None, now: datetime) -> bool:
    """The last replica is removed after `idle`; a service without replicas stays so while it is idle."""
    return idle_since is not None and (current == 0 or now - idle_since >= spec.idle)


def _wanted(spec: ScalingSpec, limits: _Limits, current: int, demanded: Demand) -> int:
    """The demanded count within bounds; within the tolerance, the present count."""
    is_close = current > 0 and abs(demanded.replicas / current - 1) <= spec.tolerance
    wanted = current if is_close else math.ceil(demanded.replicas - 1e-9)
    return min(max(wanted, limits.lower), limits.upper)


def _with_starting_count(state: ScalingState, load: Load, now: datetime) -> ScalingState:
    """At the first look the present count is taken as wanted and decided just before, so a restart removes nothing."""
    if count_before(state.counts, now) is not None:
        return state
    found = Point(at=now - timedelta(microseconds=1), replicas=max(load.wanted_replicas, load.ready_replicas))
    return ScalingState(looks=state.looks, peaks=(found,), counts=(found,))


def _stabilized(spec: ScalingSpec, before: ScalingState, current: int, wanted: int, now: datetime) -> tuple[int, str]:
    """Rises to the least count wanted within upWindow, falls to the most wanted within downWindow. From zero it rises at once."""
    if wanted > current > 0:
        held = max(with_trough(before.troughs, wanted, now, spec.up_window)[0].replicas, current)
        return held, _why_held(held, wanted, spec.up_window)
    if wanted < current:
        held = min(with_peak(before.peaks, wanted, now, spec.down_window)[0].replicas, current)
        return held, _why_held(held, wanted, spec.down_window)
    return wanted, ""


def _why_held(held: int, wanted: int, window: timedelta) -> str:
    return (
        ""
        if held == wanted
        else f"{wanted} would be enough, but {held} were wanted within the last {window.total_seconds():g} s"
    )


def _rate_limited(spec: ScalingSpec, before: ScalingState, current: int, held: int, now: datetime) -> tuple[int, str]:
    if held > current:
        paced = max(min(held, most_allowed(before.counts, current, spec.up_limit, now)), current)
        return paced, "" if paced == held else f"upLimit allows {paced} of {held} now"
    if held < current:
        paced = min(max(held, least_allowed(before.counts, current, spec.down_limit, now)), current)
        return paced, "" if paced == held else f"downLimit allows {paced} of {held} now"
    return held, ""


def _why_bounded(demanded: Demand, replicas: int, limits: _Limits) -> str:
    if replicas == limits.lower and demanded.replicas < limits.lower:
        return f"at least {limits.lower} by {limits.source}"
    return f"at most {limits.upper} by {limits.source}" if replicas == limits.upper and demanded.replicas > limits.upper else ""


def _why_slow(spec: ScalingSpec, load: Load, looks: Sequence[LoadSample]) -> str:
    return "slow without being busy: more replicas would not help" if is_slow_but_idle(spec, load, looks) else ""


def _candidate(facts: ScalingFacts, demanded: Demand, limits: _Limits) -> int | None:
    if facts.shares_replicas or not facts.is_rolling_out:
        return None
    return min(max(math.ceil(demanded.candidate - 1e-9), 1), limits.upper)


def _longest(spec: ScalingSpec) -> timedelta:
    return max(spec.up_limit.per, spec.down_limit.per)


def _sentence(current: int, replicas: int, why: Sequence[str]) -> str:
    move = f"{current} -> {replicas}" if replicas != current else f"stays at {replicas}"
    return f"{move}: {'; '.join(w for w in why if w)}"
