"""How a bundle's columns are called in the data that it was trained on, for batch jobs: from its detector file.

A bundle that was made elsewhere has its own columns only."""

from typing import Any

import msgspec

from lifecycle.datasets.declarations import detector_of
from lifecycle.datasets.detector import Aggregate, Detector
from lifecycle.training.features import declaration_of
from serving.batch.data.source import Source, SourceAggregate, SourceColumn, SourceMatch, SourceTime, SourceWindows
from serving.models.manifest import Manifest

_KINDS = {"string": "string", "float": "float", "int": "int", "port": "port", "bool": "bool"}


def source_of(manifest: Manifest) -> Source:
    """What batch scoring must know of the data. Raises DetectorError."""
    detector = detector_of(manifest)
    fields = (*manifest.entity_keys, *manifest.request_fields) if manifest.assembly else manifest.inputs
    own = {field.name: _kind(field.datatype) for field in fields}
    keys = tuple(key.name for key in manifest.entity_keys)
    tensors = {t.name: t.datatype for t in manifest.inputs}
    narrow = {c for part in manifest.assembly if tensors[part.tensor] == "FP32" for c in part.columns}
    narrow |= {name for name, datatype in tensors.items() if datatype == "FP32"}
    stamp = manifest.event_time_field
    times = () if stamp is None else (SourceTime(stamp),)
    if detector is None:
        columns = tuple(_column(name, kind, narrow) for name, kind in own.items())
        return Source(columns, keys, tuple(own), times)
    windows = _windows(detector)
    counted = {a.column for a in windows.aggregates.values() if a.column} if windows else set()
    declared = detector.source.columns
    columns = tuple(_declared(detector, name, narrow) for name in dict.fromkeys((*own, *sorted(counted))) if name in declared)
    columns += tuple(_column(name, kind, narrow) for name, kind in own.items() if name not in declared)
    spec = detector.event_time
    if spec is not None:
        names = [declared[c].source or c if c is not None else None for c in (spec.column, spec.duration)]
        times = (SourceTime(str(names[0]), spec.timezone, names[1]), *times)
    return Source(columns, keys, tuple(own), times, windows)


def _windows(detector: Detector) -> SourceWindows | None:
    declaration, spec, entity = declaration_of(detector), detector.features, detector.entity
    if declaration is None or spec is None or entity is None:
        return None
    return SourceWindows(
        key=entity.key,
        views={declaration.view(w): w.seconds for w in declaration.windows},
        aggregates={a.name: _aggregate(spec.aggregates[a.name]) for a in declaration.aggregates},
        ttl_s=max(w.ttl_s for w in declaration.windows),
    )


def _aggregate(spec: Aggregate) -> SourceAggregate:
    where = None if spec.where is None else SourceMatch(spec.where.equals, spec.where.contains, spec.where.not_equals)
    return SourceAggregate(spec.op, spec.column, where)


def _declared(detector: Detector, name: str, narrow: set[str]) -> SourceColumn:
    column, field = detector.source.columns[name], detector.request_fields.get(name)
    default = None if field is None else field.default
    kind: Any = _KINDS[column.type]
    return SourceColumn(name, kind, column.source, default, name in narrow)


def _column(name: str, kind: str, narrow: set[str]) -> SourceColumn:
    return msgspec.convert({"name": name, "kind": kind, "is_narrow": name in narrow}, SourceColumn)


def _kind(datatype: str) -> str:
    if datatype == "BYTES":
        return "string"
    return "bool" if datatype == "BOOL" else "float" if datatype.startswith("FP") else "int"
