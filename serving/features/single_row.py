"""A batch of one row, the usual request: the same answer as `rows.BatchAssembly` gives, without arrays for single numbers. Core.

It is written flat because most of a request's feature time is spent here. A property test holds the two equal."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.features.found_columns import FoundColumns, FoundTimes
from serving.features.plan.blocks import OBJECT
from serving.features.plan.feature_plan import NOT_KEPT, Group, Plan, Row, RowMemo
from serving.ports import Columns, FeatureRows, ReadOutcome


def _constant(value: bool) -> NDArray[np.bool_]:
    """A read-only array that all answers share."""
    made = np.array((value,))
    made.setflags(write=False)
    return made


NOT_SAID: Final[tuple[str, ...]] = ()
"""The sources of rows of a reader without a near cache."""
STORE: Final = ("store",)
NEAR_CACHE: Final = ("near_cache",)
_YES: Final = _constant(True)
_NO: Final = _constant(False)


def single_row(plan: Plan, found: Sequence[Sequence[Row]], request: Columns, at_us: int) -> FeatureRows:
    """Decode what the store has for one row, judged at at_us. Raises InvalidColumn."""
    tables: list[NDArray[Any]] = []
    gone: list[str] = []
    times: list[int] = []
    oldest_us, source = -1, NOT_SAID
    known: RowMemo | None = None
    for group, (row,) in zip(plan.groups, found, strict=True):
        cells, stamps = row[0], row[1]
        times += stamps
        stale: list[int] = []
        first_us = stamps[0]
        if stamps.count(first_us) == len(stamps) and first_us and 0 <= at_us - first_us <= group.least_ttl_us:
            oldest_us = max(oldest_us, at_us - first_us)  # the usual case: written together
        else:
            for index, time_us in enumerate(stamps):
                age_us = at_us - time_us
                if not 0 <= age_us <= group.ttls_us[index] or not time_us:
                    stale.append(index)
                elif age_us > oldest_us:
                    oldest_us = age_us
        if len(row) == 3:
            source = NEAR_CACHE if row[2].is_hit or source is NEAR_CACHE else STORE
            memo, is_usable = row[2], not stale or is_absent(cells)
            if memo is not NOT_KEPT and is_usable and (memo.tables is not None or remembered(group, row, memo)):
                tables += memo.tables or ()
                gone += memo.gone
                known = memo
                continue
        for block in group.blocks:
            own = block.take(cells)
            if stale:
                own = [None if view in stale else cell for view, cell in zip(block.views, own, strict=True)]
            values, missing = block.decode(own, block.defaults)
            tables.append(values)
            if missing:
                gone += [block.names[place] for place in missing]
    for computed in plan.computed:
        tables += computed(request, tables, plan.layout, 1)
    is_all = known is not None and known.is_hit and len(plan.groups) == 1 and not plan.computed  # nothing but this row's tables
    columns = FoundColumns(tables, plan.shown, plan.assemblers, 1, known if is_all else None)
    return FeatureRows(
        columns,
        {name: _YES for name in gone if name not in plan.hidden} if gone else {},
        _YES if gone else _NO,
        FoundTimes(plan.times, times),
        oldest_us / 1000 if oldest_us >= 0 else None,
        ReadOutcome.OK,
        columns.tensors,
        source,
    )


def is_absent(cells: Sequence[Any]) -> bool:
    """Whether the store has nothing of the entity: its defaults do not depend on the time."""
    return cells.count(None) == len(cells)


def remembered(group: Group, row: Row, memo: RowMemo) -> bool:
    """Decode a row that is kept, once. False for rows that hold lists, which a transform might change: they are decoded for each use."""
    if memo.tables is not None:
        return True
    tables, gone = [], []
    for block in group.blocks:
        values, missing = block.decode(block.take(row[0]), block.defaults)
        if values.dtype == OBJECT:
            return False
        values.setflags(write=False)
        tables.append(values)
        gone += [block.names[place] for place in missing]
    memo.tables, memo.gone = tables, tuple(gone)
    return True
