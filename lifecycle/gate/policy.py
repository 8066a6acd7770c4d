"""The policy of the gate: what is required, and the bounds. A YAML file, parsed here once."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lifecycle.errors import EvaluationError
from lifecycle.gate.checks import CheckName
from lifecycle.yaml_text import read_yaml
from serving.models.bundle import problems_in
from serving.models.parts.part import Ratio

FloorFigure = Literal["recall", "precision", "f1"]
REQUIRED: Final[tuple[CheckName, ...]] = ("schema", "golden", "budget", "performance", "lineage")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Budget(_Part):
    """What a bundle may cost."""

    run_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """The longest median run of the first golden case, in milliseconds of this machine."""
    megabytes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 200.0
    """The largest size of all files together."""
    golden_cases: Annotated[int, Field(ge=0)] = 1
    """The fewest golden cases."""


class FigureFloor(_Part):
    """A figure that must be reached on unseen rows."""

    point: str
    """The operating point."""
    figure: FloorFigure
    """Which figure."""
    least: Annotated[Ratio, Field(gt=0)]
    """The lower 95 % bound of the figure must be at or over this. 0 asks for nothing."""


class FamilyFloor(_Part):
    """A recall that every attack type must reach."""

    point: str | None = None
    """The operating point (default: the bundle's own default)."""
    least: Annotated[Ratio, Field(gt=0)]
    """The recall. 0 asks for nothing."""
    families: tuple[str, ...] = ()
    """Which types, as `split.families` of the detector groups them; `left_out`: those together that training did not have. Empty: all."""
    is_shown: bool = False
    """Whether the lower 95 % bound must reach it. Otherwise a type fails only if its upper bound is below: few rows prove no loss."""


class GatePolicy(_Part):
    """What the gate requires."""

    required: tuple[CheckName, ...] = REQUIRED
    """Checks that must be made. A check that fails always fails the gate; one that cannot be made fails it if it is here, if the policy
    has bounds for it (`floors`, `families`), or if something was given for it (another bundle, segments, newer rows)."""
    budget: Budget = Budget()
    """Latency and size."""
    floors: tuple[FigureFloor, ...] = ()
    """Figures on unseen rows. What the bundle itself promises is checked without being named here."""
    families: tuple[FamilyFloor, ...] = ()
    """Recall of attack types."""


def parse_policy(document: Any, where: str) -> GatePolicy:
    """A policy from a parsed document; None is the default one. Raises EvaluationError."""
    try:
        return GatePolicy.model_validate({} if document is None else document)
    except ValidationError as problem:
        raise EvaluationError(f"{where}: {problems_in(problem)}; docs/reference/gate.md has a whole policy") from problem


def read_policy(path: Path) -> GatePolicy:
    """The policy of a file. Raises EvaluationError, OSError."""
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise EvaluationError(f"{path}: is not YAML ({problem})") from problem
    return parse_policy(document, str(path))
