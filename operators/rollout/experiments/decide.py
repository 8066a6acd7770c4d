"""The rules that move an experiment: named variants side by side on a fixed split, with guards. Pure.

An experiment promotes nothing: the winner is rolled out by hand, through the steps. When a guard finds a variant worse than the
baseline, the baseline's revision answers under the variant's name, so that no other variant's entities move."""

from datetime import datetime

from operators.rollout.experiments.variants import digest, revision_of, target_variants
from operators.rollout.facts import Facts
from operators.rollout.governance.floor import unapproved
from operators.rollout.moves import Conclude, ForgetExperiment, Hold, Move, SplitTraffic, StartExperiment, StopVariant
from operators.rollout.spec import ExperimentSpec, Revision
from operators.rollout.status import ExperimentReport, Phase, RolloutStatus, VerbRequest, Verdict
from operators.values import format_duration


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
    unknown = unapproved(wanted, status, facts.desired.rollout, facts.desired.governance)
    if unknown:
        what = f"approved variants (never approved: {', '.join(unknown)})"
        return Hold(
            phase=Phase.HEALTHY,
            waiting_for=f"an experiment of {what}; rollouts of this service need approvals, so roll these out first",
        )
    names = ", ".join(f"{v.name} {v.weight:g} %" for v in wanted.variants)
    return StartExperiment(
        experiment=wanted,
        variants=tuple(v.model_copy(update={"weight": 0.0}) for v in target_variants(wanted, status.stable)),
        seen=digest(wanted),
        reason=facts.desired.why or f"the spec asks for an experiment: {names}",
        by=facts.desired.by,
    )


def _ended(
    spec: ExperimentSpec, status: RolloutStatus, facts: Facts, requests: tuple[VerbRequest, ...], now: datetime
) -> Move | None:
    """Ends by the verb `conclude`, by the spec, by its duration, or because nothing is left to compare. Every other verb was answered
    before."""
    final = _final(spec, status, now)
    request = next((r for r in requests if r.id not in status.handled), None)
    if request is not None:
        return Conclude(report=final, reason=request.why or "no reason given", by=request.by, request=request.id)
    wanted = facts.desired.experiment
    if wanted is None or digest(wanted) != status.experiment_seen:
        return Conclude(report=final, reason="the spec asks for another experiment, or none", by=facts.desired.by)
    if facts.candidate.failure is not None:
        return Conclude(report=final, reason=f"a variant cannot be loaded: {facts.candidate.failure}")
    if status.split_since is not None and now - status.split_since >= spec.duration:
        return Conclude(report=final, reason=f"its duration of {format_duration(spec.duration)} is over; {final.reason}")
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
    return SplitTraffic(variants=target_variants(spec, stable), reason="every replica has every variant")


def _waiting_for(spec: ExperimentSpec, status: RolloutStatus, facts: Facts) -> str:
    if status.split_since is None:
        return f"loading: {facts.candidate.words}"
    asked = facts.desired.revision
    next_up = "" if asked is None or asked.digest == status.seen else f"; version {asked.version} waits for that"
    return f"its end at {status.split_since + spec.duration:%Y-%m-%d %H:%M:%SZ}, or conclude{next_up}"
