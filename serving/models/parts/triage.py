"""The triage pre-filter of a bundle: a cheap model that ends clear cases before the bundle's model runs.

The bundle has it; a revision switches it on (serving.spec.TriageSwitch)."""

from typing import Annotated, Final

from pydantic import Field

from serving.models.parts.part import ManifestPart, Ratio
from serving.spec import Finite

TRIAGE_MODEL: Final = "triage.onnx"
"""The cheap model's graph, one of the bundle's files. Its inputs are those of the bundle's model."""
TRIAGE_GOLDEN: Final = "triage-golden.json"
"""What it must give for the inputs of golden.json."""


class LostAttacks(ManifestPart):
    """How many attacks the bound loses, on validation rows that the cheap model was not trained on.

    `upper` is the one-sided Clopper-Pearson bound of the share of attacks that are lost. It holds for rows that are drawn as the
    validation rows are, one independent of another; with folds it is an estimate, for other models scored them.
    Source: Clopper & Pearson (1934), Biometrika 26(4)."""

    attacks: int
    """Validation rows that are attacks."""
    lost: int
    """Those of them that are scored below the bound."""
    required: Ratio
    """The share that may be lost."""
    upper: Ratio
    """Upper bound of the share that is lost; not over `required`."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    """Confidence of the upper bound."""


class TriageSpec(ManifestPart):
    """A cheap model that ends clear cases: a row that it scores below `bound` is benign, and the bundle's model does not run for it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")] = "triage"
    """Its name; its version is that of the bundle."""
    output: str
    """The output of triage.onnx that is the score."""
    column: int | None = None
    """Index into the last dimension of an output of shape [n, k]; None for an output of shape [n] or [n, 1]."""
    bound: Finite
    """Rows that are scored below this are ended."""
    ended: Ratio
    """Share of the benign validation rows that are ended."""
    losses: LostAttacks
    """What the bound loses."""
