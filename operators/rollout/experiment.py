"""A/B experiments: named variants side by side on a fixed split, guards, and a report of who won. Pure.

An experiment promotes nothing: the winner is rolled out by hand, through the steps. A variant that a guard finds worse than the
baseline loses its traffic to it: the same entities are then answered by the baseline's revision under the variant's name, so that
no other variant's entities move."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from operators.rollout.evidence import Tally, key
from operators.rollout.facts import Facts
from operators.rollout.moves import Conclude, ForgetExperiment, Hold, Move, SplitTraffic, StartExperiment, StopVariant
from operators.rollout.spec import ExperimentSpec, ExperimentVariant, GateName, Revision, format_duration
from operators.rollout.status import (
    ExperimentReport,
    Phase,
    RolloutStatus,
    TargetVariant,
    VariantReport,
    VerbRequest,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Anytime-valid intervals. proportion: (n, k, alpha). difference: (baseline's (n, k), variant's (n, k), alpha), of the variant's
    proportion less the baseline's."""

    proportion: Callable[[int, int, float], tuple[float, float]]
    difference: Callable[[tuple[int, int], tuple[int, int], float], tuple[float, float]]


def digest(spec: ExperimentSpec) -> str:
    """Identity of an experiment's spec."""
    return f"sha256:{hashlib.sha256(spec.model_dump_json(by_alias=True).encode()).hexdigest()}"


def revision_of(variant: ExperimentVariant, stable: Revision) -> Revision:
    """What a variant serves."""
    return variant.revision or stable


def tally_key(spec: ExperimentSpec, variant: ExperimentVariant, stable: Revision) -> str:
    """Where a variant's evidence is counted; a baseline that is what stable serves is stable itself."""
    revision = revision_of(variant, stable)
    is_stable = variant == spec.variants[0] and revision.digest == stable.digest
    return key("stable" if is_stable else variant.name, revision.digest)


def variants(spec: ExperimentSpec, stable: Revision) -> tuple[TargetVariant, ...]:
    """What is served beside stable, with the weights to come."""
    return tuple(
        TargetVariant(name=v.name, revision=revision_of(v, stable), weight=v.weight)
        for v in spec.variants
        if tally_key(spec, v, stable) != key("stable", stable.digest)
    )


def decide(status: RolloutStatus, facts: Facts, requests: tuple[VerbRequest, ...], now: datetime) -> Move | None:
    """The next move of an experiment; None if none is under way and none begins."""
    spec, stable = status.experiment, status.stable
    if spec is None or stable is None:
        return _begin(status, facts)
    return (
        _ended(spec, status, facts, requests, now)
        or _stopped(status, revision_of(spec.variants[0], stable))
        or _split(spec, stable, status, facts)
        or Hold(phase=Phase.EXPERIMENT, waiting_for=_waiting_for(spec, status, facts))
    )


def _begin(status: RolloutStatus, facts: Facts) -> Move | None:
    wanted = facts.desired.experiment
    if status.phase is not Phase.HEALTHY or status.stable is None:
        return None
    if wanted is None:
        return ForgetExperiment(reason="the spec asks for none") if status.experiment_seen else None
    if digest(wanted) == status.experiment_seen:
        return None
    names = ", ".join(f"{v.name} {v.weight:g} %" for v in wanted.variants)
    return StartExperiment(
        experiment=wanted,
        variants=tuple(v.model_copy(update={"weight": 0.0}) for v in variants(wanted, status.stable)),
        seen=digest(wanted),
        reason=facts.desired.why or f"the spec asks for an experiment: {names}",
        by=facts.desired.by,
    )


def _ended(
    spec: ExperimentSpec, status: RolloutStatus, facts: Facts, requests: tuple[VerbRequest, ...], now: datetime
) -> Move | None:
    """Somebody says so, the spec does, its time is over, or nothing is left to compare. Every verb but `conclude` was answered
    before this is asked."""
    final = _final(spec, status, now)
    said = next((r for r in requests if r.id not in status.handled), None)
    if said is not None:
        return Conclude(report=final, reason=said.why or "no reason given", by=said.by, request=said.id)
    wanted = facts.desired.experiment
    if wanted is None or digest(wanted) != status.experiment_seen:
        return Conclude(report=final, reason="the spec asks for another experiment, or none", by=facts.desired.by)
    if facts.candidate.failure is not None:
        return Conclude(report=final, reason=f"a variant cannot be loaded: {facts.candidate.failure}")
    if status.split_since is not None and now - status.split_since >= spec.duration:
        return Conclude(report=final, reason=f"its {format_duration(spec.duration)} are over; {final.reason}")
    if {v.name for v in spec.variants[1:]} <= set(status.stopped):
        return Conclude(report=final, reason="every variant but the baseline was worse")
    return None


