"""From columns and features to the graph's tensors. Core; worked out once per bundle, then a few array writes a request."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.messages import DTYPES
from serving.models.manifest import Manifest
from serving.ports import Columns, FeatureRows, TensorPlan


def plan_assembly(manifest: Manifest) -> tuple[TensorPlan, ...]:
    """Work out how a bundle's tensors are put together. Empty if it only takes tensors."""
    specs = {t.name: t for t in manifest.inputs}
    return tuple(
        TensorPlan(part.tensor, DTYPES[specs[part.tensor].datatype], part.columns, len(specs[part.tensor].shape) > 1)
        for part in manifest.assembly
    )


def feed_of(plan: tuple[TensorPlan, ...], fields: Columns, found: FeatureRows | None, rows: int) -> dict[str, NDArray[Any]]:
    """The graph's tensors from request fields and the features that were read, the shorter way if the reader knows one."""
    if found is None:
        return assemble(plan, fields, rows)
    if found.direct is not None:
        return found.direct(plan, fields)
    return assemble(plan, {**fields, **found.columns}, rows)


def assemble(plan: tuple[TensorPlan, ...], columns: Mapping[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    """Tensors by name. columns: request fields and features, each (rows,). Raises KeyError for a column that is not there."""
    return {part.name: _tensor(part, columns, rows) for part in plan}


def _tensor(part: TensorPlan, columns: Mapping[str, NDArray[Any]], rows: int) -> NDArray[Any]:
    if not part.is_matrix:
        return columns[part.columns[0]].astype(part.dtype, copy=False)
    if rows == 1 and len(part.columns) > 1:  # one call instead of one a column; the casts are the same
        whole = [columns[name] for name in part.columns]
        return np.concatenate(whole, dtype=part.dtype, casting="unsafe").reshape(1, -1)
    tensor = np.empty((rows, len(part.columns)), dtype=part.dtype)
    for index, name in enumerate(part.columns):
        tensor[:, index] = columns[name]
    return tensor
