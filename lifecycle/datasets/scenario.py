"""How a detector declares its operating points. lifecycle.training.operating_points chooses them."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

RequiredFigure = Literal["recall", "f1", "precision"]
_REQUIREMENT: Final = re.compile(r"^\s*(recall|f1|precision)\s*>=\s*(0?\.\d+|[01](?:\.0*)?)\s*$")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ErrorCost(_Part):
    """What errors cost, in any one unit: minutes, money."""

    missed_attack: PositiveFloat
    """One attack row without an alert."""
    false_alarm: PositiveFloat
    """One alert on a benign row."""


class Scenario(_Part):
    """One operating point and the rule its threshold is chosen by."""

    require: str
    """`recall`, `f1` or `precision` `>=` a number."""
    delta: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """How often the requirement may fail although it is promised, over draws of the validation data: the confidence is 1 - delta."""
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Added to the requirement when choosing, because unseen data is harder; declared before the test is seen."""
    attack_share: Annotated[float | None, Field(gt=0, lt=1)] = None
    """The share of attacks that a precision or F1 is meant at; unset: that of the validation rows."""
    cost: ErrorCost | None = None
    """What errors cost: the least cost is chosen among the thresholds that hold; unset: what the requirement's measure asks for."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.rule[0] == "recall" and self.attack_share is not None and self.cost is None:
            raise ValueError(f"{self.require!r} does not depend on attack_share; leave it out, or ask for a precision or F1")
        return self

    @property
    def rule(self) -> tuple[RequiredFigure, float]:
        """(`recall` | `f1` | `precision`, the least value)."""
        found = _REQUIREMENT.match(self.require)
        if found is None:
            raise ValueError(
                f"{self.require!r} is not a requirement; write e.g. `recall >= 0.98`, `f1 >= 0.85`, `precision >= 0.95`"
            )
        measure: RequiredFigure = found.group(1)  # type: ignore[assignment]  # the pattern has these three
        return measure, float(found.group(2))
