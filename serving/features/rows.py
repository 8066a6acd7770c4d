"""From what a store returned to FeatureRows: decode, judge ages, put defaults in place, compute. Core."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.blocks import Block
from serving.features.plan import Group, Plan, Row
from serving.ports import Columns, FeatureRows

Times = NDArray[np.int64]


class Assembly:
    """The batch being put together: n rows, judged at at_us (n,)."""

    def __init__(self, at_us: Times) -> None:
        """Start with nothing read."""
        self.at_us, self.rows = at_us, len(at_us)
        self.columns: dict[str, NDArray[Any]] = {}
        self.defaulted: dict[str, NDArray[np.bool_]] = {}
        self.degraded: NDArray[np.bool_] = np.zeros(self.rows, dtype=np.bool_)
        self.event_times_us: dict[str, Times] = {}
        self.oldest_us = -1

    def add(self, group: Group, found: Sequence[Row], inverse: Sequence[int] | None) -> None:
        """Add one group's views. found: a row a distinct key; inverse: the place in found of each row of the batch."""
        stale = [self._ages(group, index, found, inverse) for index in range(len(group.views))]
        for block in group.blocks:
            self._decode(block, found, inverse, stale)

    def add_failed(self, group: Group) -> None:
        """The store did not answer: defaults everywhere."""
        everything = np.ones(self.rows, dtype=np.bool_)
        nothing = np.zeros(self.rows, dtype=np.int64)
        self.degraded = everything
        self.event_times_us.update(dict.fromkeys(group.names, nothing))
        for block in group.blocks:
            values, _ = block.decode([None] * len(block.names), block.defaults)
            for place, name in enumerate(block.names):
                self.columns[name] = _repeat(values, place, self.rows)
                self.defaulted[name] = everything

    def _ages(self, group: Group, index: int, found: Sequence[Row], inverse: Sequence[int] | None) -> NDArray[np.bool_] | None:
        """Which rows of the batch are too old, from the future or absent in one view; None if none is."""
        times = np.array([row[1][index] for row in found], dtype=np.int64)
        if inverse is not None:
            times = times[inverse]
        self.event_times_us[group.names[index]] = times
        ages = self.at_us - times
        stale: NDArray[np.bool_] = (ages < 0) | (times == 0)
        stale |= ages > group.ttls_us[index]
        is_stale = bool(stale.any())
        if is_stale:
            self.degraded |= stale
            ages = ages[~stale]
        if len(ages):
            self.oldest_us = max(self.oldest_us, int(ages.max()))
        return stale if is_stale else None

    def _decode(
        self, block: Block, found: Sequence[Row], inverse: Sequence[int] | None, stale: Sequence[NDArray[np.bool_] | None]
    ) -> None:
        width = len(block.names)
        cells = [row[0][place] for row in found for place in block.places]
        values, missing = block.decode(cells, block.defaults)
        table = values.reshape(len(found), width)
        absent: NDArray[np.bool_] | None = None
        if missing:
            absent = np.zeros(len(cells), dtype=np.bool_)
            absent[missing] = True
            absent = absent.reshape(len(found), width)
        if inverse is not None:
            table = table[inverse]
            absent = absent if absent is None else absent[inverse]
        by_feature = np.ascontiguousarray(table.T)
        for place, name in enumerate(block.names):
            gone = stale[block.views[place]]
            if gone is not None:
                _put(by_feature[place], gone, block.defaults[place])
            if absent is not None and absent[:, place].any():
                gone = absent[:, place] if gone is None else gone | absent[:, place]
                self.degraded |= gone
            if gone is not None:
                self.defaulted[name] = gone
            self.columns[name] = by_feature[place]

    def finish(self, plan: Plan, request: Columns) -> FeatureRows:
        """Compute the on-demand views and hand the batch out. Raises InvalidColumn."""
        columns: Mapping[str, NDArray[Any]] = self.columns
        for computed in plan.computed:
            self.columns.update(computed(request, columns, self.rows))
        for name in plan.hidden:
            del self.columns[name]
            self.defaulted.pop(name, None)
        oldest_ms = self.oldest_us / 1000 if self.oldest_us >= 0 else None
        return FeatureRows(self.columns, self.defaulted, self.degraded, self.event_times_us, oldest_ms)


def _put(column: NDArray[Any], where: NDArray[np.bool_], value: Any) -> None:
    if column.dtype != object:
        column[where] = value
        return
    for place in np.flatnonzero(where):
        column[place] = value


def _repeat(values: NDArray[Any], place: int, rows: int) -> NDArray[Any]:
    """One value as a column of `rows`."""
    column = np.empty(rows, dtype=values.dtype)
    _put(column, np.ones(rows, dtype=np.bool_), values[place])
    return column
