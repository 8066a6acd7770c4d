"""Conformal sets of a bundle, and its verdict `unknown`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from serving.models.parts.part import ManifestPart
from serving.spec import Finite


class ClassBounds(ManifestPart):
    """Which classes a score's set holds, in one group; from so many validation rows of each class."""

    attack_from: Finite | None = None
    """An attack is in the set of a score at or over this; unset: of every score."""
    benign_to: Finite | None = None
    """Benign is in the set of a score at or under this; unset: of every score."""
    attack: int
    """Validation rows that were attacks."""
    benign: int
    """Validation rows that were benign."""


class ConformalSpec(ManifestPart):
    """Class-conditional conformal sets: a row's true class is left out of its set with at most the declared probability, for each
    class and group. Source: Vovk (2012), "Conditional validity of inductive conformal predictors", ACML."""

    error: Annotated[float, Field(gt=0, lt=0.5)]
    """The declared error rate."""
    group: str | None = None
    """The request field whose value names a row's group; unset: there are none."""
    whole: ClassBounds
    """Of all rows; for groups that have no bounds of their own, and requests of tensors."""
    groups: Annotated[Mapping[str, ClassBounds], Field(max_length=1000)] = {}
    """By value of the group's field."""
    unknown: bool = False
    """Whether a row whose set does not hold exactly one class gets the verdict `unknown`."""
    over_alerts: bool = False
    """Whether `unknown` also replaces `alert`."""
