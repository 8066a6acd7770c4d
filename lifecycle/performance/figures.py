"""A figure with its bounds, or why there is none: a figure that cannot be estimated is a value of its own, and no number. Pure."""

from dataclasses import dataclass
from typing import Final, Literal, TypeGuard

Reason = Literal["no_rows", "no_alerts", "no_labels", "no_audit", "immature", "no_attacks", "no_probabilities"]
WHY: Final[dict[Reason, str]] = {
    "no_rows": "nothing was answered",
    "no_alerts": "there was no alert",
    "no_labels": "no alert has a label yet",
    "no_audit": "no row without an alert was labelled by a random audit, so missed attacks are not known",
    "immature": "most labels are still to come",
    "no_attacks": "no labelled row was an attack",
    "no_probabilities": "the bundle has no calibration, so scores give no probabilities",
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % bounds. labels: definite labels it rests on; effective: so many of equal weight say as much."""

    value: float
    low: float
    high: float
    labels: int
    effective: float


@dataclass(frozen=True, slots=True)
class NotEstimated:
    """There is no figure, and why. maturity: share of the labels that are in, where that is why."""

    reason: Reason
    maturity: float | None = None

    @property
    def words(self) -> str:
        """For people."""
        share = "" if self.maturity is None else f" ({self.maturity:.0%} of them are in)".replace("%", " %")
        return WHY[self.reason] + share


Figure = Estimate | NotEstimated


def is_estimate(figure: Figure) -> TypeGuard[Estimate]:
    """Whether there is a figure."""
    return isinstance(figure, Estimate)
