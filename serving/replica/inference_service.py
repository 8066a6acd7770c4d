"""The inference service behind the doors: which models are loaded, and their answers (port InferenceService).

What is loaded is an immutable snapshot (serving.loading.served_models) that is swapped whole; a request works on the snapshot it found. A
change takes what is loaded already (a weight, a promotion, an abort) at once, and the rest each as it is loaded (serving.loading.loader),
in other processes and threads, so that requests are never held up. One task makes the changes (serving.replica.spec_owner); questions are
answered from the snapshot and from what was last seen in the store, never from the disk."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from serving.errors import BadRequest, Internal, NotFound, ServingError, Unavailable, Unsupported
from serving.loading.loader import Loader, Wanted, wanted_by
from serving.loading.served_models import LoadedKey, ServedModels, build_served_models
from serving.messages import InferAnswer, InferRequest, ModelMetadata, ModelStatistics, RepositoryEntry, ServerMetadata
from serving.models.errors import ModelError, NoSuchModel, message_for_clients
from serving.models.store import BundleStore
from serving.ports import FeatureReader
from serving.replica.repository_control import check_free, revision_beside, with_version, without_model
from serving.replica.spec_owner import Change, SpecOwner
from serving.replica.statistics import ModelTally
from serving.scoring.scorer import Scorer
from serving.scoring.variant_set import VARIANT, VariantSet
from serving.spec import ServingSpec
from serving.telemetry.metrics import ServingMetrics, outcome_of
from serving.telemetry.tracing import Trace, Tracer

SERVER: Final = ServerMetadata("vedette", "0.1.0", ("binary_tensor_data", "model_repository", "statistics", "parameters"))
LOOK_EVERY_S: Final = 5.0
"""How often the store is looked at for versions that came or went."""
_log = logging.getLogger("vedette.service")


class ModelServer:
    """Port InferenceService over a bundle store. All methods but `is_*` and metadata run on the listener's event loop.

    record: keeps a change that a client asked for where other replicas and the next start find it; called in a thread."""

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
        may_control: bool,
        record: Callable[[Change], object] | None = None,
    ) -> None:
        self._store, self._scorer, self._metrics, self._tracer = store, scorer, metrics, tracer
        self._may_control, self._record = may_control, record
        self._snapshot = ServedModels()
        self._in_store: frozenset[LoadedKey] = frozenset()
        self._owner = SpecOwner(self._take, self._load_all, self._settle)
        self._loader = Loader(
            store, features, probe_timeout_s=probe_timeout_s, model_threads=model_threads, on_change=self._owner.take_again
        )
        self._controlling = set[asyncio.Task[None]]()
        self._tallies: dict[LoadedKey, ModelTally] = {}
        self._to_tell: list[Callable[[], None]] = []

    def server_metadata(self) -> ServerMetadata:
        """Name, version, extensions."""
        return SERVER

    def is_live(self) -> bool:
        """The process answers."""
        return True

    def is_ready(self) -> bool:
        """What is asked for was loaded or refused once, and something of it answers. A model that is not loaded is not ready by
        itself (`is_model_ready`, the index, the metrics); it takes no other model out of service."""
        return self._snapshot.is_settled and (bool(self._snapshot.current) or not self._owner.spec.models)

    def why_not_ready(self) -> str:
        """What was not loaded, in words; empty if everything was."""
        return "; ".join(f"{f.name}/{f.version} ({f.variant}): {f.reason}" for f in self._snapshot.failures)

    def is_model_ready(self, name: str, version: str | None) -> bool:
        """Raises NotFound for a model or version that is not known."""
        try:
            self._snapshot.find(name, version)
        except Unavailable:
            return False
        except NotFound:
            if any(n == name and version in (None, v) for n, v in self._in_store):
                return False
            raise
        return True

    def on_change(self, tell: Callable[[], None]) -> None:
        """See the port: told at each swap of the snapshot, and when versions come to the store or go."""
        self._to_tell.append(tell)

    def model_metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Raises NotFound, Unavailable."""
        snapshot = self._snapshot
        return replace(snapshot.find(name, version).stable.revision.metadata, versions=snapshot.versions(name))

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Answer one request; errors are counted and traced here, once."""
        trace = self._begin(request) if self._tracer.is_on else None
        lineup: VariantSet | None = None
        began_ns = time.perf_counter_ns()
        self._metrics.ongoing += 1
        try:
            lineup = self._snapshot.find(request.model, request.version)
            asked: object = request.variant
            if asked is None and request.parameters:
                asked = request.parameters.get(VARIANT)
            if asked is not None:
                lineup = self._named(lineup, request, asked)
            answer = await self._scorer.score(lineup, request, trace)
        except Exception as problem:
            error = problem if isinstance(problem, ServingError) else _defect(request, problem)
            self._count_error(lineup, request, error)
            if lineup is not None:
                self._tally(request.model, lineup.stable.revision.version).count(began_ns, is_success=False)
            if trace is not None:
                trace.end({"model": request.model}, error=error.message)
            raise error from problem.__cause__
        finally:
            self._metrics.ongoing -= 1
        if trace is not None:
            said = {name: answer.parameters[name] for name in (VARIANT, "revision")}
            trace.end({"model": answer.model, "version": answer.version, **said})
        self._tally(answer.model, answer.version).count(began_ns, is_success=True)
        return answer

    def _begin(self, request: InferRequest) -> Trace | None:
        """The request's trace if it is sampled, from when the door began to read it."""
        arrived_ns = request.arrived_ns or None
        trace = self._tracer.begin(request.traceparent, f"{request.door} infer", start_ns=arrived_ns)
        if trace is not None and arrived_ns is not None:
            trace.span("decode", arrived_ns, max(time.time_ns(), arrived_ns), {"inputs": len(request.inputs)})
        return trace

    def _named(self, lineup: VariantSet, request: InferRequest, asked: object) -> VariantSet:
        """The variant a client asks for; of the current lineup also where it asks for that variant's version as well."""
        if request.version is None:
            return lineup.named(asked)
        named = self._snapshot.current[request.model].named(asked)
        if named.stable.revision.version != request.version:
            raise BadRequest(
                f"variant {asked!r} of model {request.model!r} is version {named.stable.revision.version}, the request asks for "
                f"version {request.version!r} as well; ask for one of them"
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
        known = self._in_store | set(snapshot.by_version)
        entries = [
            RepositoryEntry(n, v, "READY")
            if (n, v) in snapshot.by_version
            else RepositoryEntry(n, v, "UNAVAILABLE", snapshot.reason((n, v)))
            for n, v in sorted(known, key=lambda key: (key[0], int(key[1])))
        ]
        return tuple(e for e in entries if e.state == "READY" or not only_ready)

    async def load(self, name: str) -> None:
        """Probe and load the newest version of a model, beside the versions that are loaded. Goes on if the client goes away."""
        self._check_control()
        await self._see_through(self._load(name))

    async def unload(self, name: str) -> None:
        """Stop serving every version of a model."""
        self._check_control()
        await self._see_through(self._change(lambda spec: without_model(spec, name)))

    async def apply(self, spec: ServingSpec) -> None:
        """Serve what the specification names and stop serving the rest; returns when all of it is loaded or refused.

        What is loaded already is taken at once, the rest each as it is loaded: a slow one holds up no other. What cannot be loaded
        is said by the metrics and the index, see serving.loading.served_models for who answers then. A later call overtakes an earlier
        one that
        still loads."""
        await self._owner.settled(lambda _: spec)

    async def watch_store(self) -> None:
        """Keep up with the store's versions, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._look_at_store()

    def close(self) -> None:
        """Change nothing more."""
        self._owner.close()
        for task in self._controlling:
            task.cancel()

    async def _load(self, name: str) -> None:
        check_free(self._owner.spec, name)
        await self._look_at_store()
        try:
            bundle = await asyncio.to_thread(self._store.resolve, name)
        except NoSuchModel as problem:
            raise NotFound(
                f"no model {name!r} in the store; it has {sorted({n for n, _ in self._in_store}) or 'none'}"
            ) from problem
        except ModelError as problem:
            _log.error("model %s cannot be read: %s", name, problem)
            raise BadRequest(message_for_clients(problem, self._store.root)) from problem
        version, digest = bundle.manifest.version, bundle.digest
        wanted = Wanted(name, version, revision_beside(self._owner.spec, name, version, digest))
        with self._loader.pinned(wanted):  # loaded before anything changes: a bundle that is refused changes nothing
            await self._loader.load((wanted,))
            if wanted.key not in self._loader.loaded:
                raise BadRequest(self._loader.refused.get(wanted.key, "not loaded"))
            await self._change(lambda spec: with_version(spec, name, version, digest))

    async def _change(self, change: Change) -> None:
        """A change that a client asked for: refused, or kept and then taken. What is kept may stand otherwise than what is served."""
        change(self._owner.spec)
        if self._record is not None:
            try:
                await asyncio.to_thread(self._record, change)
            except (OSError, ModelError) as problem:
                _log.error("a change of what is served cannot be kept: %s", problem)
                raise Unavailable("the change cannot be kept, so nothing was changed; the server's log says why") from problem
        await self._owner.taken(change)

    async def _see_through(self, work: Coroutine[Any, Any, None]) -> None:
        """To its end, also if who asked goes away meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._controlling.add(task)
        task.add_done_callback(self._controlling.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to be told
        await asyncio.shield(task)

    async def _look_at_store(self) -> None:
        try:
            entries = await asyncio.to_thread(self._store.entries)
        except Exception as problem:  # what is served goes on without it
            _log.error("the store cannot be read: %s", problem, exc_info=None if isinstance(problem, OSError) else problem)
            return
        before, self._in_store = self._in_store, frozenset((e.name, e.version) for e in entries)
        if self._in_store != before:
            self._tell()

    def _take(self, spec: ServingSpec) -> None:
        self._swap(spec, is_settled=self._snapshot.is_settled)
        self._loader.want(wanted_by(spec))

    async def _load_all(self, spec: ServingSpec) -> None:
        await asyncio.gather(self._look_at_store(), self._loader.load(wanted_by(spec)))

    def _settle(self, spec: ServingSpec) -> None:
        self._swap(spec, is_settled=True)
        self._loader.keep([variant.revision for variant in self._snapshot.variants()])

    def _swap(self, spec: ServingSpec, *, is_settled: bool) -> None:
        """The snapshot last: whatever fails before it, what is served stays as it was."""
        loader, metrics, before = self._loader, self._metrics, self._snapshot
        snapshot = build_served_models(spec, loader.loaded, loader.refused, before, metrics.evidence, is_settled=is_settled)
        served = [m.revision for m in snapshot.variants()]
        metrics.set_loaded([(s.name, s.version, s.variant, s.bundle, s.digest) for s in served])
        metrics.set_failed([(f.name, f.version, f.variant, f.revision, f.reason) for f in snapshot.failures])
        self._scorer.keep(served)
        metrics.remember_entities(_standing(before, snapshot))
        self._snapshot = snapshot
        self._tell()

    def _tell(self) -> None:
        for tell in self._to_tell:
            tell()

    def _count_error(self, lineup: VariantSet | None, request: InferRequest, error: ServingError) -> None:
        if lineup is None:
            self._metrics.for_unknown(request.door).refused(outcome_of(error))
        else:
            served = lineup.stable.revision
            self._metrics.for_model(served.name, served.version, served.variant, request.door).refused(outcome_of(error))

    def _tally(self, name: str, version: str) -> ModelTally:
        key = (name, version)
        return self._tallies.get(key) or self._tallies.setdefault(key, ModelTally())

    def _check_control(self) -> None:
        if not self._may_control:
            raise Unsupported(
                "loading and unloading over the protocol is off; VEDETTE_REPOSITORY_CONTROL=true turns it on for all who reach this server"
            )


def _standing(before: ServedModels, after: ServedModels) -> set[tuple[str, str, str]]:
    """(model, variant, revision) of every lineup whose split stands as it stood: a new split counts its entities anew."""
    standing = set()
    for key, lineup in after.variant_sets.items():
        old = before.variant_sets.get(key)
        if lineup.others and old is not None and old.layout == lineup.layout:
            served = [m.revision for m in (lineup.stable, *lineup.others)]
            standing |= {(s.name, s.variant, s.digest) for s in served}
    return standing


def _defect(request: InferRequest, problem: Exception) -> Internal:
    _log.error("request for model %r failed", request.model, exc_info=problem)
    return Internal(f"model {request.model!r}: {type(problem).__name__}; the server's log has the trace")
