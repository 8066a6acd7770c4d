"""Loads and releases revisions: each is verified, probed in a process of its own, loaded once, shared, and released when it is unused.

A revision that is loaded is never loaded again; revisions of one bundle share its session, so that a threshold costs no memory
and a promotion no probe. Which of them answers whom is serving.loading.served_models's."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from serving.loading.kept_revisions import keep_revision
from serving.loading.loaded_bundle import LoadedBundle, build_revision, check_fit, load_bundle
from serving.loading.passed_probes import PassedProbes
from serving.loading.served_models import RevisionKey
from serving.loading.warmup import warm_batches, warm_up
from serving.models.bundle import Bundle
from serving.models.errors import ModelError, message_for_clients
from serving.models.limits.bundle_limits import ModelLimits
from serving.models.probe import probe
from serving.models.store import BundleStore
from serving.ports import FeatureReader
from serving.scoring.loaded_revision import LoadedRevision
from serving.spec import RevisionSpec, ServingSpec

_log = logging.getLogger("vedette.loading")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One revision of a model version."""

    name: str
    version: str
    revision: RevisionSpec

    @property
    def key(self) -> RevisionKey:
        """Name and revision digest."""
        return self.name, self.revision.digest


OnBundleRefused = Callable[[Wanted, Exception, str], None]


def wanted_by(spec: ServingSpec) -> tuple[Wanted, ...]:
    """Every revision a specification names, stable ones first."""
    stable = [Wanted(m.name, m.version, m.revision) for m in spec.models]
    variants = [Wanted(m.name, v.version, v.revision) for m in spec.models for v in m.variants]
    return tuple({w.key: w for w in (*reversed(variants), *reversed(stable))}.values())[::-1]


