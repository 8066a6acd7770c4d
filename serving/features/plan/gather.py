"""From the tables of one read to the graph's tensors, without going by names: worked out once per plan and bundle. Core.

The same tensors as serving.models.assembly makes of the columns; a contract test holds the two equal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.ports import Columns, TensorPlan

Layout = Mapping[str, tuple[int, int]]
"""Feature name -> its table and its place in the table's rows."""
Tables = Sequence[NDArray[Any]]
"""Decoded values, each of shape (n, features of that table)."""
TensorAssembler = Callable[[Tables, Columns, int], dict[str, NDArray[Any]]]
"""Tables and request fields of n rows -> tensors by name."""

_Places = slice | NDArray[np.intp]
_MOST_ASSEMBLIES: Final = 64
"""Bundles a plan remembers; a day of new bundles must not grow it."""


class TensorAssemblers:
    """The gathers of one plan, by assembly."""

    def __init__(self, layout: Layout, widths: Sequence[int]) -> None:
        """layout: of the columns that are shown; what else a tensor takes is a field of the request. widths: of the tables."""
        self._layout, self._widths = layout, tuple(widths)
        self._known: dict[
            int, tuple[tuple[TensorPlan, ...], TensorAssembler]
        ] = {}  # by id: hashing an assembly takes longer than using it

    def of(self, assembly: tuple[TensorPlan, ...]) -> TensorAssembler:
        """The gather for this assembly, made at its first use."""
        known = self._known.get(id(assembly))
        if known is not None:
            return known[1]
        if len(self._known) >= _MOST_ASSEMBLIES:
            self._known.clear()
        made = compile_assembler(self._layout, self._widths, assembly)
        self._known[id(assembly)] = (assembly, made)  # kept with it, so that the id stays its own
        return made

    @property
    def assemblies(self) -> tuple[tuple[TensorPlan, ...], ...]:
        """What it has been used for."""
        return tuple(assembly for assembly, _ in self._known.values())


def compile_assembler(layout: Layout, widths: Sequence[int], assembly: Sequence[TensorPlan]) -> TensorAssembler:
    """Work out where each value of each tensor comes from."""
    makers = [(part.name, _matrix(layout, widths, part) if part.is_matrix else _vector(layout, part)) for part in assembly]
    if len(makers) == 1:
        ((name, make),) = makers
        return lambda tables, fields, rows: {name: make(tables, fields, rows)}
    return lambda tables, fields, rows: {name: make(tables, fields, rows) for name, make in makers}


def _vector(layout: Layout, part: TensorPlan) -> Callable[[Tables, Columns, int], NDArray[Any]]:
    (name,), dtype = part.columns[:1], part.dtype
    if name not in layout:
        return lambda tables, fields, rows: fields[name].astype(dtype, copy=False)
    table, place = layout[name]
    return lambda tables, fields, rows: tables[table][:, place].astype(dtype)


def _matrix(layout: Layout, widths: Sequence[int], part: TensorPlan) -> Callable[[Tables, Columns, int], NDArray[Any]]:
    width, dtype = len(part.columns), part.dtype
    by_table: dict[int, list[tuple[int, int]]] = {}
    fields: list[tuple[int, str]] = []
    for target, name in enumerate(part.columns):
        if name in layout:
            table, place = layout[name]
            by_table.setdefault(table, []).append((target, place))
        else:
            fields.append((target, name))
    steps = [
        (table, _places([target for target, _ in pairs]), _source([place for _, place in pairs], widths[table]))
        for table, pairs in by_table.items()
    ]

    def make(tables: Tables, columns: Columns, rows: int) -> NDArray[Any]:
        tensor = np.empty((rows, width), dtype=dtype)
        for table, targets, sources in steps:
            tensor[:, targets] = tables[table] if sources is None else tables[table][:, sources]
        for target, name in fields:
            tensor[:, target] = columns[name]
        return tensor

    if len(steps) == 1 and not fields:  # the tensor is one table, in its order or in another
        only, _, order = steps[0]
        if isinstance(order, np.ndarray):
            return lambda tables, columns, rows: tables[only].take(order, 1).astype(dtype)
        if order is None:
            return lambda tables, columns, rows: tables[only].astype(dtype, order="C")
    return make


def _places(places: list[int]) -> _Places:
    """As a slice where they follow each other: numpy is three times as fast with it."""
    first = places[0]
    if places == list(range(first, first + len(places))):
        return slice(first, first + len(places))
    return np.array(places, dtype=np.intp)


def _source(places: list[int], width: int) -> _Places | None:
    """None for a whole table in its order."""
    return None if places == list(range(width)) else _places(places)
