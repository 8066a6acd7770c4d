"""A WindowSpec compiled for counting: which numbers are summed, which values are distinguished, and how features are computed from both.
Pure."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.features.windows.spec import KIND_DATATYPES, NO_PORT, ValueKind, WindowAggregate, WindowSpec
from serving.ports import Columns
from serving.stream.windows.matching import ValueTest, matcher

LARGEST: Final = 1e290
"""Largest number of an event that is added up."""


@dataclass(frozen=True, slots=True)
class SummedColumn:
    """A number of each event that is added up. is_whole: sums are exact. matches: for a share, 1 for a value that matches."""

    column: str
    is_whole: bool
    matches: ValueTest | None = None

    def numbers(self, column: NDArray[Any]) -> list[Any]:
        """The numbers of n events; NaN and what is beyond LARGEST count as 0, so that no sum overflows."""
        if self.matches is not None:
            return self.matches(column)
        if not self.is_whole:
            values = column.astype(np.float64)
            column = np.where(np.abs(values) <= LARGEST, values, 0.0)
        found: list[Any] = column.tolist()
        return found


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What is counted. seconds: lengths of the distinct windows, ascending. kept_s: the longest of them. lives_s: how long an entity is
    kept after its last event: the longest window, or the longest age at which a row is used. loose: places of the sums that are not
    exact. width: numbers that a window has in a raw row: the count, the sums, the distinct counts."""

    spec: WindowSpec
    seconds: tuple[int, ...]
    kept_s: int
    lives_s: int
    sums: tuple[SummedColumn, ...]
    loose: tuple[int, ...]
    distinct: tuple[str, ...]
    width: int
    pack: struct.Struct
    picks: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]

    @classmethod
    def of(cls, spec: WindowSpec) -> "WindowPlan":
        """Compile a specification."""
        sums: dict[Any, SummedColumn] = {}
        distinct: dict[str, int] = {}
        for aggregate in spec.aggregates:
            if aggregate.op == "distinct":
                distinct.setdefault(str(aggregate.column), len(distinct))
            elif aggregate.op != "count":
                sums.setdefault(_sum_key(aggregate), _summed(aggregate, spec.columns[str(aggregate.column)]))
        order = {key: place for place, key in enumerate(sums)}
        seconds = tuple(sorted({view.seconds for view in spec.views}))
        width = 1 + len(sums) + len(distinct)
        values, divisors, divided = [], [], []
        for view in spec.views:
            base = seconds.index(view.seconds) * width
            for aggregate in spec.aggregates:
                place = base
                if aggregate.op == "distinct":
                    place += 1 + len(sums) + distinct[str(aggregate.column)]
                elif aggregate.op != "count":
                    place += 1 + order[_sum_key(aggregate)]
                values.append(place)
                divisors.append(base)
                divided.append(aggregate.op in ("mean", "share"))
        return cls(
            spec=spec,
            seconds=seconds,
            kept_s=seconds[-1],
            lives_s=max(seconds[-1], *(view.ttl_s for view in spec.views)),
            sums=tuple(sums.values()),
            loose=tuple(place for place, summed in enumerate(sums.values()) if not summed.is_whole),
            distinct=tuple(distinct),
            width=width,
            pack=struct.Struct(f"<{width * len(seconds)}d"),
            picks=(np.array(values, dtype=np.intp), np.array(divisors, dtype=np.intp), np.array(divided, dtype=np.bool_)),
        )

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns that an event must have, name -> datatype."""
        return {name: KIND_DATATYPES[kind] for name, kind in self.spec.columns.items()}

    def features(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw rows (n, windows x width) -> features (n, views x aggregates), in the service's order."""
        values, divisors, divided = self.picks
        found = raw[:, values]
        found[:, divided] /= np.maximum(raw[:, divisors[divided]], 1)
        return found

    def measured(self, columns: Columns) -> tuple[list[list[Any]], list[list[Any]]]:
        """Of n events: the numbers to add, a list for each sum, and the values to tell apart, a list for each column; None: no value."""
        sums = [summed.numbers(columns[summed.column]) for summed in self.sums]
        return sums, [_values(columns[name], self.spec.columns[name]) for name in self.distinct]


def _sum_key(aggregate: WindowAggregate) -> tuple[object, ...]:
    return (aggregate.column, None if aggregate.where is None else aggregate.where.model_dump_json())


def _summed(aggregate: WindowAggregate, kind: ValueKind) -> SummedColumn:
    matches = None if aggregate.where is None else matcher(aggregate.where, kind)
    return SummedColumn(str(aggregate.column), matches is not None or kind != "float", matches)


def _values(column: NDArray[Any], kind: ValueKind) -> list[Any]:
    values: list[Any] = column.tolist()
    blank: object = {"string": b"", "port": NO_PORT}.get(kind)
    if kind == "float":
        return [None if isnan(value) else value for value in values]
    return values if blank is None or blank not in values else [None if value == blank else value for value in values]
