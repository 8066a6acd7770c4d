"""A batch of one row, the usual request: the same answer as `rows.BatchAssembly` gives, without arrays for single numbers. Core.

It is written flat because most of a request's feature time is spent here. A property test holds the two equal."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.features.found_columns import FoundColumns, FoundTimes
from serving.features.plan.feature_plan import Plan, Row
from serving.ports import Columns, FeatureRows, ReadOutcome


def _constant(value: bool) -> NDArray[np.bool_]:
    """A read-only array that all answers share."""
    made = np.array((value,))
    made.setflags(write=False)
    return made


_YES: Final = _constant(True)
_NO: Final = _constant(False)


def single_row(plan: Plan, found: Sequence[Sequence[Row]], request: Columns, at_us: int) -> FeatureRows:
    """Decode what the store has for one row, judged at at_us. Raises InvalidColumn."""
    tables: list[NDArray[Any]] = []
    gone: list[str] = []
    times: list[int] = []
    oldest_us = -1
    for group, (row,) in zip(plan.groups, found, strict=True):
        cells, stamps = row
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
    columns = FoundColumns(tables, plan.shown, plan.assemblers, 1)
    return FeatureRows(
        columns,
        {name: _YES for name in gone if name not in plan.hidden} if gone else {},
        _YES if gone else _NO,
        FoundTimes(plan.times, times),
        oldest_us / 1000 if oldest_us >= 0 else None,
        ReadOutcome.OK,
        columns.tensors,
    )
