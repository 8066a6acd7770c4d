"""The inference service behind the doors: which models are loaded, and their answers (port InferenceService).

The loaded models are an immutable snapshot (serving.loading.served_models) that is replaced as a whole. A request uses the snapshot that
it found. A change of what is loaded already (a weight, a promotion, an abort) is applied at once. New revisions are applied one by one
as they are loaded (serving.loading.loader), in other processes and threads, so requests do not wait. One task makes the changes
(serving.replica.spec_owner). Questions are answered from memory, never from the disk."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from serving.audit.record import AuditRecord
from serving.errors import BadRequest, Internal, NotFound, ServingError, Unavailable, Unsupported
from serving.loading.loader import Loader, OnBundleRefused, Wanted, wanted_by
from serving.loading.served_models import LoadedKey, ServedModels, build_served_models
from serving.messages import InferAnswer, InferRequest, ModelMetadata, ModelStatistics, RepositoryEntry, ServerMetadata
from serving.models.errors import ModelError, NoSuchModel, message_for_clients
from serving.models.limits.bundle_limits import ModelLimits
from serving.models.manifest import Manifest
from serving.models.store import BundleStore
from serving.ports import FeatureReader, Rules
from serving.replica.repository_control import check_free, revision_beside, with_version, without_model
from serving.replica.request_spans import begin_request, end_abandoned, end_answered, end_failed
from serving.replica.spec_owner import Change, SpecOwner
from serving.replica.statistics import ModelTally
from serving.scoring.scorer import Scorer
from serving.scoring.variant_set import VARIANT, VariantSet
from serving.spec import RevisionSpec, ServingSpec
from serving.telemetry.metrics import ServingMetrics, outcome_of
from serving.telemetry.tracing.current import enter_trace, leave_trace
from serving.telemetry.tracing.request_trace import RequestTrace
from serving.telemetry.tracing.tracer import Tracer

SERVER: Final = ServerMetadata("vedette", "0.1.0", ("binary_tensor_data", "model_repository", "statistics", "parameters"))
REFRESH_EVERY_S: Final = 5.0
"""Time between two readings of the versions in the store."""
_log = logging.getLogger("vedette.service")


class ModelServer:
    """Port InferenceService over a bundle store. All methods but `is_*` and metadata run on the listeners' event loop.

    record: writes a client's change to where other replicas and the next start read it; called in a thread. is_joined: whether what else
    this process does has begun; it is not ready before. on_refused: told of each bundle that is not loaded, see Loader."""

    def __init__(
        self,
        *,
        store: BundleStore,
        scorer: Scorer,
        features: FeatureReader | None,
        metrics: ServingMetrics,
        tracer: Tracer,
        probe_timeout_s: float,
        model_threads: int,
        limits: ModelLimits | None = None,
        may_control: bool,
        record: Callable[[Change], object] | None = None,
        is_joined: Callable[[], bool] = lambda: True,
        on_refused: OnBundleRefused = lambda wanted, problem, reason: None,
    ) -> None:
        self._store, self._scorer, self._metrics, self._tracer = store, scorer, metrics, tracer
        self._may_control, self._record, self._is_joined = may_control, record, is_joined
        self._is_leaving, self._on_refused = False, on_refused
        self._snapshot = ServedModels()
        self._store_versions: frozenset[LoadedKey] = frozenset()
        self._owner = SpecOwner(self._apply_loaded, self._load_all, self._settle)
        self._loader = Loader(
            store,
            features,
            probe_timeout_s=probe_timeout_s,
            model_threads=model_threads,
            limits=limits,
            on_change=self._owner.reapply,
            on_refused=on_refused,
        )
        self._control_tasks = set[asyncio.Task[None]]()
        self._tallies: dict[LoadedKey, ModelTally] = {}
        self._listeners: list[Callable[[], None]] = []

    def server_metadata(self) -> ServerMetadata:
        """Name, version, extensions."""
        return SERVER

    def is_live(self) -> bool:
        """The process answers."""
        return True

    def is_ready(self) -> bool:
        """Whether the first specification was loaded or refused, and at least one of its models answers. A model that is not loaded
        shows in `is_model_ready`, the index and the metrics; it takes no other model out of service."""
        is_loaded = self._snapshot.is_settled and (bool(self._snapshot.current) or not self._owner.spec.models)
        return is_loaded and self._is_joined() and not self._is_leaving

    def leave(self) -> None:
        """Be not ready from now on, and answer as before."""
        self._is_leaving = True

    def why_not_ready(self) -> str:
        """Which variants are not loaded and why; empty if all are."""
        return "; ".join(f"{f.name}/{f.version} ({f.variant}): {f.reason}" for f in self._snapshot.failures)

    def is_model_ready(self, name: str, version: str | None) -> bool:
        """Raises NotFound for a model or version that is not known."""
        try:
            self._snapshot.find(name, version)
        except Unavailable:
            return False
        except NotFound:
            if any(n == name and version in (None, v) for n, v in self._store_versions):
                return False
            raise
        return True

    def on_change(self, tell: Callable[[], None]) -> None:
        """See the port: called when the snapshot is replaced, and when the versions in the store change."""
        self._listeners.append(tell)

    def model_metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Raises NotFound, Unavailable."""
        snapshot = self._snapshot
        return replace(snapshot.find(name, version).stable.revision.metadata, versions=snapshot.versions(name))

    def reads_features(self, name: str, version: str | None) -> bool:
        """See the port: a candidate may read them where stable does not. Raises NotFound, Unavailable."""
        return self._snapshot.find(name, version).reads_features

    def manifest(self, name: str) -> Manifest:
        """The manifest of a model's stable revision. May be called from any thread. Raises NotFound, Unavailable."""
        return self._snapshot.find(name, None).stable.revision.manifest

    def stable_rules(self, name: str) -> tuple[Manifest, Rules | None]:
        """The manifest and the rules of a model's stable revision. May be called from any thread. Raises NotFound, Unavailable."""
        revision = self._snapshot.find(name, None).stable.revision
        return revision.manifest, revision.rules

    async def record(self, model: str, records: Sequence[AuditRecord]) -> None:
        """Put records that are no answers beside those of this model's answers. Raises NotRecorded, DeadlineExceeded."""
        await self._scorer.record(model, records)

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Answer one request. Errors are counted and traced here."""
        seen = begin_request(self._tracer, request) if self._tracer.is_on else None
        entered = enter_trace(seen.trace.trace_id) if seen is not None and seen.trace is not None else None
        variants: VariantSet | None = None
        began_ns = time.perf_counter_ns()
        self._metrics.ongoing += 1
        try:
            variants = self._snapshot.find(request.model, request.version)
            requested: object = request.variant
            if requested is None and request.parameters:
                requested = request.parameters.get(VARIANT)
            if requested is not None:
                variants = self._requested_variant(variants, request, requested)
            answer = await self._scorer.score(variants, request, seen)
        except Exception as problem:
            error = problem if isinstance(problem, ServingError) else _defect(request, problem, seen)
            self._count_error(variants, request, error)
            if variants is not None:
                self._tally(request.model, variants.stable.revision.version).count(began_ns, is_success=False)
            if seen is not None:
                end_failed(seen, error)
            raise error from problem.__cause__
        except BaseException:  # cancelled
            if seen is not None:
                end_abandoned(seen)
            raise
        finally:
            self._metrics.ongoing -= 1
            if entered is not None:
                leave_trace(entered)
        self._tally(answer.model, answer.version).count(began_ns, is_success=True)
        return answer if seen is None or seen.trace is None else end_answered(seen, seen.trace, answer)

    def _requested_variant(self, variants: VariantSet, request: InferRequest, requested: object) -> VariantSet:
        """The variant that a request names. A request may name the version of that variant as well."""
        if request.version is None:
            return variants.named(requested)
        named = self._snapshot.current[request.model].named(requested)
        if named.stable.revision.version != request.version:
            raise BadRequest(
                f"variant {requested!r} of model {request.model!r} is version {named.stable.revision.version}, but the request also "
                f"asks for version {request.version!r}; name the variant or the version, not both"
            )
        return named

    def statistics(self, name: str | None, version: str | None) -> tuple[ModelStatistics, ...]:
        """Of one model version, every version of a model, or (name None) everything loaded. Raises NotFound, Unavailable."""
        snapshot = self._snapshot
        if name is None:
            keys = sorted(snapshot.by_version)
        elif version is None:
            snapshot.find(name, None)
            keys = [(name, v) for v in snapshot.versions(name)]
        else:
            snapshot.find(name, version)
            keys = [(name, version)]
        return tuple(self._tallies.get(key, ModelTally()).read(*key) for key in keys)

    def repository_index(self, *, only_ready: bool) -> tuple[RepositoryEntry, ...]:
        """Every model version known, loaded or not."""
        snapshot = self._snapshot
        known = self._store_versions | set(snapshot.by_version)
        entries = [
            RepositoryEntry(n, v, "READY")
            if (n, v) in snapshot.by_version
            else RepositoryEntry(n, v, "UNAVAILABLE", snapshot.reason((n, v)))
            for n, v in sorted(known, key=lambda key: (key[0], int(key[1])))
        ]
        return tuple(e for e in entries if e.state == "READY" or not only_ready)

    async def load(self, name: str) -> None:
        """Probe and load the newest version of a model, beside the loaded versions. Continues if the client disconnects."""
        self._check_control()
        await self._run_to_end(self._load(name))

    async def unload(self, name: str) -> None:
        """Stop serving every version of a model."""
        self._check_control()
        await self._run_to_end(self._change(lambda spec: without_model(spec, name)))

    async def apply(self, spec: ServingSpec) -> None:
        """Serve exactly what the specification names; returns when all of it is loaded or refused.

        What is loaded already is applied at once, the rest one by one as it is loaded, so a slow revision delays no other. The metrics
        and the index show what cannot be loaded; serving.loading.served_models says who answers then. A later call replaces the
        specification of an earlier one that still loads."""
        await self._owner.apply_and_settle(lambda _: spec)

    async def watch_store(self) -> None:
        """Read the versions in the store again and again, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            await self._refresh_store()

    def close(self) -> None:
        """Stop all changes."""
        self._owner.close()
        for task in self._control_tasks:
            task.cancel()

    async def _load(self, name: str) -> None:
        check_free(self._owner.spec, name)
        await self._refresh_store()
        try:
            bundle = await asyncio.to_thread(self._store.resolve, name)
        except NoSuchModel as problem:
            raise NotFound(
                f"no model {name!r} in the store; it has {sorted({n for n, _ in self._store_versions}) or 'none'}"
            ) from problem
        except ModelError as problem:
            _log.error("model %s cannot be read: %s", name, problem)
            reason = message_for_clients(problem, self._store.root)
            newest = [entry for entry in await asyncio.to_thread(self._store.entries) if entry.name == name][-1:]
            for entry in newest:
                self._on_refused(Wanted(name, entry.version, RevisionSpec(bundle=entry.digest)), problem, reason)
            raise BadRequest(reason) from problem
        version, digest = bundle.manifest.version, bundle.digest
        wanted = Wanted(name, version, revision_beside(self._owner.spec, name, version, digest))
        with self._loader.pinned(wanted):  # loaded first: a bundle that is refused changes nothing
            await self._loader.load((wanted,))
            if wanted.key not in self._loader.loaded:
                raise BadRequest(self._loader.refused.get(wanted.key, "not loaded"))
            await self._change(lambda spec: with_version(spec, name, version, digest))

    async def _change(self, change: Change) -> None:
        """Check a client's change, record it, then apply it. Recording changes the file, which may differ from what is served."""
        change(self._owner.spec)
        if self._record is not None:
            try:
                await asyncio.to_thread(self._record, change)
            except (OSError, ModelError) as problem:
                _log.error("a change of what is served cannot be recorded: %s", problem)
                raise Unavailable(
                    "the change cannot be recorded, so nothing was changed; the server's log says why"
                ) from problem
        await self._owner.apply(change)

    async def _run_to_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Run to the end, even if the caller is cancelled."""
        task = asyncio.get_running_loop().create_task(work)
        self._control_tasks.add(task)
        task.add_done_callback(self._control_tasks.discard)
        task.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # the caller may be gone; mark the exception as seen
        await asyncio.shield(task)

    async def _refresh_store(self) -> None:
        try:
            entries = await asyncio.to_thread(self._store.entries)
        except Exception as problem:  # what is served goes on without it
            _log.error("the store cannot be read: %s", problem, exc_info=None if isinstance(problem, OSError) else problem)
            return
        before, self._store_versions = self._store_versions, frozenset((e.name, e.version) for e in entries)
        if self._store_versions != before:
            self._notify()

    def _apply_loaded(self, spec: ServingSpec) -> None:
        self._swap(spec, is_settled=self._snapshot.is_settled)
        self._loader.want(wanted_by(spec))

    async def _load_all(self, spec: ServingSpec) -> None:
        await asyncio.gather(self._refresh_store(), self._loader.load(wanted_by(spec)))

    def _settle(self, spec: ServingSpec) -> None:
        self._swap(spec, is_settled=True)
        self._loader.keep([variant.revision for variant in self._snapshot.variants()])

    def _swap(self, spec: ServingSpec, *, is_settled: bool) -> None:
        """Replace the snapshot as the last step: if anything before it fails, the former one stays."""
        loader, metrics, before = self._loader, self._metrics, self._snapshot
        snapshot = build_served_models(spec, loader.loaded, loader.refused, before, metrics.evidence, is_settled=is_settled)
        revisions = [m.revision for m in snapshot.variants()]
        metrics.set_loaded([(s.name, s.version, s.variant, s.bundle, s.digest) for s in revisions])
        metrics.set_failed([(f.name, f.version, f.variant, f.revision, f.reason) for f in snapshot.failures])
        self._scorer.keep(revisions)
        metrics.remember_entities(_unchanged_splits(before, snapshot))
        self._snapshot = snapshot
        self._notify()

    def _notify(self) -> None:
        for tell in self._listeners:
            tell()

    def _count_error(self, variants: VariantSet | None, request: InferRequest, error: ServingError) -> None:
        if variants is None:
            self._metrics.for_unknown(request.door).refused(outcome_of(error))
        else:
            served = variants.stable.revision
            self._metrics.for_model(served.name, served.version, served.variant, request.door).refused(outcome_of(error))

    def _tally(self, name: str, version: str) -> ModelTally:
        key = (name, version)
        return self._tallies.get(key) or self._tallies.setdefault(key, ModelTally())

    def _check_control(self) -> None:
        if not self._may_control:
            raise Unsupported(
                "loading and unloading over the protocol is off; VEDETTE_REPOSITORY_CONTROL=true turns it on for all clients"
            )


def _unchanged_splits(before: ServedModels, after: ServedModels) -> set[tuple[str, str, str]]:
    """(model, variant, revision) of every variant whose split did not change. A new split counts its entities from 0."""
    unchanged = set()
    for key, variants in after.variant_sets.items():
        old = before.variant_sets.get(key)
        if variants.others and old is not None and old.layout == variants.layout:
            revisions = [m.revision for m in (variants.stable, *variants.others)]
            unchanged |= {(s.name, s.variant, s.digest) for s in revisions}
    return unchanged


def _defect(request: InferRequest, problem: Exception, seen: RequestTrace | None) -> Internal:
    if seen is not None:
        seen.keep("error")
    told = None if seen is None or seen.trace_id is None else {"trace_id": seen.trace_id}
    _log.error("request for model %r failed", request.model, exc_info=problem, extra=told)
    return Internal(f"model {request.model!r}: {type(problem).__name__}; the server's log has the trace")
