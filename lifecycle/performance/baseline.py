"""The figures that a model is held to: the bundle's own, of its validation rows. Pure."""

from dataclasses import dataclass, replace
from typing import Self

from serving.models.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Baseline:
    """precision, recall, F1 at an operating point (`point`). A precision holds for its share of attacks only.

    is_moved: the share was set to that of the site, and precision and F1 follow from recall and false alarm rate."""

    point: str
    precision: float
    recall: float
    f1: float
    false_alarm_rate: float
    attack_share: float
    rows: int
    is_moved: bool = False

    def at_share(self, share: float) -> Self:
        """The figures where this share of the rows are attacks: recall and false alarm rate stay, precision and F1 follow."""
        hits, wrong = share * self.recall, (1 - share) * self.false_alarm_rate
        precision = hits / (hits + wrong) if hits + wrong > 0 else self.precision
        f1 = 2 * hits / (hits + wrong + share) if share > 0 else self.f1
        return replace(self, precision=precision, f1=f1, attack_share=share, is_moved=True)


def baseline_of(manifest: Manifest, point: str | None = None) -> Baseline | None:
    """Of a bundle's operating point; None: of its default one. None where the figures were not measured."""
    name = point or manifest.default_operating_point
    chosen = None if name is None else manifest.operating_points.get(name)
    if name is None or chosen is None or chosen.expected is None:
        return None
    e = chosen.expected
    return Baseline(name, e.precision, e.recall, e.f1, e.false_alarm_rate, e.attack_share, e.rows)
