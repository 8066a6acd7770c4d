"""The rows that thresholds are chosen on, and what they are independent draws of. Pure.

Rows of one host, or of one type of attack, are alike. A statement about the future that counts them one by one is too sure of itself, so
the unit of a bound is whatever was drawn independently: a row, an entity, a group or a type of attack."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.split import Parts
from serving.models.manifest import SamplingUnit

LEFT_OUT = -1
"""The code of a row that no bound counts."""


@dataclass(frozen=True, slots=True)
class ValidationRows:
    """Scored rows, arrays of shape (n,). weights: what a row counts for in the figures, positive.

    unit_of: the code of the unit that a row belongs to, or LEFT_OUT. No unit has both attacks and benign rows that are counted."""

    scores: Floats
    attack: Mask
    weights: Floats
    unit: SamplingUnit
    unit_of: NDArray[np.int64]

    @property
    def attack_share(self) -> float:
        """Share of attacks, by weight."""
        return float(self.weights[self.attack].sum() / self.weights.sum())


def independent_rows(scores: NDArray[np.floating], attack: Mask, weights: Floats | None = None) -> ValidationRows:
    """Each row is a draw of its own."""
    n = len(scores)
    return ValidationRows(
        scores.astype(np.float64), attack, np.ones(n) if weights is None else weights, "row", np.arange(n, dtype=np.int64)
    )


def rows_in_units(
    scores: NDArray[np.floating], attack: Mask, weights: Floats, unit: SamplingUnit, owner: NDArray[np.int64]
) -> ValidationRows:
    """Rows of one owner are one draw. owner: codes, shape (n,); negative: left out.

    Benign rows of an owner that is attacked are left out, so that attacked and benign units are independent."""
    attacked = np.unique(owner[attack])
    mixed = ~attack & np.isin(owner, attacked)
    return ValidationRows(scores.astype(np.float64), attack, weights, unit, np.where(mixed, LEFT_OUT, owner))


def validation_rows(
    detector: Detector, data: Dataset, parts: Parts, rows: NDArray[np.int64], scores: NDArray[np.float32], weights: Floats
) -> ValidationRows:
    """The rows at these places of the data, in the detector's units (split.unit, or what follows from its split)."""
    attack = data.attack[rows]
    match detector.sampling_unit:
        case "row":
            return independent_rows(scores, attack, weights)
        case "attack_type":
            return rows_in_units(scores, attack, weights, "attack_type", _types(data, parts, rows))
        case "group":
            owner = data.frame[detector.split.group]
            return rows_in_units(scores, attack, weights, "group", _codes(owner.iloc[rows].to_numpy(dtype=object)))
        case "entity":
            assert detector.entity is not None  # noqa: S101  # nosec B101  # the declaration was checked
            owner = data.frame[detector.entity.key]
            return rows_in_units(scores, attack, weights, "entity", _codes(owner.iloc[rows].to_numpy(dtype=object)))


def _types(data: Dataset, parts: Parts, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Types of attack, and kinds of benign rows where the split knows them; else each benign row is on its own."""
    attack = data.attack[rows]
    kind = data.kind[rows] if data.kind is not None else np.full(len(rows), "", dtype=object)
    owner = np.empty(len(rows), dtype=np.int64)
    owner[attack] = _codes(kind[attack])
    first = int(owner[attack].max(initial=0)) + 1
    benign = np.flatnonzero(~attack) if parts.benign_kind is None else parts.benign_kind[rows][~attack]
    owner[~attack] = first + benign
    return owner


def _codes(names: NDArray[np.object_]) -> NDArray[np.int64]:
    return np.asarray(np.unique(names.astype(str), return_inverse=True)[1], dtype=np.int64)
