"""The inference service behind the doors: which models are loaded, and their answers (port InferenceService).

What is loaded is an immutable snapshot that is swapped whole; a request works on the snapshot it found. Loading verifies and
probes in other processes and threads, so that requests are never held up."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from serving.errors import BadRequest, Internal, NotFound, ServingError, Unavailable, Unsupported
from serving.models.errors import ModelError, NoSuchModel
from serving.models.probe import probe
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
from serving.served import VARIANT, Served, serve_bundle
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from serving.statistics import Tally
from serving.telemetry.metrics import ServingMetrics, outcome_of
from serving.telemetry.tracing import Tracer

SERVER: Final = ServerMetadata("vedette", "0.1.0", ("binary_tensor_data", "model_repository", "statistics", "parameters"))
UNKNOWN: Final = "Request for unknown model"
"""The words that Triton's public example clients look for."""
_log = logging.getLogger("vedette.service")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is loaded, by (name, version), the version each name answers with, and why something is not loaded."""

    served: Mapping[Key, Served] = field(default_factory=lambda: MappingProxyType({}))
    newest: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[Key, str] = field(default_factory=lambda: MappingProxyType({}))
    is_settled: bool = False

    def find(self, name: str, version: str | None) -> Served:
        """The revision that answers. Raises NotFound, Unavailable."""
        chosen = version or self.newest.get(name)
        found = self.served.get((name, chosen)) if chosen is not None else None
        if found is not None:
            return found
        reasons = [why for key, why in self.failures.items() if key[0] == name and version in (None, key[1])]
        if reasons:
            raise Unavailable(f"model {name!r} is not loaded: {reasons[0]}")
        if name in self.newest:
            raise NotFound(f"{UNKNOWN}: {name!r} version {version!r} is not loaded; loaded versions are {self.versions(name)}")
        raise NotFound(f"{UNKNOWN}: {name!r} is not found; loaded are {sorted(self.newest)}")

    def versions(self, name: str) -> tuple[str, ...]:
        """Loaded versions of a model, oldest first."""
        return tuple(sorted((v for n, v in self.served if n == name), key=int))


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
        self._store, self._scorer, self._features, self._metrics = store, scorer, features, metrics
        self._tracer = tracer
        self._probe_timeout_s, self._model_threads, self._may_control = probe_timeout_s, model_threads, may_control
        self._on_change = on_change
        self._snapshot = Snapshot()
        self._spec = ServingSpec()
        self._tallies: dict[Key, Tally] = {}
        self._changing = asyncio.Lock()

    def server_metadata(self) -> ServerMetadata:
        """Name, version, extensions."""
        return SERVER

    def is_live(self) -> bool:
        """The process answers."""
        return True

    def is_ready(self) -> bool:
        """The last specification was taken whole: every model of it is probed, loaded and warm."""
        return self._snapshot.is_settled and not self._snapshot.failures

    def why_not_ready(self) -> str:
        """What was not loaded, in words; empty if everything was."""
        return "; ".join(f"{name}/{version}: {why}" for (name, version), why in self._snapshot.failures.items())

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
        return replace(snapshot.find(name, version).metadata, versions=snapshot.versions(name))

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Answer one request; errors are counted and traced here, once."""
        trace = self._tracer.begin(request.traceparent, f"{request.door} infer")
        served: Served | None = None
        began_ns = time.perf_counter_ns()
        try:
            served = self._snapshot.find(request.model, request.version)
            answer = await self._scorer.score(served, request, trace)
        except Exception as problem:
            error = problem if isinstance(problem, ServingError) else _defect(request, problem)
            self._count_error(served, request, error)
            if served is not None:
                self._tally(served).count(began_ns, is_success=False)
            if trace is not None:
                trace.end({"model": request.model}, error=error.message)
            raise error from problem.__cause__
        if trace is not None:
            trace.end({"model": served.name, "version": served.version, "variant": served.variant, "revision": served.revision})
        self._tally(served).count(began_ns, is_success=True)
        return answer

    def statistics(self, name: str | None, version: str | None) -> tuple[ModelStatistics, ...]:
        """Of one model version, every version of a model, or (name None) everything loaded. Raises NotFound, Unavailable."""
        snapshot = self._snapshot
        if name is None:
            keys = sorted(snapshot.served)
        elif version is None:
            snapshot.find(name, None)
            keys = [(name, v) for v in snapshot.versions(name)]
        else:
            keys = [(name, snapshot.find(name, version).version)]
        return tuple(self._tallies.get(key, Tally()).read(*key) for key in keys)

    def repository_index(self, *, only_ready: bool) -> tuple[RepositoryEntry, ...]:
        """Every model version known, loaded or not."""
        snapshot = self._snapshot
        known = {(e.name, e.version) for e in self._store.entries()} | set(snapshot.served)
        entries = [
            RepositoryEntry(n, v, "READY")
            if (n, v) in snapshot.served
            else RepositoryEntry(n, v, "UNAVAILABLE", _why(snapshot, (n, v)))
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
        failure = self._snapshot.failures.get((name, wanted.version))
        if failure is not None:
            await self.apply(before)
            raise BadRequest(failure)
        self._tell(spec)

    async def unload(self, name: str) -> None:
        """Stop serving every version of a model."""
        self._check_control()
        if not any(m.name == name for m in self._spec.models):
            raise NotFound(f"model {name!r} is not loaded; loaded are {sorted(self._snapshot.newest)}")
        spec = ServingSpec(models=tuple(m for m in self._spec.models if m.name != name))
        await self.apply(spec)
        self._tell(spec)

    async def apply(self, spec: ServingSpec) -> None:
        """Load what the specification names and stop serving the rest. What cannot be loaded is said by `is_ready` and the index;
        what was loaded before under the same revision goes on."""
        async with self._changing:
            before = self._snapshot
            served: dict[Key, Served] = {}
            failures: dict[Key, str] = {}
            results = await asyncio.gather(*(self._serve(m, before) for m in spec.models), return_exceptions=True)
            for model, result in zip(spec.models, results, strict=True):
                key = (model.name, model.version)
                if isinstance(result, Served):
                    served[key] = result
                elif isinstance(result, Exception):
                    failures[key] = str(result)
                    _log.error("model %s/%s is not loaded: %s", *key, result)
                else:
                    raise result
            newest = dict(sorted(served, key=lambda key: int(key[1])))  # the last of a name wins: its newest version
            self._spec = spec
            self._snapshot = Snapshot(
                MappingProxyType(served), MappingProxyType(newest), MappingProxyType(failures), is_settled=True
            )
            self._metrics.set_loaded(tuple((s.name, s.version, s.variant, s.bundle, s.revision) for s in served.values()))

    async def _serve(self, model: ModelSpec, before: Snapshot) -> Served:
        loaded = before.served.get((model.name, model.version))
        if loaded is not None and loaded.revision == model.revision.digest:
            return loaded
        return await asyncio.to_thread(self._load, model)

    def _load(self, model: ModelSpec) -> Served:
        bundle = self._store.read(model.revision.bundle)
        if (bundle.manifest.name, bundle.manifest.version) != (model.name, model.version):
            raise ModelError(
                f"bundle {bundle.digest} is {bundle.manifest.name}/{bundle.manifest.version}, expected {model.name}/{model.version}; "
                "name the bundle of this model"
            )
        report = probe(bundle, timeout_s=self._probe_timeout_s)
        _log.info(
            "probed %s/%s: %d golden cases, %.0f us, %.0f MiB",
            model.name,
            model.version,
            report.golden_cases,
            report.latency_us,
            report.memory_mib,
        )
        return serve_bundle(bundle, model.revision, self._features, threads=self._model_threads)

    def _count_error(self, served: Served | None, request: InferRequest, error: ServingError) -> None:
        if served is None:
            self._metrics.for_unknown(request.door).refused(outcome_of(error))
        else:
            self._metrics.for_model(served.name, served.version, VARIANT, request.door).refused(outcome_of(error))

    def _tally(self, served: Served) -> Tally:
        key = (served.name, served.version)
        return self._tallies.get(key) or self._tallies.setdefault(key, Tally())

    def _check_control(self) -> None:
        if not self._may_control:
            raise Unsupported("loading and unloading over the protocol is off; set VEDETTE_REPOSITORY_CONTROL=true")

    def _tell(self, spec: ServingSpec) -> None:
        if self._on_change is not None:
            self._on_change(spec)


def _why(snapshot: Snapshot, key: Key) -> str:
    return snapshot.failures.get(key, "not loaded")


def _defect(request: InferRequest, problem: Exception) -> Internal:
    _log.error("request for model %r failed", request.model, exc_info=problem)
    return Internal(f"model {request.model!r}: {type(problem).__name__}; the server's log has the trace")