class Loader:
    """The revisions in memory. All methods run on the listeners' loop; loading itself in threads and processes.

    on_change: called whenever a wanted revision was loaded or refused. on_refused: told of a wanted one that was refused, with the problem
    and its words for clients, each time that these change."""

    def __init__(
        self,
        store: BundleStore,
        features: FeatureReader | None,
        *,
        probe_timeout_s: float,
        model_threads: int,
        limits: ModelLimits | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_refused: OnBundleRefused = lambda wanted, problem, reason: None,
    ) -> None:
        self._store, self._features, self._on_change, self._on_refused = store, features, on_change, on_refused
        self._probe_timeout_s, self._model_threads = probe_timeout_s, model_threads
        self._limits = limits or ModelLimits()
        self._passed = PassedProbes(store.root, self._limits)
        self._loaded: dict[RevisionKey, LoadedRevision] = {}
        self._bundles: dict[str, asyncio.Task[LoadedBundle]] = {}
        self._refused: dict[RevisionKey, str] = {}
        self._loading: dict[RevisionKey, asyncio.Task[None]] = {}
        self._wanted: frozenset[RevisionKey] = frozenset()
        self._pinned = Counter[RevisionKey]()

    @property
    def loaded(self) -> Mapping[RevisionKey, LoadedRevision]:
        """What is loaded."""
        return self._loaded

    @property
    def refused(self) -> Mapping[RevisionKey, str]:
        """What could not be loaded when it was last tried, and why, in words for clients."""
        return self._refused

    async def load(self, wanted: Iterable[Wanted]) -> None:
        """Load what is not loaded yet; `loaded` or `refused` holds each afterwards, unless it is wanted no more."""
        await asyncio.gather(*(asyncio.shield(self._load_task(w)) for w in wanted if w.key not in self._loaded))

    def want(self, wanted: Iterable[Wanted]) -> None:
        """These are wanted from now on. What is loaded of others stays until `keep`; of what still loads, others are dropped."""
        self._wanted = frozenset(w.key for w in wanted)
        self._refused = {key: why for key, why in self._refused.items() if self._is_wanted(key)}

    def keep(self, revisions: Iterable[LoadedRevision]) -> None:
        """Release everything else, once no request uses it."""
        kept = {(r.name, r.digest) for r in revisions}
        self._loaded = {key: revision for key, revision in self._loaded.items() if key in kept or self._pinned[key]}
        self._release()

    @contextmanager
    def pinned(self, wanted: Wanted) -> Iterator[None]:
        """Meanwhile it counts as wanted, whatever the specification says."""
        self._pinned[wanted.key] += 1
        try:
            yield
        finally:
            self._pinned[wanted.key] -= 1
            if not self._pinned[wanted.key]:
                del self._pinned[wanted.key]

    def _is_wanted(self, key: RevisionKey) -> bool:
        return key in self._wanted or key in self._pinned

    def _release(self) -> None:
        in_use = {r.bundle for r in self._loaded.values()}
        self._bundles = {digest: task for digest, task in self._bundles.items() if digest in in_use or not task.done()}

    def _load_task(self, wanted: Wanted) -> asyncio.Task[None]:
        """The one task that loads this revision."""
        key = wanted.key
        task = self._loading.get(key)
        if task is None or task.done():  # one that was overtaken has loaded nothing, and is forgotten a moment after it is done
            task = self._loading[key] = asyncio.get_running_loop().create_task(self._load(wanted))
            task.add_done_callback(lambda done: self._forget(key, done))
        return task

    def _forget(self, key: RevisionKey, task: asyncio.Task[None]) -> None:
        if self._loading.get(key) is task:
            del self._loading[key]

    async def _load(self, wanted: Wanted) -> None:
        try:
            bundle = await asyncio.to_thread(self._store.read, wanted.revision.bundle)
            _check_name(bundle, wanted)
            check_fit(bundle.manifest, wanted.revision, self._features)
            revision = build_revision(await self._session(bundle), wanted.revision)
            await warm_up(revision, self._features)
            await asyncio.to_thread(keep_revision, self._store.root, wanted.revision)
            self._refused.pop(wanted.key, None)
            if self._is_wanted(wanted.key):
                self._loaded[wanted.key] = revision
            else:  # it was overtaken
                self._release()
        except Exception as problem:  # whatever is wrong with a bundle, what is loaded goes on
            reason = message_for_clients(problem, self._store.root)
            if self._refused.get(wanted.key) != reason:
                _log.error("model %s/%s is not loaded: %s", wanted.name, wanted.version, problem)
                self._on_refused(wanted, problem, reason)
            if self._is_wanted(wanted.key):
                self._refused[wanted.key] = reason
        if self._is_wanted(wanted.key):
            self._on_change()

    async def _session(self, bundle: Bundle) -> LoadedBundle:
        task = self._bundles.get(bundle.digest)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._bundles[bundle.digest] = asyncio.create_task(asyncio.to_thread(self._probe_and_load, bundle))
        return await asyncio.shield(task)

    def _probe_and_load(self, bundle: Bundle) -> LoadedBundle:
        name = f"{bundle.manifest.name}/{bundle.manifest.version}"
        if self._passed.has(bundle.digest):
            _log.info("%s passed its probe on this node before; it is not probed again", name)
        else:
            report = probe(bundle, timeout_s=self._probe_timeout_s, limits=self._limits)
            found = (report.golden_cases, report.latency_us, report.memory_mib)
            _log.info("probed %s: %d golden cases, %.0f us, %.0f MiB", name, *found)
            self._passed.remember(bundle.digest)
        loaded = load_bundle(bundle, threads=self._model_threads)
        for rule in loaded.rules.unsupported if loaded.rules is not None else ():
            _log.warning("rule %s of %s (%s) is ignored: %s", rule.id, name, rule.path, rule.reason)
        warm_batches(loaded.manifest, loaded.model, loaded.run_us)
        return loaded


def _check_name(bundle: Bundle, wanted: Wanted) -> None:
    manifest = bundle.manifest
    if (manifest.name, manifest.version) != (wanted.name, wanted.version):
        raise ModelError(
            f"bundle {bundle.digest} is {manifest.name}/{manifest.version}, expected {wanted.name}/{wanted.version}; "
            "name the bundle of this model"
        )
