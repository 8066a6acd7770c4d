"""An in-memory FeatureReader: stored values with event times, ages judged as the real one judges them. Keeps its contract."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.features.plan.errors import InvalidColumn, UnknownService
from serving.ports import FeatureInfo, FeatureRows, FeatureServiceInfo, FieldInfo, ReadOutcome

DTYPES = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


class FakeFeatureReader:
    """Holds services and rows. `is_down` plays a store that fails. computed: values of features no view stores."""

    def __init__(self, *services: FeatureServiceInfo, computed: Mapping[str, Any] | None = None) -> None:
        self._services = {service.name: service for service in services}
        self._rows: dict[tuple[str, tuple[Any, ...]], tuple[dict[str, Any], int]] = {}
        self._computed = dict(computed or {})
        self.is_down = False
        self.is_closed = False

    def put(self, view: str, key: Sequence[Any], values: Mapping[str, Any], at_us: int) -> None:
        """Store a row; key: the values of the join keys in the service's order, text as bytes. None is a stored null."""
        self._rows[(view, tuple(key))] = (dict(values), at_us)

    def service(self, name: str) -> FeatureServiceInfo:
        if name not in self._services:
            raise UnknownService(f"no feature service {name!r}; there is: {', '.join(sorted(self._services)) or 'none'}")
        return self._services[name]

    async def read(self, service, keys, request, at_us, timeout_s=None) -> FeatureRows:
        info, rows = self.service(service), len(at_us)
        asked = [_column(keys, field, rows) for field in info.join_keys]
        for field in info.request_fields:
            _column(request, field, rows)
        columns, defaulted = {}, {}
        degraded = np.zeros(rows, dtype=np.bool_)
        times: dict[str, Any] = {}
        oldest_us = -1
        for feature in info.features:
            short = feature.name.removeprefix(f"{feature.view}__")
            if feature.name in self._computed:
                columns[feature.name] = np.full(rows, self._computed[feature.name], dtype=DTYPES[feature.datatype])
                continue
            column, gone = np.empty(rows, dtype=DTYPES[feature.datatype]), np.zeros(rows, dtype=np.bool_)
            seen = times.setdefault(feature.view, np.zeros(rows, dtype=np.int64))
            for i in range(rows):
                value, at = self._find(feature, short, tuple(a[i] for a in asked))
                seen[i] = at
                age_us = int(at_us[i]) - at
                is_usable = at > 0 and age_us >= 0 and (feature.ttl_s is None or age_us <= feature.ttl_s * 1e6)
                if is_usable:
                    oldest_us = max(oldest_us, age_us)
                gone[i] = not is_usable or value is None
                column[i] = feature.default if gone[i] else value
            columns[feature.name] = column
            if gone.any():
                defaulted[feature.name] = gone
                degraded |= gone
        outcome = ReadOutcome.FAILED if self.is_down else ReadOutcome.OK
        return FeatureRows(columns, defaulted, degraded, times, oldest_us / 1000 if oldest_us >= 0 else None, outcome)

    def _find(self, feature: FeatureInfo, short: str, key: tuple[Any, ...]) -> tuple[Any, int]:
        values, at_us = self._rows.get((feature.view, key), ({}, 0))
        return (None, 0) if self.is_down else (values.get(short), at_us)

    async def close(self) -> None:
        self.is_closed = True


def _column(columns: Mapping[str, Any], field: FieldInfo, rows: int) -> list[Any]:
    if field.name not in columns:
        raise InvalidColumn(f"column {field.name!r} is missing")
    column = columns[field.name]
    if column.shape != (rows,):
        raise InvalidColumn(f"column {field.name!r} has shape {list(column.shape)}, expected [{rows}]")
    if field.datatype.startswith("INT") and column.dtype.kind not in "iu":
        raise InvalidColumn(f"column {field.name!r} holds {column.dtype} values, expected whole numbers")
    if field.datatype == "BYTES" and column.dtype.kind != "O":
        raise InvalidColumn(f"column {field.name!r} holds {column.dtype} values, expected BYTES")
    return column.tolist()
