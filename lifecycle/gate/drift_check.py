"""Whether newer rows are like those of training. A major change fails the gate. A minor change is reported."""

from typing import Any

from lifecycle.datasets.data import Dataset
from lifecycle.errors import EvaluationError
from lifecycle.gate.checks import Check, failed, passed, skipped
from lifecycle.monitoring.drift.advice import effects
from lifecycle.monitoring.drift.judge import judge_drift
from lifecycle.monitoring.drift.samples import bundle_reference, file_sample, model_columns
from serving.models.bundle import Bundle


def drift_check(bundle: Bundle, data: Dataset, frame: Any, where: str) -> Check:
    """data, frame: newer rows, with features joined. where: what they are."""
    try:
        reference = bundle_reference(bundle)
    except EvaluationError as problem:
        return skipped("drift", str(problem), "train it with `vedette train`")
    report = judge_drift(reference, file_sample(data, frame, model_columns(bundle.manifest), where))
    if not report.checks:
        why = "; ".join(dict.fromkeys(one.reason for one in report.unjudged))
        return skipped("drift", f"nothing could be judged: {why}", "give more rows, or rows with the columns of the model")
    figures = {check.subject: {"severity": check.severity, **check.effects} for check in report.findings}
    named = "; ".join(f"{check.subject} ({check.severity}: {effects(check)})" for check in report.findings[:8])
    if report.severity == "major":
        return failed("drift", named, "train on newer rows, or see `vedette drift` for what changed", **figures)
    judged = f"{len(report.checks)} checks of {report.current.words}"
    if report.unjudged:
        judged += f", {len(report.unjudged)} not judged"
    return passed("drift", f"{judged}: {named or 'no change that matters'}", **figures)
