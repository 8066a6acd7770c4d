"""Opens the FeatureReader that the settings ask for, and keeps its plans up to date off the request path.

Which store: an HTTP feature server if its URL is set, else Redis if its URL is set, else what the Feast configuration says.
A missing registry is not an error: a server of tensors-only bundles needs none. If a registry cannot be read later, that is logged and the
last good plans stay. The plan of a service that was removed stays too, because loaded models may use it."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.features.near.change_source import ChangeSource
from serving.features.near.near_cache import NearCache
from serving.features.near.near_store import NearStore
from serving.features.plan import feast
from serving.features.plan.definitions import Definitions, OnlineStore, Service
from serving.features.plan.errors import RegistryError
from serving.features.plan.feature_plan import Plan, Store, compile_steps, computed_views
from serving.features.reader import PlanReader
from serving.features.stores.addresses import is_cluster
from serving.features.stores.guarded import GuardedStore
from serving.features.stores.sqlite import SqliteStore
from serving.features.stores.writing import OnlineWriter, open_writer
from serving.features.warm import warm, warm_read
from serving.resilience.breaker import BreakerState, Guard
from serving.settings import ServingSettings

if TYPE_CHECKING:
    from serving.features.stores.cluster.client import NodeLimits

log = logging.getLogger(__name__)

_REMOTE_S: Final = 60.0
"""Least time between two looks at a registry that is not a local file: Feast itself reads it, which takes seconds."""


class OpenReader(PlanReader):
    """A PlanReader that follows its registry until it is closed."""

    def __init__(
        self, settings: ServingSettings, guard: Guard | None = None, late_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Nothing is read yet; see `open_features`."""
        super().__init__(settings.feature_timeout_s)
        self._settings, self._guard, self._late_s = settings, guard, late_s
        self._folder = settings.feast_dir
        self._backend: Store | None = None
        self.near = NearCache(settings.feature_near_cache_bytes) if settings.feature_near_cache_bytes else None
        self._online: OnlineStore | None = None
        self._seen: tuple[object, ...] | None = None
        self._definitions: Definitions | None = None
        self._following: asyncio.Task[None] | None = None
        self._nodes: Callable[[], Mapping[str, BreakerState]] = dict

    def node_states(self) -> Mapping[str, BreakerState]:
        """The breaker of each node of a cluster, by its place in it; of a store that is one node, none."""
        return self._nodes()

    async def start(self) -> None:
        """Compile the plans of the registry, if there is one, and begin to follow it. Raises RegistryError."""
        seen = feast.signature(self._folder)
        if seen is not None:
            await self._use(await asyncio.to_thread(feast.load, self._folder), seen)
        self._following = asyncio.get_running_loop().create_task(self._follow())

    def open_writer(self) -> OnlineWriter:
        """A writer to the store that is read. Raises RegistryError if there is no registry, or its store cannot be written."""
        if self._definitions is None:
            raise RegistryError(
                f"{self._folder}: nothing was applied to the feature store yet, so there is nowhere to write features"
            )
        if self._settings.feature_server_url is not None:
            raise RegistryError("features are read from a feature server (VEDETTE_FEATURE_SERVER_URL), which is not written to")
        return open_writer(self._definitions, self._settings.redis_url)

    async def refresh(self) -> None:
        """Look once for a change; a registry that cannot be read leaves the plans as they are."""
        seen = await asyncio.to_thread(feast.signature, self._folder)
        if seen is None or (seen == self._seen and feast.is_local(seen)):
            return
        try:
            await self._use(await asyncio.to_thread(feast.load, self._folder), seen)
        except RegistryError as error:
            log.warning("features: keeping the last good plans: %s", error.message)
            self._seen = seen  # not again until it changes
        else:
            log.info("features: compiled the plans of %d services", len(self.services))

    async def close(self) -> None:
        """Stop following and close the store."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._backend is not None:
            await self._backend.close()

    async def _use(self, definitions: Definitions, seen: tuple[object, ...]) -> None:
        """Compile every service and swap the plans in. A service that does not compile or was removed keeps its last good plan, and
        affects no other."""
        former = self._backend
        if former is not None and definitions.online == self._online:
            await self._compile(definitions, former)
        else:
            store = await self._open(definitions.online)
            try:
                await self._compile(definitions, store)
            except BaseException:  # cancelled, say: the former plans and their store stay
                await store.close()
                raise
            self._backend, self._online = store, definitions.online
            if self.near is not None:
                self.near.source = store.source if isinstance(store, NearStore) else None
        self._seen, self._definitions = seen, definitions
        if former is not None and former is not self._backend:
            await former.close()

    async def _open(self, online: OnlineStore) -> Store:
        from serving.features.stores.cluster.store import ClusterStore

        guard = self._guard
        source = await _open_store(self._settings, online, self.near, self._node_limits)
        self._nodes = source.client.node_states if isinstance(source, ClusterStore) else dict
        store: Store = source
        if guard is not None:
            store = GuardedStore(source, guard, self._timeout_s, late_s=self._late_s)
        if self.near is not None:
            if isinstance(source, ChangeSource):
                return NearStore(store, self.near, source)
            log.warning(
                "features: no rows are kept in memory (VEDETTE_FEATURE_NEAR_CACHE_BYTES): a feature server does not tell its changes"
            )
        return store

    def _node_limits(self) -> "NodeLimits | None":
        """Each node of a cluster gets a breaker like that of the store."""
        from serving.features.stores.cluster.client import NodeLimits

        return None if self._guard is None else NodeLimits(self._guard.breaker.limits, self._timeout_s, self._late_s)

    async def _compile(self, definitions: Definitions, store: Store) -> None:
        plans: dict[str, Plan] = {}
        problems = dict(definitions.problems)
        for service in definitions.services:
            await asyncio.sleep(0)  # requests are answered between two services, and between two steps of one
            try:
                plans[service.name] = await self._plan_of(service, definitions, store)
            except RegistryError as error:
                problems[service.name] = error.message
        for name in self._plans.keys() - plans.keys():
            problems.setdefault(name, "the registry does not have it any more")
            with suppress(RegistryError):
                plans[name] = await self._plan_of(self._plans[name].source, definitions, store)
        for name, problem in problems.items():
            still = "is served as it was before" if name in plans else "cannot be served"
            log.warning("features: service %s %s: %s", name, still, problem)
        self.swap(plans, problems)

    async def _plan_of(self, service: Service, definitions: Definitions, store: Store) -> Plan:
        """The current plan if nothing about it changed; else a new one, warmed for the bundles that use it."""
        former, before = self._plans.get(service.name), self._definitions
        if former is not None and before is not None and former.store is store and former.source == service:
            own_code = service.computed and self._settings.feature_repo is not None  # files that may have changed
            if (before.project, before.key_version) == (definitions.project, definitions.key_version) and not own_code:
                return former
        computed = await asyncio.to_thread(computed_views, service, self._settings.feature_repo) if service.computed else []
        steps = compile_steps(service, definitions, store, computed)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                plan: Plan = done.value
                break
            await asyncio.sleep(0)
        warm(plan, former.assemblers.assemblies if former is not None else ())
        await warm_read(plan, self._timeout_s)
        return plan

    async def _follow(self) -> None:
        while True:
            is_cheap = self._seen is None or feast.is_local(self._seen)
            await asyncio.sleep(
                self._settings.feature_refresh_s if is_cheap else max(self._settings.feature_refresh_s, _REMOTE_S)
            )
            try:
                await self.refresh()
            except Exception:
                log.exception("features: refreshing failed; the last good plans stay")


async def open_features(
    settings: ServingSettings, guard: Guard | None = None, late_s: Callable[[], float] = lambda: 0.0
) -> OpenReader:
    """Open the reader: plans compiled, connection warm. guard: the breaker around its reads, None for none (command line). late_s: how
    late the loop has been lately.

    Raises RegistryError if there is a registry and it cannot be read."""
    reader = OpenReader(settings, guard, late_s)
    await reader.start()
    return reader


async def _open_store(
    settings: ServingSettings, online: OnlineStore, near: NearCache | None, limits: Callable[[], "NodeLimits | None"]
) -> Store:
    if settings.feature_server_url is not None:
        from serving.features.stores.feature_server import HttpStore

        return HttpStore(settings.feature_server_url)
    url = settings.redis_url or (online.url if online.type == "redis" else None)
    if url is not None:
        from serving.features.stores.cluster.store import ClusterStore
        from serving.features.stores.redis import RedisStore

        store: ClusterStore | RedisStore
        try:
            store = ClusterStore(url, near, limits()) if is_cluster(url) else RedisStore(url, near)
        except ValueError as error:
            raise RegistryError(str(error)) from error
        await store.start()
        return store
    if online.type != "sqlite":
        raise RegistryError(
            f"online store {online.type!r} is not supported directly; run Feast's feature server in front of it and set "
            "VEDETTE_FEATURE_SERVER_URL"
        )
    return SqliteStore(Path(online.path), near)
