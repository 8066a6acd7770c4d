"""Makes the checks of one bundle. What is not given is skipped with its reason; the policy says what may be skipped."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lifecycle.arrays import Mask
from lifecycle.datasets.detector import Detector
from lifecycle.errors import EvaluationError
from lifecycle.evaluation.fairness.disparity import FairnessReport
from lifecycle.evaluation.fairness.segment_rows import fairness_of, refuse_as_inputs
from lifecycle.evaluation.held_out import HeldOutRows
from lifecycle.evaluation.scored import Scored
from lifecycle.evaluation.scoring import score_rows
from lifecycle.gate.bundle_checks import lineage_check, probe_checks, signature_check
from lifecycle.gate.checks import CHECKS, Check, CheckName, GateReport, Outcome, failed, in_order, passed, skipped
from lifecycle.gate.policy import GatePolicy
from lifecycle.gate.row_checks import champion_check, fairness_check, families_check, performance_check
from serving.models.bundle import Bundle
from serving.models.errors import BundleError, ModelError
from serving.models.signing.trust import Proof
from serving.segments.mapping import SegmentMap

_NEEDS_ROWS: tuple[CheckName, ...] = ("performance", "families", "champion", "fairness")


class Tell(Protocol):
    """Told which check begins, and what share is done."""

    def __call__(self, what: str, share: float) -> None:
        """Show it."""
        ...


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What the checks may look at; None: not given.

    rows: unseen ones, with their columns. trained_types: types of the training rows. prove: gives the signature of a bundle that
    holds, or raises ModelError. drift: judges newer rows against the bundle's reference. rows_problem: why rows that were given cannot be
    read; empty: nothing was wrong."""

    detector: Detector | None = None
    rows: HeldOutRows | None = None
    trained_types: Collection[str] | None = None
    champion: Bundle | None = None
    segments: SegmentMap | None = None
    prove: Callable[[Bundle], Proof] | None = None
    drift: Callable[[Bundle], Check] | None = None
    rows_problem: str = ""


def judge(bundle: Bundle, policy: GatePolicy, inputs: GateInputs, tell: Tell = lambda what, share: None) -> GateReport:
    """Every check of a bundle that was read and verified. Raises SegmentMapError if the model takes a column of the mapping."""
    manifest = bundle.manifest
    tell("loading and running the bundle in a process of its own", 0.0)
    checks = [*probe_checks(bundle, policy.budget), lineage_check(bundle), signature_check(bundle, inputs.prove)]
    runs = not any(check.outcome is Outcome.FAILED and check.name == "schema" for check in checks)
    tell("scoring unseen rows", 0.2)
    checks += _row_checks(bundle, policy, inputs) if runs else [_not_run(name) for name in _NEEDS_ROWS]
    tell("comparing newer rows with those of training", 0.9)
    if inputs.drift is None:
        checks.append(skipped("drift", "no newer rows are given", "give --newer FILE"))
    else:
        checks.append(inputs.drift(bundle))
    required = frozenset(policy.required) | _asked_for(policy, inputs)
    return GateReport(manifest.name, manifest.version, bundle.digest, in_order(checks), required)


def unreadable(where: str, problem: BundleError, policy: GatePolicy) -> GateReport:
    """The report of a bundle that cannot be read, so that nothing else of it is checked. where: as it was named."""
    broken = failed("schema", str(problem), "build the bundle again, or fetch it again")
    checks = (broken, *(_not_run(name) for name in CHECKS if name != "schema"))
    return GateReport(where, "", "", checks, frozenset(policy.required))


def _asked_for(policy: GatePolicy, inputs: GateInputs) -> frozenset[str]:
    """Checks that the policy has bounds for, or something was given for: if they cannot be made, that is no pass."""
    asked: dict[CheckName, object] = {
        "performance": policy.floors, "families": policy.families, "champion": inputs.champion, "fairness": inputs.segments,
        "drift": inputs.drift,
    }  # fmt: skip
    return frozenset(name for name, what in asked.items() if what not in (None, ()))


def _row_checks(bundle: Bundle, policy: GatePolicy, inputs: GateInputs) -> list[Check]:
    detector, rows = inputs.detector, inputs.rows
    if bundle.manifest.score is None:
        return [skipped(name, "the model gives no score", "it is judged by its golden outputs only") for name in _NEEDS_ROWS]
    if inputs.rows_problem:
        unread = failed("performance", inputs.rows_problem, "mend the file; `vedette data check` lists its bad rows")
        return [unread, *(skipped(name, "the rows cannot be read", "mend the file") for name in _NEEDS_ROWS[1:])]
    if detector is None or rows is None:
        way_out = "give --data FILE, --data-dir DIR or --test FILE"
        return [skipped(name, "there are no unseen rows", way_out) for name in _NEEDS_ROWS]
    try:
        scored = score_rows(bundle, detector, rows.rows, rows.frame)
    except (EvaluationError, ModelError) as problem:
        return [
            failed("performance", str(problem), "see what the graph gives for these rows"),
            *(_not_run(name) for name in _NEEDS_ROWS[1:]),
        ]
    window_s = detector.evaluation.window_s
    return [
        performance_check(bundle.manifest, scored, policy, window_s),
        families_check(bundle.manifest, scored, policy, _left_out(rows, inputs.trained_types)),
        _champion(bundle, scored, detector, rows, inputs.champion),
        fairness_check(_fairness(bundle, scored, inputs.segments)),
    ]


def _left_out(rows: HeldOutRows, trained: Collection[str] | None) -> Mask | None:
    """Which rows are of a type that training did not have."""
    if trained is None or rows.rows.kind is None:
        return None
    return ~np.isin(rows.rows.kind.astype(str), sorted(trained))


def _champion(bundle: Bundle, scored: Scored, detector: Detector, rows: HeldOutRows, champion: Bundle | None) -> Check:
    if champion is None:
        return skipped("champion", "no other bundle is given", "give --against BUNDLE")
    if champion.digest == bundle.digest:
        return passed(
            "champion", f"{champion.manifest.name} {champion.manifest.version} is the same bundle, so nothing was compared"
        )
    try:
        other = score_rows(champion, detector, rows.rows, rows.frame)
    except (EvaluationError, ModelError) as problem:
        return failed("champion", f"the champion cannot be judged: {problem}", "name a bundle of the same detector")
    return champion_check(bundle.manifest, scored, champion.manifest, other, detector.evaluation.window_s)


def _fairness(bundle: Bundle, scored: Scored, mapping: SegmentMap | None) -> FairnessReport | None:
    if mapping is None:
        return None
    refuse_as_inputs(mapping, bundle.manifest)
    points = bundle.manifest.operating_points
    point = points[bundle.manifest.default_operating_point or next(iter(points))]
    return fairness_of(scored.alerts(point.threshold), scored.attack, scored.entity, mapping)


def _not_run(name: CheckName) -> Check:
    return skipped(name, "the bundle did not run", "mend what the other checks name")
