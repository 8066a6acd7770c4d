"""Runs a new plan once before requests use it, so that work of the first use is done. Core.

The values are made up and the results are dropped. A transform that refuses them is not an error."""

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.errors import InvalidColumn
from serving.features.plan.feature_plan import Plan, Row
from serving.features.rows import BatchAssembly
from serving.features.single_row import single_row
from serving.ports import Columns, FieldInfo, TensorPlan

_DTYPES = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_}


def warm(plan: Plan, assemblies: Iterable[tuple[TensorPlan, ...]] = ()) -> None:
    """Decode one row and two rows as a request does, and assemble the tensors of these bundles."""
    at_us = time.time_ns() // 1000
    rows: list[list[Row]] = [[([None] * group.cells, (at_us,) * len(group.names))] for group in plan.groups]
    try:
        found = single_row(plan, rows, columns_of(plan.info.request_fields, 1), at_us)
        batch = BatchAssembly(np.full(2, at_us, dtype=np.int64))
        for group, (row,) in zip(plan.groups, rows, strict=True):
            batch.add(group, [row, row], None)
        batch.finish(plan, columns_of(plan.info.request_fields, 2))
    except InvalidColumn:
        return
    fields = columns_of(plan.info.request_fields, 1)
    for assembly in assemblies:
        plan.assemblers.of(assembly)
        if found.direct is not None and all(n in fields or n in plan.shown for part in assembly for n in part.columns):
            found.direct(assembly, fields)


async def warm_read(plan: Plan, timeout_s: float) -> None:
    """Make one real read of an entity that does not exist: it opens the connection and fills caches."""
    keys = columns_of(plan.info.join_keys, 1)
    if plan.groups:
        await plan.store.fetch(plan.prepared, [[group.encode_one(keys)] for group in plan.groups], timeout_s)


def columns_of(fields: Iterable[FieldInfo], rows: int) -> Columns:
    """Made-up columns: zeros and empty texts."""
    made: dict[str, NDArray[Any]] = {}
    for field in fields:
        dtype = _DTYPES.get(field.datatype)
        made[field.name] = np.full(rows, b"", dtype=object) if dtype is None else np.zeros(rows, dtype=dtype)
    return made
