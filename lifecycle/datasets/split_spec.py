"""How a detector declares which rows train, which choose thresholds and which are reported on. split.py does it."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.models.manifest import SamplingUnit

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Split(_Part):
    """Which rows train, which choose thresholds (validation), which are only reported on (test)."""

    by: Literal["rows", "time", "features", "entity", "group", "types"]
    """`features`: rows whose request fields are equal stay together. `types`: thresholds are chosen on attack types that the scoring
    model did not see (cross-fitted)."""
    group: str | None = None
    """For `group`: the column to group by."""
    validation: Share = 0.2
    """Share of what is split that chooses thresholds."""
    test: Share = 0.2
    """Share of rows, entities, groups or of the time range. Nothing is taken off if the source has a test file."""
    validation_in_time: bool = False
    """For `entity`, `group`: validation is the last share of the time of the training entities, not other entities."""
    assign: Mapping[str, Literal["train", "validation", "test"]] = {}
    """Entities or groups put by hand; the others fall by a hash of their name."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """For `types`: how many sub-models."""
    families: Mapping[str, tuple[str, ...]] = {}
    """For `types`: attack types by family; each fold leaves out some of every family. Unset: each type is its own family."""
    benign_kinds: Annotated[int, Field(ge=0, le=1000)] = 0
    """For `types`: benign rows are left out by kinds as well, this many clusters of similar rows; 0: at random."""
    unit: SamplingUnit | None = None
    """What rows are independent draws of, for the confidence of operating points. Unset: `attack_type` for `types`, `group` for `group`,
    `entity` where there is one, else `row`."""
    why: str = ""
    """Shown with the figures: the reason for this split, and what it cannot show."""