def _final(spec: ExperimentSpec, status: RolloutStatus, now: datetime) -> ExperimentReport:
    nothing = ExperimentReport(metric=spec.metric, goal=spec.goal, started=now, at=now, reason="nothing was measured")
    return (status.report or nothing).model_copy(update={"is_final": True})


def _stopped(status: RolloutStatus, baseline: Revision) -> Move | None:
    """A guard takes the traffic of the first variant that is worse."""
    for name, assessment in status.variant_assessments.items():
        if assessment.verdict is Verdict.WORSE and name not in status.stopped:
            served = tuple(v.model_copy(update={"revision": baseline}) if v.name == name else v for v in status.variants)
            return StopVariant(name=name, variants=served, reason=f"{name}: {assessment.reason}", assessment=assessment)
    return None


def _split(spec: ExperimentSpec, stable: Revision, status: RolloutStatus, facts: Facts) -> Move | None:
    """Traffic, once every replica has every variant."""
    if status.split_since is not None or not facts.candidate.is_everywhere:
        return None
    return SplitTraffic(variants=variants(spec, stable), reason="every replica has every variant")


def _waiting_for(spec: ExperimentSpec, status: RolloutStatus, facts: Facts) -> str:
    if status.split_since is None:
        return f"loading: {facts.candidate.words}"
    asked = facts.desired.revision
    next_up = "" if asked is None or asked.digest == status.seen else f"; version {asked.version} waits for that"
    return f"its end at {status.split_since + spec.duration:%Y-%m-%d %H:%M:%SZ}, or conclude{next_up}"


def observed(tally: Tally, gate: GateName, unit: str) -> tuple[int, int]:
    """(n, k) of one variant's live evidence by a gate."""
    if gate in (GateName.PRECISION, GateName.RECALL):
        return tally.labels.get(gate, (0, 0))
    if unit == "entity":
        return tally.entities, tally.entities_bad.get(gate, 0)
    of_rows = gate in (GateName.DEGRADED, GateName.ALERT_RATE)
    return (tally.rows if of_rows else tally.requests), tally.bad.get(gate, 0)


def report(status: RolloutStatus, totals: Mapping[str, Tally], intervals: Intervals, now: datetime) -> ExperimentReport:
    """What the experiment shows so far. All pairwise differences hold together, at every look: each at alpha / number of pairs
    (union bound); so do all intervals of the single variants, for reading only."""
    spec, stable = status.experiment, status.stable
    if spec is None or stable is None:
        raise ValueError("no experiment is under way")
    unit = next((g.unit for g in spec.analysis.gates if g.name is spec.metric), "request")
    counts = {v.name: observed(totals.get(tally_key(spec, v, stable), Tally()), spec.metric, unit) for v in spec.variants}
    size, baseline = len(spec.variants), spec.variants[0].name
    alpha = spec.analysis.alpha / (size * (size - 1) / 2)

    def difference(one: str, other: str) -> tuple[float, float] | None:
        measured = counts[one][0] and counts[other][0]
        return intervals.difference(counts[other], counts[one], alpha) if measured else None

    found = tuple(
        VariantReport(
            name=v.name,
            revision=revision_of(v, stable).digest,
            n=n,
            k=k,
            rate=k / n if n else None,
            interval=intervals.proportion(n, k, spec.analysis.alpha / size) if n else None,
            difference=difference(v.name, baseline) if v.name != baseline else None,
            stopped=status.stopped.get(v.name),
        )
        for v in spec.variants
        for n, k in (counts[v.name],)
    )
    winner, reason = _winner(found, spec, difference)
    return ExperimentReport(
        metric=spec.metric,
        goal=spec.goal,
        started=status.split_since or status.started or now,
        at=now,
        variants=found,
        winner=winner,
        reason=reason,
    )


Difference = Callable[[str, str], tuple[float, float] | None]


def _winner(found: tuple[VariantReport, ...], spec: ExperimentSpec, difference: Difference) -> tuple[str | None, str]:
    """The variant that is better than every other by intervals that leave out 0, and that no guard stopped."""
    for one in found:
        others = [v.name for v in found if v is not one]
        if one.stopped is None and all(_is_better(difference(one.name, other), spec) for other in others):
            return one.name, f"{one.name} has the {spec.goal} {spec.metric}: {one.rate:.4g}, better than {', '.join(others)}"
    silent = [v.name for v in found if v.n == 0]
    if silent:
        return None, f"no winner yet: nothing was measured of {', '.join(silent)}"
    return None, f"no winner yet: the {spec.metric} of the variants may still be the same"


def _is_better(interval: tuple[float, float] | None, spec: ExperimentSpec) -> bool:
    """Whether a variant's difference to another is surely on the good side."""
    if interval is None:
        return False
    return interval[1] < 0 if spec.goal == "lower" else interval[0] > 0
