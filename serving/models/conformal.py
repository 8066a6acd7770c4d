"""Conformal sets of a score: which of benign and attack a row may be at a declared error rate, and which rows are `unknown`. Core.

The score itself says how well a row conforms to each class, so a set is decided by two scores: an attack is in it from `attack_from`
on, and benign up to `benign_to`. The rows with both classes in their set, or with none, have the scores between these two. See
models.manifest.ConformalSpec for what they promise, lifecycle.training.conformal for how they are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.models.manifest import ClassBounds, ConformalSpec

UNKNOWN: Final = 3
"""Code of the verdict `unknown`."""
_ALERT: Final = 2


@dataclass(frozen=True, slots=True)
class SetBounds:
    """An attack is in the set of a score at or over attack_from, benign of one at or under benign_to."""

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
