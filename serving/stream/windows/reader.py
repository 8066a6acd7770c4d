"""A FeatureReader that answers for events of the stream out of the windows counted from it.

Views of the windows come from the rows that were read when the batch was counted. On-demand views are computed by the plan's own
functions. Other stored views, and requests that are not about events of the stream, are the ordinary reader's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.features.found_columns import FoundColumns
from serving.features.plan.blocks import DTYPES, default_of
from serving.features.plan.errors import RegistryError
from serving.features.plan.feature_plan import Plan
from serving.features.plan.gather import TensorAssemblers
from serving.features.reader import PlanReader
from serving.features.rows import BatchAssembly
from serving.features.windows.spec import WindowSpec
from serving.ports import Columns, FeatureRows, FeatureServiceInfo
from serving.stream.windows.engine import SECOND_US, WindowRows


class CountedWindows(Protocol):
    """Windows that are counted from a stream. serving.stream.windows.kind.WindowKind has them."""

    @property
    def spec(self) -> WindowSpec:
        """How they are counted."""
        ...

    def find(self, keys: Columns, at_us: NDArray[np.int64]) -> WindowRows | None:
        """The rows of these events; None if they are no events of the stream."""
        ...


@dataclass(frozen=True, slots=True)
class WindowTables:
    """How rows of windows fill the tables of one plan. plan: the service's, laid out for these tables. blocks: for each table of windows
    the places of its features in a row, its dtype, and their defaults. others: features of stored views that
    are no windows -> their view, and their table and place in what the ordinary reader finds."""

    plan: Plan
    blocks: tuple[tuple[NDArray[np.intp], np.dtype[Any], tuple[Any, ...]], ...]
    others: Mapping[str, tuple[str, int, int]]

    @classmethod
    def of(cls, plan: Plan, spec: WindowSpec) -> "WindowTables":
        """Work it out. Raises RegistryError if the registered views are not those that are counted."""
        stored = {view.name: view for view in plan.source.stored}
        counted = {view.name for view in spec.views}
        by_type: dict[str, list[tuple[int, str, Any]]] = {}
        place = 0
        for view in spec.views:
            registered = stored.get(view.name)
            features = {f.name: f for f in registered.features} if registered is not None else {}
            for aggregate in spec.aggregates:
                feature = features.get(aggregate.name)
                if feature is None:
                    raise RegistryError(
                        f"feature service {spec.service!r} has no {view.name}__{aggregate.name}, which the bundle's windows count; "
                        "train the model again, so that its windows are those of the registry"
                    )
                by_type.setdefault(feature.type, []).append((place, f"{view.name}__{aggregate.name}", default_of(feature)))
                place += 1
        blocks = tuple(
            (np.array([at for at, _, _ in each], dtype=np.intp), DTYPES[kind], tuple(default for _, _, default in each))
            for kind, each in by_type.items()
        )
        tables = [[name for _, name, _ in each] for each in by_type.values()]
        others = {
            (name := f"{view.name}__{feature.name}"): (view.name, *plan.layout[name])
            for view in stored.values()
            if view.name not in counted
            for feature in view.features
        }
        tables += [[name] for name in others]
        tables += [list(names) for view in plan.computed for names in view.tables]
        layout = {name: (table, at) for table, names in enumerate(tables) for at, name in enumerate(names)}
        shown = {name: layout[name] for name in plan.shown}
        planned = replace(
            plan, layout=layout, shown=shown, assemblers=TensorAssemblers(shown, [len(names) for names in tables])
        )
        return cls(planned, blocks, others)


class WindowFeatures:
    """Implements ports.FeatureReader over the ordinary reader and the rows of the stream's windows."""

    def __init__(self, ordinary: PlanReader, windows: Mapping[str, CountedWindows]) -> None:
        """windows: by feature service; may change."""
        self._ordinary, self._windows = ordinary, windows
        self._tables: dict[str, tuple[Plan, WindowSpec, WindowTables]] = {}

    def service(self, name: str) -> FeatureServiceInfo:
        """Describe a feature service. Raises FeatureError."""
        return self._ordinary.service(name)

    async def read(
        self, service: str, keys: Columns, request: Columns, at_us: NDArray[np.int64], timeout_s: float | None = None
    ) -> FeatureRows:
        """Read one batch; see ports.FeatureReader.read."""
        counted = self._windows.get(service)
        rows = None if counted is None else counted.find(keys, at_us)
        if counted is None or rows is None:
            return await self._ordinary.read(service, keys, request, at_us, timeout_s)
        spec, tables = counted.spec, self._tables_of(service, counted.spec)
        ordinary = await self._ordinary.read(service, keys, request, at_us, timeout_s) if tables.others else None
        return _assembled(spec, tables, rows, ordinary, request, at_us)

    async def close(self) -> None:
        """Close the ordinary reader."""
        await self._ordinary.close()

    def _tables_of(self, service: str, spec: WindowSpec) -> WindowTables:
        plan = self._ordinary.plan(service)
        known = self._tables.get(service)
        if known is None or known[0] is not plan or known[1] is not spec:
            known = self._tables[service] = (plan, spec, WindowTables.of(plan, spec))
        return known[2]


def _assembled(
    spec: WindowSpec,
    tables: WindowTables,
    rows: WindowRows,
    ordinary: FeatureRows | None,
    request: Columns,
    at_us: NDArray[np.int64],
) -> FeatureRows:
    batch = BatchAssembly(at_us)
    width = len(spec.aggregates)
    ages = at_us - rows.at_us
    ttls = np.array([view.ttl_s * SECOND_US for view in spec.views], dtype=np.int64)
    stale = (ages[:, None] > ttls) | (ages < 0)[:, None] | (rows.at_us == 0)[:, None]
    used = np.broadcast_to(ages[:, None], stale.shape)[~stale]
    if used.size:
        batch.oldest_us = int(used.max())
    batch.event_times_us.update((view.name, rows.at_us) for view in spec.views)
    gone = np.repeat(stale, width, axis=1)
    for places, dtype, defaults in tables.blocks:
        table = np.where(gone[:, places], np.array(defaults, dtype=dtype), rows.values[:, places].astype(dtype))
        batch.tables.append(table)
    if stale.any():
        batch.degraded = stale.any(axis=1)
        names = list(chain.from_iterable([f"{v.name}__{a.name}" for a in spec.aggregates] for v in spec.views))
        batch.defaulted.update((names[place], gone[:, place].copy()) for place in np.flatnonzero(gone.any(axis=0)).tolist())
    if ordinary is not None:
        _add_others(batch, tables, ordinary)
    return batch.finish(tables.plan, request)


def _add_others(batch: BatchAssembly, tables: WindowTables, ordinary: FeatureRows) -> None:
    """Views that are no windows, as the ordinary reader found them."""
    found = ordinary.columns
    if not isinstance(found, FoundColumns):
        raise TypeError(f"the ordinary reader gave {type(found).__name__}, expected the columns of a plan")
    for name, (view, table, place) in tables.others.items():
        batch.tables.append(found.tables[table][:, place].reshape(-1, 1))
        batch.event_times_us[view] = ordinary.event_times_us[view]
        if name in ordinary.defaulted:
            batch.defaulted[name] = ordinary.defaulted[name]
            batch.degraded = batch.degraded | ordinary.defaulted[name]
    if ordinary.oldest_age_ms is not None:
        batch.oldest_us = max(batch.oldest_us, round(ordinary.oldest_age_ms * 1000))
    batch.outcome, batch.sources = ordinary.outcome, ordinary.sources
