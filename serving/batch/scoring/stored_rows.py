"""Rows of feature views that were stored elsewhere (Feast's offline store), read for the time of one unit."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.batch.errors import BatchInputError
from serving.features.windows.aggregates import Ticks
from serving.features.windows.as_of import AsOfRows

EVENT: Final = "event_timestamp"
_EPOCH_US: Final = -(2**61)


class StoredRows:
    """Views in Parquet files. keys: the columns by which each is looked up."""

    def __init__(self, views: Mapping[str, str], keys: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._views, self._keys = views, keys or {}

    def between(self, from_us: int, to_us: int) -> dict[str, AsOfRows]:
        """The rows of every view from the one moment on and before the other. Raises BatchInputError."""
        return {view: self._rows(view, path, from_us, to_us) for view, path in self._views.items()}

    def _rows(self, view: str, path: str, from_us: int, to_us: int) -> AsOfRows:
        low, high = (pa.scalar(max(t, _EPOCH_US), pa.timestamp("us", "UTC")) for t in (from_us, to_us))
        try:
            table = pq.read_table(path, filters=(pc.field(EVENT) >= low) & (pc.field(EVENT) < high))
        except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as problem:
            raise BatchInputError(f"{path}: the rows of view {view!r} cannot be read: {problem}") from problem
        names = self._keys.get(view, ())
        columns = [_plain(table[name]) for name in names]
        keys: list[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        codes: dict[Any, int] = {}
        who = np.fromiter((codes.setdefault(key, len(codes)) for key in keys), np.int64, table.num_rows)
        at_us = table[EVENT].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_numpy()
        order = np.lexsort((np.arange(len(who)), at_us, who))
        is_last = np.append((np.diff(who[order]) != 0) | (np.diff(at_us[order]) != 0), True)[: len(order)]
        order = order[is_last]
        features = {name: table[name].to_numpy()[order] for name in table.schema.names if name not in (*names, EVENT)}
        return AsOfRows(codes, Ticks(who[order], at_us[order], {view: features}))


def _plain(column: Any) -> list[Any]:
    return [value.encode() if isinstance(value, str) else value for value in column.to_pylist()]
