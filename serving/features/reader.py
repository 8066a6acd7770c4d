"""The FeatureReader over compiled plans and a store. Plans are swapped whole; a request uses the ones it started with."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.errors import UnknownService
from serving.features.plan.feature_plan import Plan, Row, settled
from serving.features.rows import BatchAssembly
from serving.features.single_row import single_row
from serving.ports import Columns, FeatureRows, FeatureServiceInfo, ReadOutcome

DEFAULT_TIMEOUT_S: Final = 0.05


class PlanReader:
    """Implements ports.FeatureReader."""

    def __init__(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Plans come with `swap`. timeout_s: of a read whose caller says none."""
        self._timeout_s = timeout_s
        self._plans: Mapping[str, Plan] = MappingProxyType({})
        self._problems: Mapping[str, str] = MappingProxyType({})

    def swap(self, plans: Mapping[str, Plan], problems: Mapping[str, str]) -> None:
        """Use these plans from the next request on. problems: services that could not be compiled, and why."""
        self._plans, self._problems = plans, problems

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the services that can be read."""
        return tuple(self._plans)

    @property
    def problems(self) -> Mapping[str, str]:
        """Services that are registered but cannot be read, and why."""
        return self._problems

    def service(self, name: str) -> FeatureServiceInfo:
        """Describe a feature service. Raises UnknownService."""
        return self.plan(name).info

    async def read(
        self, service: str, keys: Columns, request: Columns, at_us: NDArray[np.int64], timeout_s: float | None = None
    ) -> FeatureRows:
        """Read one batch; see ports.FeatureReader.read."""
        plan = self._plans.get(service) or self.plan(service)
        rows = len(at_us)
        wait_s = self._timeout_s if timeout_s is None else timeout_s
        found: Sequence[Sequence[Row]] | ReadOutcome
        if rows == 1:
            groups = plan.groups
            one = [[groups[0].encode_one(keys)]] if len(groups) == 1 else [[group.encode_one(keys)] for group in groups]
            found = await plan.store.fetch(plan.prepared, one, wait_s) if one else ()
            if type(found) is not list and isinstance(found := settled(found), ReadOutcome):
                return failed(plan, request, at_us, found)
            return single_row(plan, found, request, int(at_us[0]))
        asked: list[Sequence[bytes]] = []
        inverses: list[Sequence[int] | None] = []
        for group in plan.groups:
            distinct, inverse = _distinct(group.encode(keys, rows))
            asked.append(distinct)
            inverses.append(inverse)
        if not rows:
            return failed(plan, request, at_us, ReadOutcome.OK)
        found = await plan.store.fetch(plan.prepared, asked, wait_s) if asked else ()
        if type(found) is not list and isinstance(found := settled(found), ReadOutcome):
            return failed(plan, request, at_us, found)
        assembly = BatchAssembly(at_us)
        for group, rows_found, places in zip(plan.groups, found, inverses, strict=True):
            assembly.add(group, rows_found, places)
        return assembly.finish(plan, request)

    async def close(self) -> None:
        """Close the stores."""
        for store in {id(plan.store): plan.store for plan in self._plans.values()}.values():
            await store.close()

    def plan(self, name: str) -> Plan:
        """The compiled plan of a service. Raises UnknownService."""
        plan = self._plans.get(name)
        if plan is not None:
            return plan
        why = self._problems.get(name)
        if why is not None:
            raise UnknownService(f"feature service {name!r} cannot be read: {why}")
        known = ", ".join(sorted(self._plans)) or "none: nothing was applied to the feature store yet"
        raise UnknownService(f"no feature service {name!r}; there is: {known}")


def failed(plan: Plan, request: Columns, at_us: NDArray[np.int64], outcome: ReadOutcome) -> FeatureRows:
    """The store did not answer: defaults everywhere. Raises InvalidColumn."""
    assembly = BatchAssembly(at_us)
    for group in plan.groups:
        assembly.add_failed(group, outcome)
    return assembly.finish(plan, request)


def _distinct(keys: list[bytes]) -> tuple[list[bytes], list[int] | None]:
    """The distinct keys in order, and for each row the place of its key; None if they are distinct already."""
    if len(keys) == 1:
        return keys, None
    places: dict[bytes, int] = {}
    inverse = [places.setdefault(key, len(places)) for key in keys]
    return (keys, None) if len(places) == len(keys) else (list(places), inverse)
