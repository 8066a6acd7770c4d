"""One check of a report, and what could not be checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lifecycle.monitoring.drift.settings import DriftSeverity, Family

DriftKind = Literal["data", "prediction", "concept"]
"""data: what comes in is different. prediction: the answers are. concept: rows of equal score are attacks more or less often."""


@dataclass(frozen=True, slots=True)
class ShareBars:
    """A distribution side by side: names of bins or values, and their shares in both samples."""

    names: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One question and its answer. subject: the column, or what is checked. weight: its part of the report's level.

    effects: by name (see settings.LEVELS), as far as they apply. tests: p-value by test; p: of all of them together."""

    kind: DriftKind
    family: Family
    subject: str
    effects: Mapping[str, float]
    p: float
    tests: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    """Other figures, for people."""
    details: tuple[str, ...] = ()
    """What changed, in words: values, pairs."""
    segment: str | None = None
    bars: ShareBars | None = None
    weight: float = 1.0
    adjusted_p: float = 1.0
    severity: DriftSeverity = "none"
    decided_by: str = ""
    """The effect that gave the severity."""

    @property
    def is_finding(self) -> bool:
        """Whether it counts: beyond chance and large enough to matter."""
        return self.severity in ("minor", "major")


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What could not be checked, and why."""

    subject: str
    reason: str
    segment: str | None = None


Checked = DriftCheck | Unjudged
