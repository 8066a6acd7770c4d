"""Whether conformal sets hold what they promise on unseen rows, and what `unknown` costs. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.metrics import Interval, wilson
from serving.models.manifest import OperatingPoint
from serving.models.parts.conformal import ConformalSpec
from serving.models.verdicts import UNKNOWN, ConformalTable, verdict_codes

ALL: Final = "all rows"


@dataclass(frozen=True, slots=True)
class ClassCoverage:
    """One class in one group: the share of its rows whose set holds it; at least 1 - error is promised."""

    group: str
    label: str
    rows: int
    held: Interval


@dataclass(frozen=True, slots=True)
class ConfidenceReport:
    """Sets and verdicts at the default operating point. one, both, none: rows by what their set holds. unknown: rows with that verdict;
    unknown_attacks: attacks among them; alerts_replaced: those that would have alerted."""

    error: float
    coverage: tuple[ClassCoverage, ...]
    one: int
    both: int
    none: int
    unknown: int
    unknown_attacks: int
    alerts_replaced: int


def confidence_of(
    spec: ConformalSpec, point: OperatingPoint, score: NDArray[np.float32], attack: Mask, groups: NDArray[np.object_] | None
) -> ConfidenceReport:
    """Judge a bundle's sets. groups: each row's group, by the column that the specification names; None: there is none."""
    table = ConformalTable.of(spec)
    if table is None:
        raise ValueError("a bundle without a specification has no sets")
    names = None if groups is None else [str(name) for name in groups.tolist()]
    benign_in, attack_in = table.sets(score, names)
    where = [(ALL, np.ones(len(score), dtype=bool))]
    if names is not None:
        where += [(name, np.asarray([n == name for n in names])) for name in sorted(set(names))]
    coverage = [
        ClassCoverage(
            name, label, int((rows & of_class).sum()), wilson(int((held & rows & of_class).sum()), int((rows & of_class).sum()))
        )
        for name, rows in where
        for label, of_class, held in (("benign", ~attack, benign_in), ("attack", attack, attack_in))
    ]
    before = verdict_codes(score, point)
    unknown = table.codes(before, score, names) == UNKNOWN if spec.unknown else np.zeros(len(score), dtype=bool)
    return ConfidenceReport(
        spec.error, tuple(coverage), int((benign_in != attack_in).sum()), int((benign_in & attack_in).sum()),
        int((~benign_in & ~attack_in).sum()), int(unknown.sum()), int((unknown & attack).sum()), int((unknown & (before == 2)).sum()),
    )  # fmt: skip
