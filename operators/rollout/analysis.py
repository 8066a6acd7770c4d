"""The evidence of one look, brought to the status: who is compared with whom, and which split was to be expected. Pure.

The statistics themselves are `Tools`: operators.rollout.judging.judge, sequence and budget, or a test's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from operators.rollout.evidence import Observation, Tally, key
from operators.rollout.experiments import report, variants
from operators.rollout.facts import Calibration, Desired
from operators.rollout.judging import alert_budget, confidence_sequence, judge
from operators.rollout.spec import AlertBudget, Analysis, ExperimentSpec, Revision
from operators.rollout.status import Assessment, RolloutStatus


class Judged(Protocol):
    """What judging one look gives: the ledger to keep, the assessment, and the variants' totals by tally key."""

    @property
    def ledger(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def assessment(self) -> Assessment: ...  # noqa: D102
    @property
    def totals(self) -> Mapping[str, Tally]: ...  # noqa: D102


class EvidenceJudge(Protocol):
    """operators.rollout.judging.judge.look."""

    def __call__(  # noqa: D102
        self,
        ledger: Mapping[str, Any],
        analysis: Analysis,
        split: Mapping[str, float],
        baseline: str,
        candidate: str,
        observation: Observation,
        now: datetime,
    ) -> Judged: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The statistics that `advance` asks. judge: one look. intervals: of proportions and their differences, always valid. calibrate: the
    threshold at which the candidate, by its tally, spends its alert budget."""

    judge: EvidenceJudge
    intervals: report.Intervals
    calibrate: Callable[[AlertBudget, Tally], Calibration]


def standard_tools() -> Tools:
    """The project's own statistics."""
    return Tools(
        judge=judge.look,
        intervals=report.Intervals(confidence_sequence.proportion, confidence_sequence.difference),
        calibrate=_calibrated,
    )


def _calibrated(wanted: AlertBudget, tally: Tally) -> Calibration:
    found = alert_budget.calibrate(wanted, tally)
    return Calibration(found.threshold, found.reason)


def split_in_force(status: RolloutStatus) -> Mapping[str, float]:
    """Share of entities by variant since the last look, in percent; stable has the rest."""
    return {v.name: v.weight for v in status.variants} if status.experiment else {"candidate": status.weight}


def analysis_of(desired: Desired, status: RolloutStatus) -> Analysis:
    """What judges: the experiment's own gates, or those of the policy that the rollout keeps to."""
    if status.experiment is not None:
        return status.experiment.analysis
    return (status.policy or desired.rollout).analysis


def judged(desired: Desired, status: RolloutStatus, observation: Observation, now: datetime, tools: Tools) -> RolloutStatus:
    """The status with the evidence of this look."""
    stable = status.stable
    if stable is None:
        return status
    if status.experiment is not None:
        return _judged_variants(status.experiment, stable, status, observation, now, tools)
    if status.candidate is None:
        return status
    analysis = analysis_of(desired, status)
    look = tools.judge(
        status.ledger,
        analysis,
        split_in_force(status),
        key("stable", stable.digest),
        key("candidate", status.candidate.digest),
        observation,
        now,
    )
    return status.model_copy(update={"ledger": look.ledger, "totals": look.totals, "assessment": look.assessment})


def _judged_variants(
    spec: ExperimentSpec, stable: Revision, status: RolloutStatus, observation: Observation, now: datetime, tools: Tools
) -> RolloutStatus:
    """An experiment's: each variant against the baseline, sharing alpha among the comparisons."""
    others = spec.variants[1:]
    analysis = spec.analysis.model_copy(update={"alpha": spec.analysis.alpha / len(others)})
    split = split_in_force(status)
    ledger, totals, found = status.ledger, status.totals, dict(status.variant_assessments)
    baseline = variants.tally_key(spec, spec.variants[0], stable)
    for variant in others:
        if variant.name in status.stopped:
            continue
        candidate = variants.tally_key(spec, variant, stable)
        look = tools.judge(ledger, analysis, split, baseline, candidate, observation, now)
        ledger, totals = look.ledger, look.totals
        found[variant.name] = look.assessment
    judged = status.model_copy(update={"ledger": ledger, "totals": totals, "variant_assessments": found})
    return judged.model_copy(update={"report": report.report(judged, totals, tools.intervals, now)})
