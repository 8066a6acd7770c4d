"""The `local` backend: replicas of this machine, told by the store's `served.json`, asked over their own `/metrics`.

Acts on one entry of one file. `vedette up` starts and ends the replicas; they load, probe and split by themselves."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from operators.backends.load import LoadMeter
from operators.backends.metrics_pages import MetricsPages
from operators.ports import BackendError, BackendView, ServiceRef
from operators.rollout.spec import Revision
from operators.rollout.status import Target
from operators.suppression import Suppression
from operators.triage import Triage
from serving.loading.served_file import ServedFile, newest_of_each
from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.spec import ModelSpec, ServingSpec


class LocalBackend:
    """Port Backend on this machine.

    addresses: base URLs that answer for all replicas, asked anew at each look. expected_replicas: how many there should be.
    session: the caller's, who closes it. credentials: headers that replicas want to be shown."""

    def __init__(
        self,
        store_dir: Path,
        session: aiohttp.ClientSession,
        *,
        addresses: Callable[[], Sequence[str]],
        expected_replicas: Callable[[], int],
        scale: Callable[[int], None] | None = None,
        credentials: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._store, self._served = BundleStore(store_dir), ServedFile(store_dir)
        self._pages, self._meter = MetricsPages(session, credentials=credentials), LoadMeter()
        self._addresses, self._expected, self._scale = addresses, expected_replicas, scale

    async def carry_out(self, service: ServiceRef, target: Target) -> None:
        """Write this model's entry of served.json, if it is not so already. Raises BackendError."""
        await asyncio.to_thread(self._write, service, target)
        if target.replicas is not None and self._scale is not None and target.replicas != self._expected():
            await asyncio.to_thread(self._scale, target.replicas)

    async def look(self, service: ServiceRef) -> BackendView:
        """Ask every replica here."""
        scrape, expected = await self._pages.read(service.model, self._addresses()), self._expected()
        load = self._meter.measure(service, scrape, ready_replicas=len(scrape.replicas), wanted_replicas=expected)
        return BackendView(scrape.observation(expected), load)

    async def remove(self, service: ServiceRef) -> None:
        """Take the variants down; stable was served before and goes on."""
        self._meter.forget(service)
        await asyncio.to_thread(self._drop_variants, service)

    def serves(self, model: str) -> Revision | None:
        """The revision of this model that is served to everybody now; None if it is not served. Raises BackendError."""
        entry = stable_entry(self._read(), model)
        return None if entry is None else revision_of(entry)

    def _read(self) -> ServingSpec:
        try:
            return self._served.read() or newest_of_each(self._store)
        except (ModelError, OSError) as problem:
            raise BackendError(str(problem), can_retry=False) from problem

    def _write(self, service: ServiceRef, target: Target) -> None:
        for wanted in (target.stable, *(v.revision for v in target.variants)):
            if not self._store.folder_of(wanted.bundle).is_dir():
                raise BackendError(
                    f"service {service.name}: bundle {wanted.bundle} of version {wanted.version} is not in the store "
                    f"{self._store.root}; add it with `vedette train` or `vedette bundle create`, or name one of `vedette models`",
                )

        def told(before: ServingSpec) -> ServingSpec:
            model = target.serving(service.model, stable_entry(before, service.model))
            return replaced(before, model, is_managed=True)

        self._update(told)

    def _drop_variants(self, service: ServiceRef) -> None:
        self._update(lambda before: without_variants(before, service.model))

    def _update(self, change: Callable[[ServingSpec], ServingSpec]) -> None:
        try:
            self._served.update(change, lambda: newest_of_each(self._store))
        except ModelError as problem:
            raise BackendError(str(problem), can_retry=False) from problem
        except OSError as problem:
            raise BackendError(f"served.json of the store {self._store.root} cannot be written: {problem}") from problem


def stable_entry(spec: ServingSpec, model: str) -> ModelSpec | None:
    """The entry that answers requests without a version: the model's newest."""
    return max((m for m in spec.models if m.name == model), key=lambda m: int(m.version), default=None)


def revision_of(entry: ModelSpec) -> Revision:
    """An entry's stable revision, as the control plane says it."""
    revision = entry.revision
    return Revision(
        version=entry.version,
        bundle=revision.bundle,
        operating_point=revision.operating_point,
        thresholds=dict(revision.thresholds),
        feature_service=revision.feature_service,
        triage=None if revision.triage is None else Triage.model_validate(revision.triage.model_dump()),
        suppressions=tuple(Suppression.model_validate(entry.model_dump()) for entry in revision.suppressions),
    )


def without_variants(spec: ServingSpec, model: str) -> ServingSpec:
    """The specification with stable alone of this model, which nobody manages any more."""
    entry = stable_entry(spec, model)
    if entry is None:
        return spec
    return replaced(spec, entry.model_copy(update={"variants": ()}), is_managed=False)


def replaced(spec: ServingSpec, entry: ModelSpec, *, is_managed: bool) -> ServingSpec:
    """The specification with this one entry for its model, where the model stood before; the others as they were.

    Other versions of the model are removed, because a newer one would answer requests without a version."""
    models: list[ModelSpec] = []
    for model in spec.models:
        if model.name != entry.name:
            models.append(model)
        elif entry not in models:
            models.append(entry)
    managed = {name for name in spec.managed if name != entry.name} | ({entry.name} if is_managed else set())
    return ServingSpec(models=tuple(models if entry in models else [*models, entry]), managed=tuple(sorted(managed)))


def served_at_start(newest: ServingSpec, before: ServingSpec | None, managed: Mapping[str, Revision]) -> ServingSpec:
    """What `vedette up` serves first: for a managed model the revision that was served when it stopped, for any other its newest version.

    newest: of every model in the store. before: served.json as it was left. managed: by model, the revision to begin with where
    nothing was left. A new version in the store reaches a managed model by a rollout only."""
    models = []
    for entry in newest.models:
        kept = entry
        if entry.name in managed:
            left = stable_entry(before, entry.name) if before is not None else None
            kept = left or Target(stable=managed[entry.name]).serving(entry.name)
        models.append(kept)
    return ServingSpec(models=tuple(models), managed=tuple(sorted(managed)))
