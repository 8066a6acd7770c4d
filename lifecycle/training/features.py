"""The features of a dataset's rows: declared windows computed, handed to the store, joined back as of each event.

serving.features.windows computes windows; `FeatureStore` stores and joins them."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from feature_repo.declaration import Column, Declaration, DeclarationError, Window
from lifecycle.datasets.data import Dataset, matches
from lifecycle.datasets.datatypes import DATATYPES, request_types
from lifecycle.datasets.detector import Aggregate, Detector
from lifecycle.errors import DataError, DetectorError
from lifecycle.training.rules import rule_column_names, with_rule_columns
from serving.features.plan.feast import load
from serving.features.plan.feature_plan import service_info
from serving.features.windows.aggregates import Measure, SpanTooLong, Ticks, aggregate
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo

NO_PORT: Final = -1


class FeatureStore(Protocol):
    """The feature store, as training needs it; lifecycle.training.feast_store has the real one."""

    folder: Path

    def apply(self, *what: Declaration) -> None:
        """Register declarations."""
        ...

    def write_rows(self, view: str, rows: Any) -> object:
        """Replace a stored view's rows: keys, event_timestamp (UTC), features."""
        ...

    def training_frame(self, entities: Any, service: str) -> Any:
        """Rows with their features as of each row's event_timestamp, as `view__feature`, in order."""
        ...


def with_features(detector: Detector, data: Dataset, store: FeatureStore) -> tuple[Any, FeatureServiceInfo | None]:
    """The dataset's frame with its features beside it, in the service's order, and the columns that rules make; without declared features
    and such columns, the frame itself."""
    frame, service = _with_stored(detector, data, store)
    return with_rule_columns(detector, frame, request_types(detector)), service


def _with_stored(detector: Detector, data: Dataset, store: FeatureStore) -> tuple[Any, FeatureServiceInfo | None]:
    if detector.features is None or detector.entity is None or data.at_us is None:
        return data.frame, None
    declaration = declaration_of(detector)
    if declaration is None:
        return _with_registered(detector, data, store)
    store.apply(declaration)
    for view, rows in window_views(detector, declaration, data).items():
        store.write_rows(view, rows)
    fields = [c.name for c in declaration.request_fields]
    rows = data.frame[[detector.entity.key, *fields]].assign(event_timestamp=_stamps(data.at_us))
    joined = store.training_frame(rows, declaration.service)[list(declaration.features())]
    return pd.concat([data.frame, joined.reset_index(drop=True)], axis=1), service_of(declaration)


def _with_registered(detector: Detector, data: Dataset, store: FeatureStore) -> tuple[Any, FeatureServiceInfo]:
    """Features of a service that is registered and filled elsewhere."""
    spec, entity = detector.features, detector.entity
    if spec is None or spec.service is None or entity is None or data.at_us is None:
        raise DetectorError(f"detector {detector.name!r}: features.service is not given")
    registered = {s.name: service_info(s) for s in load(store.folder).services}
    service = registered.get(spec.service)
    if service is None:
        raise DetectorError(
            f"detector {detector.name!r}: no feature service {spec.service!r} in {store.folder}; it has {sorted(registered) or 'none'}"
        )
    if [k.name for k in service.join_keys] != [entity.key]:
        raise DetectorError(
            f"detector {detector.name!r}: entity.key is {entity.key!r}, feature service {service.name!r} is looked up by "
            f"{[k.name for k in service.join_keys]}"
        )
    fields = [f.name for f in service.request_fields]
    if missing := [f for f in fields if f not in detector.request_fields]:
        raise DetectorError(f"detector {detector.name!r}: feature service {service.name!r} needs the request fields {missing}")
    rows = data.frame[[entity.key, *fields]].assign(event_timestamp=_stamps(data.at_us))
    joined = store.training_frame(rows, service.name)[[f.name for f in service.features]]
    return pd.concat([data.frame, joined.reset_index(drop=True)], axis=1), service


def declaration_of(detector: Detector) -> Declaration | None:
    """The declaration for the feature store; None if the service is filled elsewhere. Raises DetectorError."""
    spec, entity = detector.features, detector.entity
    if spec is None or entity is None or spec.service is not None:
        return None
    try:
        if spec.declared is None:
            return _own_declaration(detector, entity.key)
        module, _, name = spec.declared.partition(":")
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, DeclarationError) as problem:
        raise DetectorError(f"detector {detector.name!r}: features: {problem}") from problem
    if not isinstance(found, Declaration):
        raise DetectorError(f"detector {detector.name!r}: features.declared {spec.declared} is not a Declaration")
    _check_fits(detector, found, entity.key)
    return found


