"""From what a store returned for many rows to FeatureRows: decode, judge ages, put defaults in place, compute. Core."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.found_columns import FoundColumns
from serving.features.plan.blocks import Block
from serving.features.plan.feature_plan import Group, Plan, Row
from serving.features.single_row import NEAR_CACHE, NOT_SAID, STORE
from serving.ports import Columns, FeatureRows, ReadOutcome

Times = NDArray[np.int64]
Flags = NDArray[np.bool_]


class BatchAssembly:
    """The batch being put together: n rows, judged at at_us (n,)."""

    def __init__(self, at_us: Times) -> None:
        """Start with nothing read."""
        self.at_us, self.rows = at_us, len(at_us)
        self.tables: list[NDArray[Any]] = []
        self.defaulted: dict[str, Flags] = {}
        self.degraded: Flags = np.zeros(self.rows, dtype=np.bool_)
        self.event_times_us: dict[str, Times] = {}
        self.oldest_us = -1
        self.outcome = ReadOutcome.OK
        self.sources: Sequence[str] = NOT_SAID

    def add(self, group: Group, found: Sequence[Row], inverse: Sequence[int] | None) -> None:
        """Add one group's views. found: a row a distinct key; inverse: the place in found of each row of the batch."""
        order = None if inverse is None else np.array(inverse, dtype=np.intp)
        stale = self._ages(group, found, order)
        if found and len(found[0]) == 3:
            self._note_sources(found, inverse)
        for block in group.blocks:
            self._decode(block, found, order, stale)

    def add_failed(self, group: Group, outcome: ReadOutcome) -> None:
        """The store did not answer: defaults everywhere."""
        self.outcome = outcome
        everything = np.ones(self.rows, dtype=np.bool_)
        nothing = np.zeros(self.rows, dtype=np.int64)
        self.degraded = everything
        self.event_times_us.update(dict.fromkeys(group.names, nothing))
        for block in group.blocks:
            values, _ = block.decode([None] * len(block.names), block.defaults)
            self.tables.append(np.repeat(values, self.rows, axis=0))
            self.defaulted.update(dict.fromkeys(block.names, everything))

    def _note_sources(self, found: Sequence[Row], inverse: Sequence[int] | None) -> None:
        """Which rows of the batch have values that were in memory; one group is enough."""
        words = [(NEAR_CACHE if len(row) == 3 and row[2].is_hit else STORE)[0] for row in found]
        own = words if inverse is None else [words[place] for place in inverse]
        if self.sources:
            own = [word if word == NEAR_CACHE[0] else before for word, before in zip(own, self.sources, strict=True)]
        self.sources = own

    def _ages(self, group: Group, found: Sequence[Row], order: NDArray[np.intp] | None) -> Flags | None:
        """Which rows of the batch are too old, from the future or absent, by view (n, views); None if none is."""
        views = len(group.names)
        times = np.fromiter(chain.from_iterable([row[1] for row in found]), np.int64, len(found) * views).reshape(-1, views)
        if order is not None:
            times = times[order]
        self.event_times_us.update(zip(group.names, np.ascontiguousarray(times.T), strict=True))
        ages = self.at_us[:, None] - times
        stale: Flags = (ages < 0) | (times == 0) | (ages > np.array(group.ttls_us))
        is_stale = bool(stale.any())
        if is_stale:
            self.degraded |= stale.any(axis=1)
            ages = ages[~stale]
        if ages.size:
            self.oldest_us = max(self.oldest_us, int(ages.max()))
        return stale if is_stale else None

    def _decode(self, block: Block, found: Sequence[Row], order: NDArray[np.intp] | None, stale: Flags | None) -> None:
        cells = list(chain.from_iterable([block.take(row[0]) for row in found]))
        table, missing = block.decode(cells, block.defaults)
        gone: Flags | None = None
        if missing:
            gone = np.zeros(table.shape, dtype=np.bool_)
            gone.reshape(-1)[missing] = True
        if order is not None:
            table = table[order]
            gone = gone if gone is None else gone[order]
        if stale is not None:
            too_old = stale[:, block.views]
            table = _with_defaults(table, too_old, block.defaults)
            gone = too_old if gone is None else gone | too_old
        if gone is not None:
            self.degraded |= gone.any(axis=1)
            for place in np.flatnonzero(gone.any(axis=0)).tolist():
                self.defaulted[block.names[place]] = np.ascontiguousarray(gone[:, place])
        self.tables.append(table)

    def finish(self, plan: Plan, request: Columns) -> FeatureRows:
        """Compute the on-demand views and hand the batch out. Raises InvalidColumn."""
        for computed in plan.computed:
            self.tables += computed(request, self.tables, plan.layout, self.rows)
        for name in plan.hidden:
            self.defaulted.pop(name, None)
        oldest_ms = self.oldest_us / 1000 if self.oldest_us >= 0 else None
        columns = FoundColumns(self.tables, plan.shown, plan.assemblers, self.rows)
        return FeatureRows(
            columns,
            self.defaulted,
            self.degraded,
            self.event_times_us,
            oldest_ms,
            self.outcome,
            columns.tensors,
            self.sources,
        )


def _with_defaults(table: NDArray[Any], where: Flags, defaults: Sequence[Any]) -> NDArray[Any]:
    """A copy of the table (n, features) with the defaults where `where` says so."""
    table = table.copy()
    for place in np.flatnonzero(where.any(axis=0)).tolist():
        if table.dtype != object:
            table[where[:, place], place] = defaults[place]
            continue
        for row in np.flatnonzero(where[:, place]):  # not in one: numpy would take a list for further dimensions
            table[row, place] = defaults[place]
    return table
