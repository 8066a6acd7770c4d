"""What alerting at one threshold did: counts, and the shares that follow from them. Pure."""

from dataclasses import dataclass

from lifecycle.arrays import Mask
from lifecycle.metrics.intervals import Interval, wilson


@dataclass(frozen=True, slots=True)
class Rates:
    """What alerting did. Counts are of rows or of entity-windows; the intervals take them as independent."""

    hits: int
    misses: int
    false_alarms: int
    quiet: int

    @property
    def total(self) -> int:
        """All that was judged."""
        return self.hits + self.misses + self.false_alarms + self.quiet

    @property
    def recall(self) -> Interval:
        """Share of the attacks that alert."""
        return wilson(self.hits, self.hits + self.misses)

    @property
    def precision(self) -> Interval:
        """Share of the alerts that are attacks; holds for this attack share only."""
        return wilson(self.hits, self.hits + self.false_alarms)

    @property
    def false_alarm_rate(self) -> Interval:
        """Share of the benign that alert."""
        return wilson(self.false_alarms, self.false_alarms + self.quiet)

    @property
    def attack_share(self) -> float | None:
        """Share of attacks among all that was judged."""
        return (self.hits + self.misses) / self.total if self.total else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        whole = 2 * self.hits + self.misses + self.false_alarms
        return 2 * self.hits / whole if whole else None


def rates(alert: Mask, attack: Mask) -> Rates:
    """Count. Both of shape (n,)."""
    hits, alarms = int((alert & attack).sum()), int((alert & ~attack).sum())
    return Rates(hits, int(attack.sum()) - hits, alarms, int((~attack).sum()) - alarms)
