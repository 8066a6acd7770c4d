"""Rows with their scores and labels: what every figure is computed from. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask, entity_codes

_Kind = TypeVar("_Kind", bound=np.generic)
BENIGN_CLASS: Final = "benign"
"""The class of rows that are no attack, beside the attack families."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Judged rows, arrays of shape (n,). entity and at_us: None without an entity or time. segments: name -> value of each row.

    probability: the served, calibrated one; None without calibration. family: the attack family of each row, BENIGN_CLASS where it is
    none; None where rows do not say it. answered_family: the family that the model names for a row, should it be an attack."""

    score: NDArray[np.float32]
    attack: Mask
    verified: Mask
    entity: NDArray[np.object_] | None
    at_us: NDArray[np.int64] | None
    segments: Mapping[str, NDArray[np.object_]]
    probability: Floats | None = None
    family: NDArray[np.object_] | None = None
    answered_family: NDArray[np.object_] | None = None
    group: NDArray[np.object_] | None = None
    """The group of each row by which conformal sets are made; None: there are none."""
    ended: Mask | None = None
    """Which rows the bundle's triage ends; None: it has none."""

    def take(self, rows: Mask) -> "Scored":
        """Some of the rows."""

        def part(values: NDArray[_Kind] | None) -> NDArray[_Kind] | None:
            return None if values is None else values[rows]

        return replace(
            self, score=self.score[rows], attack=self.attack[rows], verified=self.verified[rows],
            entity=part(self.entity), at_us=part(self.at_us), probability=part(self.probability),
            family=part(self.family), answered_family=part(self.answered_family), group=part(self.group),
            ended=part(self.ended),
            segments={name: values[rows] for name, values in self.segments.items()},
        )  # fmt: skip

    def alerts(self, threshold: float) -> Mask:
        """Which rows alert, at the precision that scores are served in."""
        return np.asarray(self.score >= np.float32(threshold))


def by_window(scored: Scored, window_s: int) -> Scored:
    """One row per entity and window: its highest score; an attack if any row is; verified if an attack, or any row is verified.

    Without probabilities and families: those are of rows. Raises ValueError without an entity or time."""
    if scored.entity is None or scored.at_us is None:
        raise ValueError("entity-windows need an entity and event times")
    names, who = entity_codes(scored.entity)
    window = scored.at_us // (window_s * 1_000_000)
    keys, which = np.unique(np.stack([who, window]), axis=1, return_inverse=True)
    which, n = which.ravel(), keys.shape[1]
    score = np.full(n, -np.inf, dtype=np.float32)
    np.maximum.at(score, which, scored.score)
    attack = np.bincount(which, weights=scored.attack, minlength=n) > 0
    verified = np.bincount(which, weights=scored.verified, minlength=n) > 0
    return Scored(score, attack, verified, names[keys[0]], keys[1] * window_s * 1_000_000, {})
