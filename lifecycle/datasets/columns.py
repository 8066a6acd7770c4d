"""What a detector declares of a column and of the checks of its file. Judging rows by it is checks/'s."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

ColumnType = Literal["string", "float", "int", "bool", "timestamp", "port"]
_ORDERED: Final = ("float", "int", "port")
_COUNTABLE: Final = ("string", "int", "bool", "port")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


def as_column(value: Any) -> Any:
    """A column's type alone stands for the whole."""
    return {"type": value} if isinstance(value, str) else value


class ColumnSpec(_Part):
    """One column: its type, its name in the file if that differs, and the values that it may have."""

    type: ColumnType
    """The type of its values. `port` reads a port of a flow record (decimal, hexadecimal or empty) as a whole number; empty becomes
    -1."""
    source: Annotated[str | None, Field(alias="from")] = None
    """Name of the column in the file; unset: the same name."""
    min: float | None = None
    """Least value of a number; a row below it is set aside."""
    max: float | None = None
    """Largest value of a number; a row above it is set aside."""
    values: tuple[str | int | bool, ...] | None = None
    """The values that there are, of a text, whole number or truth value; a row with another one is set aside."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in _ORDERED:
            raise ValueError(f"min and max are of numbers ({', '.join(_ORDERED)}), the column is {self.type}")
        if self.values is not None and self.type not in _COUNTABLE:
            raise ValueError(f"values are of types {', '.join(_COUNTABLE)}, the column is {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Checks(_Part):
    """When a row of a file is set aside, beyond its types and values, and when the file is refused."""

    max_bad: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """The largest share of rows that may be set aside; a file with more is refused."""
    duplicates: Literal["note", "bad"] = "note"
    """A row that is equal to an earlier one in every declared column: `note` counts it in the findings, `bad` sets it aside."""
    max_lateness_s: PositiveFloat | None = None
    """How many seconds a row may lie behind the newest event time before it in the file; unset: any, rows are sorted."""