def service_of(declaration: Declaration) -> FeatureServiceInfo:
    """The declaration's feature service, as the data plane will see it."""
    infos = []
    for window in declaration.windows:
        view = declaration.view(window)
        infos += [
            FeatureInfo(f"{view}__{a.name}", a.datatype, view, a.default, float(window.ttl_s)) for a in declaration.aggregates
        ]
    transform = declaration.transform
    if transform is not None:
        view = declaration.on_demand_view
        infos += [FeatureInfo(f"{view}__{c.name}", c.datatype, view, c.default, None) for c in transform.outputs]
    fields = declaration.request_fields if transform is not None else ()
    return FeatureServiceInfo(
        declaration.service, tuple(FieldInfo(k.name, k.datatype) for k in declaration.keys),
        tuple(FieldInfo(f.name, f.datatype) for f in fields), tuple(infos),
    )  # fmt: skip


def window_views(detector: Detector, declaration: Declaration, data: Dataset) -> dict[str, Any]:
    """One data frame per view: the key, event_timestamp (UTC) and the aggregates."""
    spec, entity = detector.features, detector.entity
    if spec is None or entity is None or data.at_us is None:
        return {}
    codes, names = pd.factorize(data.frame[entity.key], sort=True)
    measures = {a.name: _measure(data.frame, spec.aggregates[a.name], detector.source.columns) for a in declaration.aggregates}
    windows = {declaration.view(w): w.seconds for w in declaration.windows}
    try:
        ticks = aggregate(codes.astype(np.int64), data.at_us, measures, windows)
    except SpanTooLong as problem:
        raise DataError(str(problem)) from problem
    return {view: _frame(entity.key, names, ticks, view) for view in windows}


def _own_declaration(detector: Detector, key: str) -> Declaration:
    spec = detector.features
    assert spec is not None  # noqa: S101  # nosec B101  # the caller looked
    return Declaration(
        name=detector.name,
        keys=(Column(key, DATATYPES[detector.source.columns[key].type]),),
        windows=tuple(Window(w.seconds, w.ttl_s) for w in spec.windows),
        aggregates=tuple(Column(name, "FP64", 0.0) for name in spec.aggregates),
        version=spec.version,
    )


def _check_fits(detector: Detector, declaration: Declaration, key: str) -> None:
    required: Mapping[str, tuple[list[str], list[str]]] = {
        "entity.key": ([key], [k.name for k in declaration.keys]),
        "features.aggregates": (
            sorted(detector.features.aggregates) if detector.features else [],
            sorted(a.name for a in declaration.aggregates),
        ),
        "request_fields": (
            sorted(set(detector.request_fields)),
            sorted({c.name for c in declaration.request_fields} | set(detector.request_fields)),
        ),
    }
    for where, (declared, needed) in required.items():
        if declared != needed:
            raise DetectorError(
                f"detector {detector.name!r}: {where} says {declared}, the feature declaration {declaration.name!r} has {needed}"
            )


def input_columns(detector: Detector, service: FeatureServiceInfo | None) -> tuple[str, ...]:
    """The model's inputs: as declared, else the request fields that no on-demand view turns into features, then all features. Columns that
    rules make come last.

    Raises DetectorError for a declared column that there is not."""
    features = [f.name for f in service.features] if service else []
    transformed = {f.name for f in service.request_fields} if service else set()
    if unknown := [c for c in detector.model.columns if c not in (*detector.request_fields, *features)]:
        raise DetectorError(
            f"detector {detector.name!r}: model.columns names {unknown}; there are {[*detector.request_fields, *features]}"
        )
    own = detector.model.columns or (*(f for f in detector.request_fields if f not in transformed), *features)
    return (*own, *rule_column_names(detector))


def _measure(frame: Any, spec: Aggregate, types: Mapping[str, Any]) -> Measure:
    if spec.column is None:
        return Measure("count", np.zeros(len(frame)))
    column = frame[spec.column]
    if spec.op == "distinct":
        blank = column.isna() | (column == (NO_PORT if types[spec.column].type == "port" else ""))
        return Measure("distinct", pd.factorize(column.where(~blank))[0])
    if spec.where is not None:
        return Measure("mean", matches(column, spec.where))
    return Measure(spec.op, column.to_numpy(dtype=np.float64))


def _frame(key: str, names: Any, ticks: Ticks, view: str) -> Any:
    return pd.DataFrame(
        {key: np.asarray(names, dtype=object)[ticks.entity], "event_timestamp": _stamps(ticks.at_us), **ticks.columns[view]}
    )


def _stamps(at_us: Any) -> Any:
    return pd.to_datetime(at_us, unit="us", utc=True)
