"""How a model's columns are called in the data, when an event is known, and which windows are counted over the events. Values only.

A training pipeline knows it from its detector file (lifecycle.training.batch.source); a job carries it as JSON to its workers."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class SourceColumn(msgspec.Struct, frozen=True):
    """One column. name: as the model takes it. source: as the data may call it. default: stands in for a null."""

    name: str
    kind: Literal["string", "float", "int", "port", "bool"]
    source: str | None = None
    default: str | float | None = None
    is_narrow: bool = False
    """Whether its numbers become FP32."""

    def found_in(self, names: frozenset[str]) -> str | None:
        """What it is called in data with these columns; None if they have it under neither name."""
        if self.source is not None and self.source in names:
            return self.source
        return self.name if self.name in names else None


class SourceTime(msgspec.Struct, frozen=True):
    """When an event is known: at the time in `column`, in `timezone` where it has none, plus `duration` seconds."""

    column: str
    timezone: str = "UTC"
    duration: str | None = None


class SourceMatch(msgspec.Struct, frozen=True):
    """Which values count: exactly one of the fields is set. Nulls never match."""

    equals: tuple[str | int | float | bool, ...] | None = None
    contains: str | None = None
    not_equals: tuple[str | int | float | bool, ...] | None = None


class SourceAggregate(msgspec.Struct, frozen=True):
    """One number about an entity's events in a window; `column` is the name of a SourceColumn."""

    op: Literal["count", "sum", "mean", "distinct", "share"]
    column: str | None = None
    where: SourceMatch | None = None


class SourceWindows(msgspec.Struct, frozen=True):
    """Windows that are counted over the data itself. views: name -> seconds. ttl_s: the oldest age of a row that is used."""

    key: str
    views: Mapping[str, int]
    aggregates: Mapping[str, SourceAggregate]
    ttl_s: int

    @property
    def lookback_us(self) -> int:
        """How far before an event lies the earliest event that its features may depend on."""
        return (max(self.views.values()) + self.ttl_s + 1) * 1_000_000


class Source(msgspec.Struct, frozen=True):
    """Everything about the data. columns: of the model and of the windows. keys: join keys among them."""

    columns: tuple[SourceColumn, ...]
    keys: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    times: tuple[SourceTime, ...] = ()
    """Tried in order; the first whose column is there is used. None: the events have no times."""
    windows: SourceWindows | None = None

    def column(self, name: str) -> SourceColumn:
        """The column of this name. Raises KeyError."""
        return next(c for c in self.columns if c.name == name)

    def time_in(self, names: frozenset[str]) -> SourceTime | None:
        """How the times of data with these columns are read; None if it has none."""
        return next((t for t in self.times if t.column in names and (t.duration is None or t.duration in names)), None)


def as_json(source: Source) -> dict[str, Any]:
    """For a worker in another process."""
    made: dict[str, Any] = msgspec.to_builtins(source)
    return made
