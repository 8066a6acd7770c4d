"""The rows of a challenge, scored by both bundles as they are served."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.evaluation.held_out import HeldOutRows
from lifecycle.evaluation.scoring import row_scores
from lifecycle.retraining.challenge.paired_harm import PairedAlerts
from lifecycle.retraining.data.labelled_rows import LabelledAnswers
from lifecycle.retraining.data.weights import inclusion_weights
from lifecycle.training.train import Prepared
from serving.models.bundle import Bundle

Judge = tuple[Bundle, float]
"""A bundle and the threshold at which it alerts."""


def newest_alerts(detector: Detector, held: LabelledAnswers, champion: Judge, challenger: Judge, cap: float) -> PairedAlerts:
    """The held-out labelled rows. cap: most that a row counts for."""
    frame = pd.DataFrame(dict(held.columns), index=np.arange(len(held)))
    owners = owners_of(detector, frame, held.events)
    weights = inclusion_weights(held.inclusion, cap)
    return PairedAlerts(
        alerts(champion, frame), alerts(challenger, frame), held.attack, families_of(detector, held.family), owners, weights
    )


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows with labels that neither model was trained on, and their columns."""

    detector: Detector
    rows: Dataset
    frame: Any

    @classmethod
    def of(cls, base: Prepared, test: HeldOutRows | None) -> "KeptRows":
        """The detector's test file where it has one, else the test part of the base rows."""
        if test is not None:
            return cls(base.detector, test.rows, test.frame)
        where = np.flatnonzero(base.parts.test)
        return cls(base.detector, base.data.take(where), base.frame.iloc[where].reset_index(drop=True))

    @property
    def benign(self) -> Any:
        """The columns of the benign ones."""
        return self.frame.iloc[np.flatnonzero(~self.rows.attack)]

    def alerts(self, champion: Judge, challenger: Judge) -> PairedAlerts:
        """What both alert on. Unverified rows count as benign, as in evaluation."""
        n = len(self.rows)
        kind = np.full(n, "", dtype=object) if self.rows.kind is None else self.rows.kind
        return PairedAlerts(
            alerts(champion, self.frame), alerts(challenger, self.frame), self.rows.attack, families_of(self.detector, kind),
            owners_of(self.detector, self.rows.frame, row_names(np.arange(n))), np.ones(n),
        )  # fmt: skip


def alerts(judge: Judge, frame: Any) -> Mask:
    """Whether a bundle alerts on each row, at the precision that scores are served in."""
    bundle, threshold = judge
    if len(frame) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(row_scores(bundle, frame) >= np.float32(threshold))


def row_names(places: NDArray[np.int64]) -> NDArray[np.object_]:
    """A name for each row, for rows that have no entity."""
    found = np.empty(len(places), dtype=object)
    found[:] = [f"row {i}" for i in places.tolist()]
    return found


def families_of(detector: Detector, kind: NDArray[np.object_]) -> NDArray[np.object_]:
    """The family of each row by its type; a type in no family is its own, and "" is not known."""
    family_of = {k: family for family, kinds in detector.split.families.items() for k in kinds}
    found = np.empty(len(kind), dtype=object)
    found[:] = [family_of.get(str(k), str(k)) for k in kind.tolist()]
    return found


def owners_of(detector: Detector, frame: Any, otherwise: NDArray[np.object_]) -> NDArray[np.object_]:
    """Whose each row is: its entity where the row says one, else what stands in `otherwise`."""
    key = None if detector.entity is None else detector.entity.key
    if key is None or key not in frame.columns:
        return otherwise
    values = frame[key]
    return np.asarray(np.where(values.isna(), otherwise, values.astype(object)), dtype=object)
