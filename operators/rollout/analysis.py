"""The analysis of one look: which variants are compared, under which split, and the status with what the evidence says. Pure.

The statistics are passed in as `Statistics`: those of operators.rollout.judging, or a test's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from operators.rollout.evidence import Observation, Tally, key
from operators.rollout.experiments import report, variants
from operators.rollout.facts import Calibration, Desired
from operators.rollout.judging import alert_budget, confidence_sequence, judge
from operators.rollout.spec import AlertBudget, Analysis, ExperimentSpec, Revision
from operators.rollout.status import RolloutStatus


class EvidenceJudge(Protocol):
    """The function that judges one look at the evidence (operators.rollout.judging.judge.look)."""

    def __call__(  # noqa: D102
        self,
        ledger: Mapping[str, Any],
        analysis: Analysis,
        split: Mapping[str, float],
        baseline: str,
        candidate: str,
        observation: Observation,
        now: datetime,
    ) -> judge.JudgedLook: ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistical functions that `advance` is given. judge: judges one look. intervals: of proportions and their differences, always
    valid. calibrate: the threshold at which the candidate, by its tally, spends its alert budget."""

    judge: EvidenceJudge
    intervals: report.Intervals
    calibrate: Callable[[AlertBudget, Tally], Calibration]


def standard_statistics() -> Statistics:
    """The project's own statistics."""
    return Statistics(
        judge=judge.look,
        intervals=report.Intervals(confidence_sequence.proportion, confidence_sequence.difference),
        calibrate=_calibrated,
    )


def _calibrated(budget: AlertBudget, tally: Tally) -> Calibration:
    found = alert_budget.calibrate(budget, tally)
    return Calibration(found.threshold, found.reason)


def split_in_force(status: RolloutStatus) -> Mapping[str, float]:
    """Share of entities by variant since the last look, in percent; stable has the rest."""
    return {v.name: v.weight for v in status.variants} if status.experiment else {"candidate": status.weight}


def analysis_of(desired: Desired, status: RolloutStatus) -> Analysis:
    """The analysis in force: the experiment's own, else that of the policy the rollout started with."""
    if status.experiment is not None:
        return status.experiment.analysis
    return (status.policy or desired.rollout).analysis


def assessed(
    desired: Desired, status: RolloutStatus, observation: Observation, now: datetime, statistics: Statistics
) -> RolloutStatus:
    """The status with this look's ledger, totals and assessment."""
    stable = status.stable
    if stable is None:
        return status
    if status.experiment is not None:
        return _assessed_variants(status.experiment, stable, status, observation, now, statistics)
    if status.candidate is None:
        return status
    analysis = analysis_of(desired, status)
    look = statistics.judge(
        status.ledger,
        analysis,
        split_in_force(status),
        key("stable", stable.digest),
        key("candidate", status.candidate.digest),
        observation,
        now,
    )
    return status.model_copy(update={"ledger": look.ledger, "totals": look.totals, "assessment": look.assessment})


def _assessed_variants(
    spec: ExperimentSpec,
    stable: Revision,
    status: RolloutStatus,
    observation: Observation,
    now: datetime,
    statistics: Statistics,
) -> RolloutStatus:
    """An experiment: each variant is compared with the baseline; the comparisons share alpha."""
    others = spec.variants[1:]
    analysis = spec.analysis.model_copy(update={"alpha": spec.analysis.alpha / len(others)})
    split = split_in_force(status)
    ledger, totals, found = status.ledger, status.totals, dict(status.variant_assessments)
    baseline = variants.tally_key(spec, spec.variants[0], stable)
    for variant in others:
        if variant.name in status.stopped:
            continue
        candidate = variants.tally_key(spec, variant, stable)
        look = statistics.judge(ledger, analysis, split, baseline, candidate, observation, now)
        ledger, totals = look.ledger, look.totals
        found[variant.name] = look.assessment
    after = status.model_copy(update={"ledger": ledger, "totals": totals, "variant_assessments": found})
    return after.model_copy(update={"report": report.report(after, totals, statistics.intervals, now)})
