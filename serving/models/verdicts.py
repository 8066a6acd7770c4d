"""From a model's output to scores, probabilities and verdicts. Core."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.models.manifest import Calibration, OperatingPoint, ScoreSpec
from serving.models.parts.conformal import ClassBounds, ConformalSpec

VERDICTS: Final = ("benign", "investigate", "alert", "unknown")
VERDICT_BYTES: Final[NDArray[np.object_]] = np.array([v.encode() for v in VERDICTS], dtype=object)


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


ONE_CODE: Final = tuple(_fixed(np.array([code], dtype=np.intp)) for code in range(4))
"""The code of one row, by code."""
ONE_COUNT: Final[tuple[tuple[int, ...], ...]] = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0, 1))
"""How many rows are of each verdict, if there is one row, by its code."""


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """A calibration as arrays; see models.manifest.Calibration."""

    scores: NDArray[np.float64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    merged: NDArray[np.float32]
    edges: list[float]
    """`scores` as Python's numbers, for one row."""

    @classmethod
    def of(cls, calibration: Calibration | None) -> "CalibrationTable | None":
        """Arrays of a calibration, or None."""
        if calibration is None:
            return None
        low, high = np.asarray(calibration.low), np.asarray(calibration.high)
        merged = high / (1.0 - low + high)  # Vovk et al. (2015), equation 2: the log-loss minimax choice
        return cls(
            np.asarray(calibration.scores, dtype=np.float64),
            low.astype(np.float32),
            high.astype(np.float32),
            merged.astype(np.float32),
            [float(s) for s in calibration.scores],
        )

    def look_up(self, scores: NDArray[Any]) -> NDArray[np.intp]:
        """Index of each score's step, shape (n,)."""
        return np.maximum(np.searchsorted(self.scores, scores, side="right") - 1, 0)

    def step_of(self, score: float) -> int:
        """The same for one score as a Python number: about 5 us less."""
        return max(bisect_right(self.edges, score) - 1, 0)


@dataclass(frozen=True, slots=True)
class VerdictThresholds:
    """An operating point as one row is judged by it: rounded to FP32, as numpy compares scores with it."""

    investigate: float
    alert: float

    @classmethod
    def of(cls, point: OperatingPoint) -> "VerdictThresholds":
        """Rounded."""
        with np.errstate(over="ignore"):
            return cls(float(np.float32(point.investigate)), float(np.float32(point.threshold)))

    def code_of(self, score: float) -> int:
        """`verdict_codes` of one FP32 score as a Python number: about 5 us less."""
        return 1 if isnan(score) else (score >= self.investigate) + (score >= self.alert)


def scores_of(outputs: Mapping[str, NDArray[Any]], spec: ScoreSpec, rows: int) -> NDArray[np.float32]:
    """The score of each row, shape (rows,). Raises ValueError if the output does not have one number a row."""
    values = outputs[spec.output]
    has_column = spec.column is None or (values.ndim > 0 and values.shape[-1] > spec.column)
    picked = values if spec.column is None or not has_column else values[..., spec.column]
    if picked.size != rows or not has_column:
        raise ValueError(
            f"output {spec.output!r} has shape {list(values.shape)} for {rows} rows; score.column must pick one number per row"
        )
    return picked.reshape(rows).astype(np.float32, copy=False)


def verdict_codes(scores: NDArray[np.float32], point: OperatingPoint) -> NDArray[np.intp]:
    """0 benign, 1 investigate, 2 alert, shape (n,). A score that is not a number is to be investigated, never benign."""
    codes = (scores >= point.investigate).astype(np.intp) + (scores >= point.threshold)
    unknown = np.isnan(scores)
    if unknown.any():
        codes[unknown] = 1
    return codes


UNKNOWN: Final = 3
"""Code of the verdict `unknown`."""
_ALERT: Final = 2


@dataclass(frozen=True, slots=True)
class SetBounds:
    """The conformal set of a score, in one group: an attack is in it from attack_from on, benign up to benign_to.

    The score itself says how well a row conforms to each class, so these two decide; rows with both classes in their set, or with none,
    have the scores between them."""

    attack_from: float
    benign_to: float

    @classmethod
    def of(cls, bounds: ClassBounds) -> "SetBounds":
        """A class without a bound is in every set."""
        attack = -inf if bounds.attack_from is None else bounds.attack_from
        return cls(attack, inf if bounds.benign_to is None else bounds.benign_to)

    def has_one(self, score: float) -> bool:
        """Whether the set holds exactly one class."""
        return (score >= self.attack_from) != (score <= self.benign_to)


@dataclass(frozen=True, slots=True)
class ConformalTable:
    """A bundle's conformal sets, ready for use. group: the request field whose value names the group; None: there are no groups."""

    whole: SetBounds
    groups: Mapping[str, SetBounds]
    group: str | None
    over_alerts: bool

    @classmethod
    def of(cls, spec: ConformalSpec | None) -> "ConformalTable | None":
        """The table of a specification, or None."""
        if spec is None:
            return None
        groups = {name: SetBounds.of(bounds) for name, bounds in spec.groups.items()}
        return cls(SetBounds.of(spec.whole), groups, spec.group, spec.over_alerts)

    def sets(self, scores: NDArray[np.float32], groups: list[str] | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(benign is in the set, an attack is), shape (n,). groups: each row's; None: not known, the bounds of all rows count."""
        each = [self.whole] * len(scores) if groups is None else [self.groups.get(name, self.whole) for name in groups]
        attack_from = np.array([bounds.attack_from for bounds in each])
        benign_to = np.array([bounds.benign_to for bounds in each])
        return np.asarray(scores <= benign_to), np.asarray(scores >= attack_from)

    def codes(self, codes: NDArray[np.intp], scores: NDArray[np.float32], groups: list[str] | None) -> NDArray[np.intp]:
        """Verdict codes with UNKNOWN where the set does not hold exactly one class; an alert stays one unless over_alerts.

        A score that is not a number keeps its verdict, `investigate`."""
        benign, attack = self.sets(scores, groups)
        unknown = (benign == attack) & ~np.isnan(scores)
        if not self.over_alerts:
            unknown &= codes < _ALERT
        return np.where(unknown, UNKNOWN, codes) if unknown.any() else codes

    def code(self, code: int, score: float, group: str | None) -> int:
        """The same of one row."""
        if isnan(score) or (code >= _ALERT and not self.over_alerts):
            return code
        bounds = self.whole if group is None else self.groups.get(group, self.whole)
        return code if bounds.has_one(score) else UNKNOWN


def group_names(values: NDArray[Any]) -> list[str]:
    """The groups that a column's values name: text as it is, whole numbers and booleans as Python writes them."""
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]
