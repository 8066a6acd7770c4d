"""The bounds of conformal sets from validation rows: one for each class and group. Pure.

Class-conditional (Mondrian) split conformal prediction: Vovk, Gammerman & Shafer (2005), "Algorithmic Learning in a Random World", section
4.5; Vovk (2012), "Conditional validity of inductive conformal predictors", ACML. A class stays in the set of a row unless its p-value,
(validation rows of the class that conform no better than the row, and 1) / (validation rows of the class, and 1), is below the error
rate; so a class is left out of the sets of its own rows with at most that probability, in each group, if rows are exchangeable."""

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.datasets.detector import Confidence
from lifecycle.errors import DataError
from serving.models.parts.conformal import ClassBounds, ConformalSpec


def conformal_spec(
    confidence: Confidence | None, scores: NDArray[np.float32], attack: Mask, groups: NDArray[np.object_] | None
) -> ConformalSpec | None:
    """The bounds for a declared error rate. groups: the name of each row's group; None: there are none. All of shape (n,).

    A group with fewer rows of a class than the error rate needs has no bounds of its own: those of all rows count there.
    Raises DataError if all rows together are too few."""
    if confidence is None:
        return None
    needed = floor(1 / confidence.error + 1e-9)
    whole = class_bounds(scores, attack, confidence.error)
    if whole.benign < needed or whole.attack < needed:
        raise DataError(
            f"confidence.error {confidence.error:g} needs {needed} benign and {needed} attack rows for validation, but there are "
            f"{whole.benign} and {whole.attack}; give more rows, a larger split.validation, or a larger error"
        )
    found: dict[str, ClassBounds] = {}
    for name in [] if groups is None else sorted(set(groups.tolist())):
        rows = groups == name
        bounds = class_bounds(scores[rows], attack[rows], confidence.error)
        if bounds.benign >= needed and bounds.attack >= needed:
            found[name] = bounds
    return ConformalSpec(
        error=confidence.error, group=confidence.group, whole=whole, groups=found,
        unknown=confidence.unknown, over_alerts=confidence.over_alerts,
    )  # fmt: skip


def class_bounds(scores: NDArray[np.float32], attack: Mask, error: float) -> ClassBounds:
    """Of one group. A class with too few rows to be left out at this error has no bound."""
    rising, falling = np.sort(scores[attack]), np.sort(scores[~attack])[::-1]
    return ClassBounds(
        attack_from=_bound(rising, error), benign_to=_bound(falling, error), attack=len(rising), benign=len(falling)
    )


def _bound(least_conforming_first: NDArray[np.float32], error: float) -> float | None:
    """The score at which a row's p-value reaches the error rate."""
    at = ceil(error * (len(least_conforming_first) + 1) - 1e-9) - 1
    return None if at <= 0 else float(least_conforming_first[at - 1])
