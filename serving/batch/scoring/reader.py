"""The FeatureReader of a batch: each row gets its features as of its own moment, from rows that were counted or stored before.

The compiled plan of the feature service says ages, defaults and computed views, as behind the doors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.plan import feast
from serving.features.plan.blocks import DTYPES, OBJECT
from serving.features.plan.errors import RegistryError
from serving.features.plan.feature_plan import Group, Plan, compile_service
from serving.features.reader import PlanReader
from serving.features.rows import BatchAssembly
from serving.features.windows.as_of import AsOfRows
from serving.ports import Columns, FeatureRows, ReadOutcome


class HistoryReader(PlanReader):
    """Implements ports.FeatureReader over rows that `use` gives it."""

    def __init__(self, folder: Path, repository: Path | None = None) -> None:
        """Compile the services of the registry in `folder`; none if there is no registry. Raises RegistryError."""
        super().__init__()
        self._views: Mapping[str, AsOfRows] = {}
        if feast.signature(folder) is None:
            return
        definitions = feast.load(folder)
        plans: dict[str, Plan] = {}
        problems = dict(definitions.problems)
        for service in definitions.services:
            try:
                plans[service.name] = compile_service(service, definitions, _NoStore(), repository)
            except RegistryError as problem:
                problems[service.name] = problem.message
        self.swap(plans, problems)

    def use(self, views: Mapping[str, AsOfRows]) -> None:
        """Answer from these rows from now on. views: by name; a view that is not there has no rows."""
        self._views = views

    def keys_of_views(self) -> dict[str, tuple[str, ...]]:
        """The join keys of each view, as it stores them."""
        groups = [group for plan in self._plans.values() for group in plan.groups]
        return {v.view.name: tuple(key.stored for key in v.view.keys) for group in groups for v in group.views}

    async def read(
        self, service: str, keys: Columns, request: Columns, at_us: NDArray[np.int64], timeout_s: float | None = None
    ) -> FeatureRows:
        """Read one batch; see ports.FeatureReader.read."""
        plan, assembly = self.plan(service), BatchAssembly(at_us)
        for group in plan.groups:
            self._add(group, _key_column(group, keys), at_us, assembly)
        return assembly.finish(plan, request)

    def _add(self, group: Group, keys: NDArray[Any], at_us: NDArray[np.int64], assembly: BatchAssembly) -> None:
        places: dict[str, NDArray[np.intp]] = {}
        known: dict[int, tuple[NDArray[np.intp], NDArray[np.int64]]] = {}
        for view, ttl_us in zip(group.names, group.ttls_us, strict=True):
            rows = self._views.get(view)
            if rows is None:
                found, times = np.full(len(at_us), -1), np.zeros(len(at_us), dtype=np.int64)
            elif id(rows) in known:
                found, times = known[id(rows)]
            else:
                found = rows.find(keys, at_us)
                times = rows.at_us[found] if len(rows.at_us) else np.zeros(len(at_us), dtype=np.int64)
                known[id(rows)] = found, times
            ages = at_us - times
            is_used = (found >= 0) & (ages <= ttl_us)
            places[view] = np.where(is_used, found, -1)
            assembly.event_times_us[view] = np.where(found >= 0, times, 0)
            assembly.degraded = assembly.degraded | ~is_used
            if is_used.any():
                assembly.oldest_us = max(assembly.oldest_us, int(ages[is_used].max()))
        types = {f"{v.view.name}__{f.name}": DTYPES.get(f.type, OBJECT) for v in group.views for f in v.view.features}
        for block in group.blocks:
            table = np.empty((len(at_us), len(block.names)), dtype=types[block.names[0]])
            for at, (name, view_at, default) in enumerate(zip(block.names, block.views, block.defaults, strict=True)):
                view = group.names[view_at]
                self._fill(table, at, name.removeprefix(f"{view}__"), view, places[view], default)
                if (missing := places[view] < 0).any():
                    assembly.defaulted[name] = missing
            assembly.tables.append(table)

    def _fill(self, table: NDArray[Any], at: int, feature: str, view: str, places: NDArray[np.intp], default: Any) -> None:
        rows = self._views.get(view)
        if rows is not None and len(rows.at_us):
            table[:, at] = rows.columns[view][feature][places]
        missing = np.flatnonzero(places < 0)
        if table.dtype != object:
            table[missing, at] = default
        else:
            for row in missing:
                table[row, at] = default


def _key_column(group: Group, keys: Columns) -> NDArray[Any]:
    """The column of the group's join key; of several keys, their values as tuples."""
    names = [key.asked for key in group.views[0].view.keys]
    if len(names) == 1:
        return keys[names[0]]
    joined = np.empty(len(keys[names[0]]), dtype=object)
    joined[:] = list(zip(*(keys[name].tolist() for name in names), strict=True))
    return joined


class _NoStore:
    """Nothing is fetched: the rows are at hand."""

    decodes = True

    def prepare(self, project: str, groups: Sequence[Group]) -> Any:
        return None

    async def fetch(self, prepared: Any, keys: Sequence[Sequence[bytes]], timeout_s: float) -> ReadOutcome:
        return ReadOutcome.NO_CONNECTION

    async def close(self) -> None:
        return None
