"""A report in words: which kinds of drift there are, what that means, and what to do. Pure."""

from typing import Final

from lifecycle.monitoring.drift.check import DriftCheck, DriftKind
from lifecycle.monitoring.drift.judge import DriftReport

MEANING: Final[dict[DriftKind, str]] = {
    "data": "What comes in is not what the model was trained on.",
    "prediction": "The model answers differently than on the rows it was trained on.",
    "concept": "Rows of equal score are attacks more or less often than before: what the model learnt no longer holds.",
}
_EFFECTS: Final = {
    "psi": "PSI", "ks": "KS", "wasserstein": "Wasserstein", "total_variation": "total variation", "tail_excess": "rows in the tails",
    "missing": "missing", "correlation": "correlation", "auc": "AUC", "mmd": "MMD", "attack_share": "attacks", "coverage": "coverage",
}  # fmt: skip


def summary(report: DriftReport) -> tuple[str, ...]:
    """What was found, a sentence for each kind of drift, then what to do."""
    if not report.checks:
        return ("Nothing could be judged: see below.",)
    if not report.findings:
        share = report.settings.level
        left = f" {len(report.unjudged)} things could not be judged: see `Not judged`." if report.unjudged else ""
        return (
            f"No drift beyond chance that matters. On unchanged data at most {share:.0%} of such reports have any finding.{left}",
        )
    found = []
    for kind in report.kinds:
        subjects = [_subject(check) for check in report.findings if check.kind == kind]
        named = ", ".join(subjects[:8]) + (f" and {len(subjects) - 8} more" if len(subjects) > 8 else "")
        found.append(f"{kind.capitalize()} drift: {named}. {MEANING[kind]}")
    return (*found, *(f"Do: {step}" for step in advice(report)))


def advice(report: DriftReport) -> tuple[str, ...]:
    """What to do, the most urgent first."""
    kinds = set(report.kinds)
    steps = []
    if "concept" in kinds:
        steps.append(
            "train again with the labels since the change (`vedette retrain`); until then check the thresholds by hand."
        )
    if "prediction" in kinds and "concept" not in kinds:
        steps.append(
            "compare the alert rate with what analysts find; have alerts and a random sample labelled (`vedette label queue`)."
        )
    if "data" in kinds:
        steps.append(
            "see whether a source changed or fails (new values, missing values) before the model is blamed; mend the source."
        )
        if kinds == {"data"} and any(check.kind == "prediction" for check in report.checks):
            steps.append("the answers have not changed: watch the performance, and train again if it falls.")
        elif kinds == {"data"}:
            steps.append("whether the answers changed was not judged: see `Not judged`, and watch the performance.")
    if any(check.segment for check in report.findings):
        steps.append("look at the segments that are named: the rest may be as it was.")
    return tuple(steps)


def effects(check: DriftCheck) -> str:
    """The sizes of a change."""
    return ", ".join(f"{_EFFECTS.get(name, name)} {value:.3f}" for name, value in check.effects.items())


def _subject(check: DriftCheck) -> str:
    return check.subject if check.segment is None else f"{check.subject} ({check.segment})"
