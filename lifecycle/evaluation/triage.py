"""What a bundle's triage ends and loses on judged rows, beside what its bound promised on validation rows. Pure."""

from dataclasses import dataclass

from lifecycle.arrays import Mask
from lifecycle.metrics import Interval, wilson
from lifecycle.training.triage.bound import upper_share
from serving.models.parts.triage import TriageSpec


@dataclass(frozen=True, slots=True)
class TriagePart:
    """One part of the rows. attacks: how many it has; lost: those of them that are ended; upper: one-sided bound of the share that is lost.

    ended: share of all rows; None where the bundle does not say it. ended_benign: share of the benign rows. lost_alerts: lost attacks that
    the model alerts on at the default operating point; None where it is not known."""

    part: str
    ended: Interval | None
    ended_benign: float
    attacks: int
    lost: int
    upper: float
    lost_alerts: int | None = None


@dataclass(frozen=True, slots=True)
class TriageReport:
    """bound: rows that are scored below it are ended. required: share of the attacks that may be lost, with this confidence.

    parts: validation, as the bundle has it, and test."""

    bound: float
    required: float
    confidence: float
    parts: tuple[TriagePart, ...]


def triage_of(spec: TriageSpec, ended: Mask, attack: Mask, alert: Mask) -> TriageReport:
    """Judge a bundle's triage, as it is where a revision switches it on without audited rows. Arrays of shape (n,).

    ended: rows that it ends; alert: rows that the model would alert on."""
    losses = spec.losses
    known = TriagePart("validation", None, spec.ended, losses.attacks, losses.lost, losses.upper)
    attacks, lost, benign = int(attack.sum()), int((attack & ended).sum()), int((~attack).sum())
    judged = TriagePart(
        "test", wilson(int(ended.sum()), len(ended)), int((ended & ~attack).sum()) / benign if benign else 0.0,
        attacks, lost, upper_share(lost, attacks, losses.confidence), int((attack & ended & alert).sum()),
    )  # fmt: skip
    return TriageReport(spec.bound, losses.required, losses.confidence, (known, judged))
