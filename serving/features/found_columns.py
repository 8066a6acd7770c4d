"""The features that were read: tables of decoded values, and columns that are made of them at their first use. Core.

Most requests need only the model's tensors. The audit record, the mirror and the command line need columns by name. Making twenty
columns of one number each takes longer than reading them from Redis."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.feature_plan import RowMemo
from serving.features.plan.gather import Layout, Tables, TensorAssemblers
from serving.ports import Columns, TensorPlan


class FoundColumns(Mapping[str, NDArray[Any]]):
    """The port's columns over the tables of one read. layout: of the columns that are shown."""

    __slots__ = ("_gathers", "_layout", "_memo", "_rows", "_tables")

    def __init__(
        self, tables: Tables, layout: Layout, assemblers: TensorAssemblers, rows: int, memo: RowMemo | None = None
    ) -> None:
        """memo: of the one row that all these tables are of and that was found in memory; it keeps the tensors that are made of it."""
        self._tables, self._layout, self._gathers, self._rows, self._memo = tables, layout, assemblers, rows, memo

    @property
    def tables(self) -> Tables:
        """The tables as they were read, hidden features included."""
        return self._tables

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column of its own: changing it changes nothing else."""
        table, place = self._layout[name]
        return self._tables[table][:, place].copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout)

    def __len__(self) -> int:
        return len(self._layout)

    def tensors(self, assembly: tuple[TensorPlan, ...], fields: Columns) -> dict[str, NDArray[Any]]:
        """See ports.FeatureRows.direct. Tensors that a near cache keeps are read-only."""
        assemble, memo = self._gathers.of(assembly), self._memo
        if memo is None or fields:
            return assemble(self._tables, fields, self._rows)
        kept = memo.assembled
        if kept is None or kept[0] is not assemble:
            made = assemble(self._tables, fields, self._rows)
            for tensor in made.values():
                tensor.setflags(write=False)
            kept = memo.assembled = (assemble, made)
        return kept[1].copy()


class FoundTimes(Mapping[str, NDArray[np.int64]]):
    """Event times of one row by view, from the numbers as they were read."""

    __slots__ = ("_places", "_times_us")

    def __init__(self, places: Mapping[str, int], times_us: Sequence[int]) -> None:
        self._places, self._times_us = places, times_us

    def __getitem__(self, view: str) -> NDArray[np.int64]:
        return np.array((self._times_us[self._places[view]],), dtype=np.int64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
