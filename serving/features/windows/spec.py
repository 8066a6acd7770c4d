"""How a bundle's windows are counted: what training declares, and what a stream worker counts by. Values of bundle.json; pure.

The definition of a window's value is serving.features.windows.aggregates; serving.stream.windows counts the same from a stream."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

NO_PORT = -1
"""A port that is not there; no value for `distinct`."""

ValueKind = Literal["string", "float", "int", "port", "bool"]
KIND_DATATYPES: Mapping[ValueKind, str] = {"string": "BYTES", "float": "FP64", "int": "INT64", "port": "INT64", "bool": "BOOL"}
"""Kind of a column -> the protocol's datatype."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


class EventTimeSpec(_Part):
    """When an event is known: at the time in `column`, plus the seconds in `duration`."""

    column: str
    """Column with the time."""
    timezone: str = "UTC"
    """Time zone of times without an offset."""
    duration: str | None = None
    """Column with the seconds from that time to the end of the event; unset: the event is known at once."""


class ValueMatch(_Part):
    """Selects values by exactly one of the three fields."""

    equals: tuple[str | int | float | bool, ...] | None = None
    """The value is one of these."""
    contains: str | None = None
    """The value is text that contains this."""
    not_equals: tuple[str | int | float | bool, ...] | None = None
    """The value is none of these."""

    @model_validator(mode="after")
    def _one(self) -> "ValueMatch":
        if sum(v is not None for v in (self.equals, self.contains, self.not_equals)) != 1:
            raise ValueError("give exactly one of equals, contains, not_equals")
        return self


class WindowAggregate(_Part):
    """One number about an entity's events in a window; every view of the windows has it."""

    name: str
    """Name of the feature within its view."""
    op: Literal["count", "sum", "mean", "distinct", "share"]
    """As in a detector file."""
    column: str | None = None
    """The column it is counted of; unset for `count`."""
    where: ValueMatch | None = None
    """For `share`: which values are counted."""
    datatype: str = "FP64"
    """The feature's datatype."""
    default: float | int | bool | str = 0.0
    """Stands in where there is no value, or one that is too old."""

    @model_validator(mode="after")
    def _complete(self) -> "WindowAggregate":
        if (self.op == "count") != (self.column is None):
            raise ValueError(f"{self.op} {'takes no' if self.op == 'count' else 'needs a'} column")
        if (self.op == "share") != (self.where is not None):
            raise ValueError(f"{self.op} {'needs' if self.op == 'share' else 'takes no'} where")
        return self


class WindowView(_Part):
    """One feature view: every aggregate over the last `seconds`."""

    name: str
    """Name of the feature view."""
    seconds: PositiveInt
    """Length of the window."""
    ttl_s: PositiveInt
    """Maximum age of a value, in seconds."""


class WindowSpec(_Part):
    """The windows of a bundle's feature service."""

    service: str
    """The feature service whose views these are."""
    key: str
    """Column with the entity's key."""
    key_datatype: Literal["BYTES", "INT64", "INT32"] = "BYTES"
    """Its datatype."""
    event_time: EventTimeSpec
    """When an event counts."""
    columns: Mapping[str, ValueKind]
    """Columns that the aggregates are counted of, and what they hold. `port`: a whole number, -1 where there is none."""
    aggregates: Annotated[tuple[WindowAggregate, ...], Field(min_length=1)]
    """What every view has, in the views' order."""
    views: Annotated[tuple[WindowView, ...], Field(min_length=1)]
    """The views, in the service's order."""

    @model_validator(mode="after")
    def _coherent(self) -> "WindowSpec":
        unknown = sorted({a.column for a in self.aggregates if a.column is not None} - self.columns.keys())
        if unknown:
            raise ValueError(f"windows.aggregates name the columns {unknown}, which windows.columns does not have")
        for what, names in (("aggregates", [a.name for a in self.aggregates]), ("views", [v.name for v in self.views])):
            if len(set(names)) != len(names):
                raise ValueError(f"windows.{what} has a name twice in {names}")
        for aggregate in self.aggregates:
            if aggregate.op in ("sum", "mean") and self.columns[str(aggregate.column)] == "string":
                raise ValueError(
                    f"windows.aggregates: {aggregate.name} is the {aggregate.op} of {aggregate.column}, which is text"
                )
        return self
