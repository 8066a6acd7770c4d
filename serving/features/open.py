"""Opens the FeatureReader that the settings ask for, and keeps its plans up to date off the request path.

Which store: an HTTP feature server if its URL is set, else Redis if its URL is set, else what the Feast configuration says.
A registry that is not there yet is no error (a server of tensors-only bundles needs none); one that breaks later is logged, and
the last good plans stay."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from serving.features import feast
from serving.features.definitions import Definitions
from serving.features.errors import RegistryError
from serving.features.plan import Plan, Store, compile_service
from serving.features.reader import PlanReader
from serving.features.sqlite import SqliteStore
from serving.settings import ServingSettings

log = logging.getLogger(__name__)


class OpenReader(PlanReader):
    """A PlanReader that follows its registry until it is closed."""

    def __init__(self, store: Store, folder: Path, code: Path | None, settings: ServingSettings) -> None:
        """Follow the registry configured in `folder`; `code` is a feature repository of one's own."""
        super().__init__(store, settings.feature_timeout_s)
        self._backend, self._folder, self._code = store, folder, code
        self._refresh_s = settings.feature_refresh_s
        self._seen: tuple[object, ...] | None = None
        self._following: asyncio.Task[None] | None = None

    def use(self, definitions: Definitions, seen: tuple[object, ...] | None) -> None:
        """Compile every service and swap the plans in; a service that does not compile is a problem of its own."""
        plans: dict[str, Plan] = {}
        problems: dict[str, str] = dict(definitions.problems)
        for service in definitions.services:
            try:
                plans[service.name] = compile_service(service, definitions, self._backend, self._code)
            except RegistryError as error:
                problems[service.name] = error.message
        for name, problem in problems.items():
            log.warning("features: service %s cannot be served: %s", name, problem)
        self.swap(plans, problems)
        self._seen = seen

    def follow(self) -> None:
        """Look for changes of the registry every `feature_refresh_s`."""
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def refresh(self) -> None:
        """Look once; a registry that cannot be read leaves the plans as they are."""
        seen = await asyncio.to_thread(feast.signature, self._folder)
        if seen is None or (seen == self._seen and seen[1] is not None):
            return
        try:
            definitions = await asyncio.to_thread(feast.load, self._folder)
        except RegistryError as error:
            log.warning("features: keeping the last good plans: %s", error.message)
            self._seen = seen  # not again until it changes
            return
        self.use(definitions, seen)
        log.info("features: plans of %d services compiled", len(self.services))

    async def close(self) -> None:
        """Stop following and close the store."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await super().close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self.refresh()
            except Exception:
                log.exception("features: refreshing failed; the last good plans stay")


async def open_features(settings: ServingSettings) -> OpenReader:
    """Open the reader: plans compiled, connection warm. Raises RegistryError if there is a registry and it cannot be read."""
    folder = settings.feature_repo or settings.store_dir / "feast"
    seen = feast.signature(folder)
    definitions = await asyncio.to_thread(feast.load, folder) if seen is not None else None
    reader = OpenReader(await _store(settings, definitions, folder), folder, settings.feature_repo, settings)
    if definitions is not None:
        reader.use(definitions, seen)
    reader.follow()
    return reader


async def _store(settings: ServingSettings, definitions: Definitions | None, folder: Path) -> Store:
    online = definitions.online if definitions is not None else None
    if online is not None and online.type != "sqlite":
        raise RegistryError(
            f"online store {online.type!r} has no adapter here; put a feature server before it: feature_server_url"
        )
    return SqliteStore(Path(online.path) if online is not None else folder / "online.db")


def defaults_of(reader: PlanReader, service: str) -> Mapping[str, object]:
    """Each feature's default, for showing."""
    return {feature.name: feature.default for feature in reader.service(service).features}
