"""The inference service behind the doors: which models are loaded, and their answers (port InferenceService).

What is loaded is an immutable snapshot (serving.snapshot) that is swapped whole; a request works on the snapshot it found. A
change takes what is loaded already (a weight, a promotion, an abort) at once, and the rest when it is loaded (serving.loading),
in other processes and threads, so that requests are never held up."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from serving.errors import BadRequest, Internal, NotFound, ServingError, Unavailable, Unsupported
from serving.lineup import VARIANT, Lineup
from serving.loading import Loader, wanted_by
from serving.models.errors import ModelError, NoSuchModel
from serving.models.store import BundleStore
from serving.ports import FeatureReader
from serving.protocol.messages import (
    InferAnswer,
    InferRequest,
    ModelMetadata,
    ModelStatistics,
    RepositoryEntry,
    ServerMetadata,
)
from serving.scorer import Scorer
from serving.snapshot import Key, Snapshot, take_snapshot
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from serving.statistics import Tally
from serving.telemetry.metrics import ServingMetrics, outcome_of
from serving.telemetry.tracing import Trace, Tracer

SERVER: Final = ServerMetadata("vedette", "0.1.0", ("binary_tensor_data", "model_repository", "statistics", "parameters"))
_log = logging.getLogger("vedette.service")


class Inference:
    """Port InferenceService over a bundle store. All methods but `is_*` and metadata run on the listener's event loop."""

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
        on_change: Callable[[ServingSpec], None] | None = None,
    ) -> None:
        self._store, self._scorer, self._metrics, self._tracer = store, scorer, metrics, tracer
        self._loader = Loader(store, features, probe_timeout_s=probe_timeout_s, model_threads=model_threads)
        self._may_control, self._on_change = may_control, on_change
        self._snapshot = Snapshot()
        self._spec = ServingSpec()
        self._tallies: dict[Key, Tally] = {}
        self._turn = 0
        self._is_done = asyncio.Event()

    def server_metadata(self) -> ServerMetadata:
        """Name, version, extensions."""
        return SERVER

    def is_live(self) -> bool:
        """The process answers."""
        return True

    def is_ready(self) -> bool:
        """Every model of the specification answers: by the revision it names, or the one before it while or because that is not
        loaded. A variant that is not loaded is said by the metrics, not here: stable answers for it."""
        return self._snapshot.is_settled and not self._snapshot.unmet

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
            if any(e.name == name and version in (None, e.version) for e in self._store.entries()):
                return False
            raise
        return True

    def model_metadata(self, name: str, version: str | None) -> ModelMetadata:
        """Raises NotFound, Unavailable."""
        snapshot = self._snapshot
        return replace(snapshot.find(name, version).stable.served.metadata, versions=snapshot.versions(name))

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Answer one request; errors are counted and traced here, once."""
        trace = self._begin(request) if self._tracer.is_on else None
        lineup: Lineup | None = None
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
                self._tally(request.model, lineup.stable.served.version).count(began_ns, is_success=False)
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

    def _named(self, lineup: Lineup, request: InferRequest, asked: object) -> Lineup:
        """The variant a client asks for; of the current lineup also where it asks for that variant's version as well."""
        if request.version is None:
            return lineup.named(asked)
        named = self._snapshot.current[request.model].named(asked)
        if named.stable.served.version != request.version:
            raise BadRequest(
                f"variant {asked!r} of model {request.model!r} is version {named.stable.served.version}, the request asks for "
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
        return tuple(self._tallies.get(key, Tally()).read(*key) for key in keys)

    def repository_index(self, *, only_ready: bool) -> tuple[RepositoryEntry, ...]:
        """Every model version known, loaded or not."""
        snapshot = self._snapshot
        known = {(e.name, e.version) for e in self._store.entries()} | set(snapshot.by_version)
        entries = [
            RepositoryEntry(n, v, "READY")
            if (n, v) in snapshot.by_version
            else RepositoryEntry(n, v, "UNAVAILABLE", snapshot.reason((n, v)))
            for n, v in sorted(known, key=lambda key: (key[0], int(key[1])))
        ]
        return tuple(e for e in entries if e.state == "READY" or not only_ready)

    async def load(self, name: str) -> None:
        """Probe and load the newest version of a model, beside the versions that are loaded."""
        self._check_control()
        try:
            bundle = await asyncio.to_thread(self._store.resolve, name)
        except NoSuchModel as problem:
            raise NotFound(str(problem)) from problem
        except ModelError as problem:
            raise BadRequest(str(problem)) from problem
        wanted = ModelSpec(name=name, version=bundle.manifest.version, revision=RevisionSpec(bundle=bundle.digest))
        others = tuple(m for m in self._spec.models if (m.name, m.version) != (wanted.name, wanted.version))
        before = self._spec
        spec = ServingSpec(models=(*others, wanted))
        await self.apply(spec)
        loaded = self._snapshot.lineups.get((name, wanted.version))
        if loaded is None or loaded.stable.served.revision != wanted.revision.digest:
            failure = self._snapshot.reason((name, wanted.version))
            await self.apply(before)
            raise BadRequest(failure)
        self._tell(spec)

    async def unload(self, name: str) -> None:
        """Stop serving every version of a model."""
        self._check_control()
        if not any(m.name == name for m in self._spec.models):
            raise NotFound(f"model {name!r} is not loaded; loaded are {sorted(self._snapshot.current)}")
        spec = ServingSpec(models=tuple(m for m in self._spec.models if m.name != name))
        await self.apply(spec)
        self._tell(spec)

    async def apply(self, spec: ServingSpec) -> None:
        """Serve what the specification names and stop serving the rest; returns when all of it is loaded or refused.

        What is loaded already is taken at once. What cannot be loaded is said by the metrics and the index, see serving.snapshot
        for who answers then. A later call overtakes an earlier one that still loads."""
        self._turn, self._spec = self._turn + 1, spec
        turn, wanted = self._turn, wanted_by(spec)
        self._is_done.clear()
        self._loader.forget_refusals(wanted)
        self._swap(spec, is_settled=self._snapshot.is_settled)
        await self._loader.load(wanted)
        if turn != self._turn:
            await self._is_done.wait()
            return
        self._swap(spec, is_settled=True)
        self._loader.keep([member.served for member in self._snapshot.members()])
        self._is_done.set()

    def _swap(self, spec: ServingSpec, *, is_settled: bool) -> None:
        loader, metrics, before = self._loader, self._metrics, self._snapshot
        snapshot = self._snapshot = take_snapshot(
            spec, loader.served, loader.refused, before, metrics.evidence, is_settled=is_settled
        )
        served = [m.served for m in snapshot.members()]
        metrics.set_loaded([(s.name, s.version, s.variant, s.bundle, s.revision) for s in served])
        metrics.set_failed([(f.name, f.version, f.variant, f.revision, f.reason) for f in snapshot.failures])
        self._scorer.keep(served)
        metrics.remember_entities(_standing(before, snapshot))

    def _count_error(self, lineup: Lineup | None, request: InferRequest, error: ServingError) -> None:
        if lineup is None:
            self._metrics.for_unknown(request.door).refused(outcome_of(error))
        else:
            served = lineup.stable.served
            self._metrics.for_model(served.name, served.version, served.variant, request.door).refused(outcome_of(error))

    def _tally(self, name: str, version: str) -> Tally:
        key = (name, version)
        return self._tallies.get(key) or self._tallies.setdefault(key, Tally())

    def _check_control(self) -> None:
        if not self._may_control:
            raise Unsupported("loading and unloading over the protocol is off; set VEDETTE_REPOSITORY_CONTROL=true")

    def _tell(self, spec: ServingSpec) -> None:
        if self._on_change is not None:
            self._on_change(spec)


def _standing(before: Snapshot, after: Snapshot) -> set[tuple[str, str, str]]:
    """(model, variant, revision) of every lineup whose split stands as it stood: a new split counts its entities anew."""
    standing = set()
    for key, lineup in after.lineups.items():
        old = before.lineups.get(key)
        if lineup.others and old is not None and old.layout == lineup.layout:
            served = [m.served for m in (lineup.stable, *lineup.others)]
            standing |= {(s.name, s.variant, s.revision) for s in served}
    return standing


def _defect(request: InferRequest, problem: Exception) -> Internal:
    _log.error("request for model %r failed", request.model, exc_info=problem)
    return Internal(f"model {request.model!r}: {type(problem).__name__}; the server's log has the trace")
