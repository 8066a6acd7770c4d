"""A FeatureReader for a frame that already has its features: it describes the bundle's own service, and reads no store."""

import numpy as np
from numpy.typing import NDArray

from serving.models.manifest import Manifest
from serving.ports import Columns, FeatureInfo, FeatureRows, FeatureServiceInfo, FieldInfo, ReadOutcome


class GivenFeatures:
    """Implements ports.FeatureReader for one bundle, which is asked with tensors."""

    def __init__(self, manifest: Manifest) -> None:
        tensors = {t.name: t.datatype for t in manifest.inputs}
        fields = {f.name for f in manifest.request_fields}
        self._features = tuple(
            FeatureInfo(column, "BYTES", column.partition("__")[0], "", None)
            if tensors[part.tensor] == "BYTES"
            else FeatureInfo(column, "FP64", column.partition("__")[0], 0.0, None)
            for part in manifest.assembly
            for column in part.columns
            if column not in fields
        )
        self._keys = tuple(FieldInfo(key.name, key.datatype) for key in manifest.entity_keys)

    def service(self, name: str) -> FeatureServiceInfo:
        """What the bundle takes, under any name."""
        return FeatureServiceInfo(name, self._keys, (), self._features)

    async def read(
        self, service: str, keys: Columns, request: Columns, at_us: NDArray[np.int64], timeout_s: float | None = None
    ) -> FeatureRows:
        """Defaults, with every row degraded: nothing is stored."""
        rows = len(at_us)
        columns = {
            f.name: np.full(rows, f.default, dtype=object if f.datatype == "BYTES" else np.float64) for f in self._features
        }
        everything = np.ones(rows, dtype=np.bool_)
        return FeatureRows(columns, dict.fromkeys(columns, everything), everything, {}, None, ReadOutcome.NO_CONNECTION)

    async def close(self) -> None:
        """Nothing is open."""
