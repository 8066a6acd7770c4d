"""Pods that serve, as the operator sees them: a RayService or an InferenceService in an API server, its pods, and their /metrics.

What the pods do follows what the resource says at that moment: revisions are loaded, traffic is split by the weights, counters grow
with the time that passes, faults come at rates a test sets by bundle. Every change of the split is kept, in order."""

import asyncio
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from serving.spec import ModelSpec, ServingSpec
from tests import quick_yaml as yaml

PRESERVE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def open_crd(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    """A CRD that takes anything, with a status subresource: what the resource means is not judged here."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": PRESERVE, "status": PRESERVE}}},
                }
            ],
        },
    }


FOREIGN_CRDS = (
    open_crd("ray.io", "v1", "RayService", "rayservices"),
    open_crd("ray.io", "v1", "RayCluster", "rayclusters"),
    open_crd("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices"),
)


@dataclass
class Counters:
    """One revision in one replica."""

    requests: float = 0.0
    bad: dict[str, float] = field(default_factory=dict)
    mirrored: float = 0.0
    mirrored_bad: dict[str, float] = field(default_factory=dict)
    pairs: float = 0.0


@dataclass
class Group:
    """Pods of one resource. splits: (seconds, {variant: weight}, mirror) at each change that the pods noticed."""

    namespace: str
    name: str
    kind: str
    addresses: tuple[str, ...]
    spec: ServingSpec = field(default_factory=ServingSpec)
    splits: list[tuple[float, dict[str, float], float]] = field(default_factory=list)
    counters: dict[tuple[str, str, str, str], Counters] = field(default_factory=dict)
    counted: float = field(default_factory=time.monotonic)


class ServingPods:
    """All pods of a test, on loopback addresses of their own (127.x.y.z) and one port; in a thread of its own.

    rate_per_s: requests to each model, over all replicas. bad: rate of a gate by bundle digest, e.g. {digest: {"errors": 0.05}}.
    load_s: how long a revision takes until it is loaded."""

    def __init__(self, rate_per_s: float = 20_000.0, load_s: float = 0.0) -> None:
        self.rate_per_s, self.load_s = rate_per_s, load_s
        self.bad: dict[str, dict[str, float]] = {}
        self.unloadable: dict[str, str] = {}
        self.port = 0
        self.scrapes = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._by_address: dict[str, Group] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pods", daemon=True)
        self._runners: list[web.AppRunner] = []
        self._next = 1

    def __enter__(self) -> "ServingPods":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def add(self, namespace: str, name: str, kind: str = "RayService", replicas: int = 2) -> Group:
        """Pods for a resource; they listen at once."""
        addresses = tuple(self._address() for _ in range(replicas))
        group = Group(namespace, name, kind, addresses)
        for address in addresses:
            asyncio.run_coroutine_threadsafe(self._listen(address), self._loop).result(10)
        with self._lock:
            self._groups[namespace, name] = group
            self._by_address |= dict.fromkeys(addresses, group)
        return group

    def told(self, document: dict[str, Any]) -> None:
        """The RayService is as it is now; the pods do what it says."""
        key = document["metadata"]["namespace"], document["metadata"]["name"]
        self.serve(key, serving_spec(document))

    def serve(self, key: tuple[str, str], spec: ServingSpec) -> None:
        """A group's pods serve this from now on. Raises KeyError if there is no such group."""
        with self._lock:
            group = self._groups[key]
            if spec == group.spec:
                return
            self._count(group)
            group.spec = spec
            for model in spec.models:
                split = {v.name: v.weight for v in model.variants}
                mirror = max((v.mirror for v in model.variants), default=0.0)
                group.splits.append((time.monotonic(), split, mirror))
                for revision in _revisions(model):
                    self._since.setdefault((f"{key}", revision), time.monotonic())

    def _address(self) -> str:
        number, self._next = self._next, self._next + 1
        return f"127.17.{number // 250}.{number % 250 + 1}"

    async def _listen(self, address: str) -> None:
        async def metrics(_: web.Request) -> web.Response:
            self.scrapes += 1
            with self._lock:
                text = self._page(address)
            return web.Response(text=text)

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, address, self.port).start()
        self.port = runner.addresses[0][1]
        self._runners.append(runner)

    def _count(self, group: Group) -> None:
        """Let the requests of the time since the last count come in."""
        now = time.monotonic()
        passed, group.counted = now - group.counted, now
        for model in group.spec.models:
            each = self.rate_per_s * passed / len(group.addresses)
            taken = sum(v.weight for v in model.variants)
            shares = [("stable", model.revision, (100 - taken) / 100, 0.0)]
            shares += [(v.name, v.revision, v.weight / 100, v.mirror / 100) for v in model.variants]
            for address in group.addresses:
                for variant, revision, share, mirror in shares:
                    if not self._is_loaded(group, revision.digest):
                        continue
                    counters = group.counters.setdefault((address, model.name, variant, revision.digest), Counters())
                    rates = self.bad.get(revision.bundle, {})
                    counters.requests += each * share
                    stable = each * shares[0][2] * mirror
                    counters.mirrored += stable
                    counters.pairs += stable
                    for gate, rate in rates.items():
                        counters.bad[gate] = counters.bad.get(gate, 0.0) + each * share * rate
                        counters.mirrored_bad[gate] = counters.mirrored_bad.get(gate, 0.0) + stable * rate

    def _is_loaded(self, group: Group, revision: str) -> bool:
        began = self._since.get((f"{(group.namespace, group.name)}", revision))
        return began is not None and time.monotonic() - began >= self.load_s

    def _page(self, address: str) -> str:
        group = self._by_address[address]
        self._count(group)
        who = f'replica="r-{address}"'
        lines = [f"vedette_ongoing_requests{{{who}}} 3", f"vedette_start_time_seconds{{{who}}} 1"]
        for model in group.spec.models:
            for variant, version, revision in _variants(model):
                labels = f'{who},model="{model.name}",version="{version}",variant="{variant}",revision="{revision.digest}"'
                if revision.bundle in self.unloadable:
                    lines.append(f'vedette_model_failed{{{labels},reason="{self.unloadable[revision.bundle]}"}} 1')
                elif self._is_loaded(group, revision.digest):
                    lines.append(f'vedette_model_info{{{labels},bundle="{revision.bundle}"}} 1')
        for (where, name, variant, digest), c in group.counters.items():
            if where == address:
                lines += _evidence(f'{who},model="{name}",variant="{variant}",revision="{digest}"', c)
                stable = next((m.revision.digest for m in group.spec.models if m.name == name), "")
                if c.pairs and variant != "stable":
                    lines += _pairs(f'{who},model="{name}",variant="{variant}",revision="{digest}",against="{stable}"', c)
                done = f'{who},model="{name}",version="1",variant="{variant}",door="http"'
                lines.append(f'vedette_requests_total{{{done},outcome="ok"}} {int(c.requests)}')
        return "\n".join(lines) + "\n"


def _evidence(labels: str, c: Counters) -> Iterable[str]:
    yield f'vedette_evidence_requests_total{{{labels},route="live"}} {int(c.requests)}'
    yield f'vedette_evidence_rows_total{{{labels},route="live"}} {int(c.requests)}'
    yield f'vedette_evidence_requests_total{{{labels},route="mirror"}} {int(c.mirrored)}'
    yield f'vedette_evidence_rows_total{{{labels},route="mirror"}} {int(c.mirrored)}'
    for gate, n in c.bad.items():
        yield f'vedette_evidence_bad_total{{{labels},route="live",gate="{gate}"}} {int(n)}'
    for gate, n in c.mirrored_bad.items():
        yield f'vedette_evidence_bad_total{{{labels},route="mirror",gate="{gate}"}} {int(n)}'


def _pairs(labels: str, c: Counters) -> Iterable[str]:
    """Mirrored rows that both scored: what only the candidate calls an alert is the flood."""
    alerts = int(c.mirrored_bad.get("alertRate", 0.0))
    yield f'vedette_evidence_pairs_total{{{labels},reference="benign",candidate="alert"}} {alerts}'
    yield f'vedette_evidence_pairs_total{{{labels},reference="benign",candidate="benign"}} {int(c.pairs) - alerts}'


def _variants(model: ModelSpec) -> Iterable[tuple[str, str, Any]]:
    yield "stable", model.version, model.revision
    for v in model.variants:
        yield v.name, v.version, v.revision


def _revisions(model: ModelSpec) -> Iterable[str]:
    return (revision.digest for _, _, revision in _variants(model))


def serving_spec(document: dict[str, Any]) -> ServingSpec:
    """What a RayService tells its pods."""
    config = yaml.safe_load(document["spec"]["serveConfigV2"])
    (deployment,) = config["applications"][0]["deployments"]
    return ServingSpec.from_config(deployment.get("user_config") or {})


def ray_service(
    namespace: str,
    name: str,
    models: list[dict[str, Any]] | None = None,
    replicas: int = 2,
    groups: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A RayService of one application with one deployment. groups: its worker groups, of one replica a worker."""
    deployment: dict[str, Any] = {"name": "Replica", "num_replicas": replicas}
    if models:
        deployment["user_config"] = {"models": models}
    if groups:
        deployment["max_replicas_per_node"] = 1
    config = {"applications": [{"name": "vedette", "import_path": "serving.app:build", "deployments": [deployment]}]}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serveConfigV2": yaml.safe_dump(config),
            "excludeHeadPodFromServeSvc": True,
            **({"rayClusterConfig": {"workerGroupSpecs": groups}} if groups else {}),
        },
    }


def ray_cluster(namespace: str, name: str, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The RayCluster that KubeRay makes of a RayService."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"workerGroupSpecs": groups},
    }


def worker_group(replicas: int = 2, least: int = 0, most: int = 4, name: str = "replicas") -> dict[str, Any]:
    """A worker group as KubeRay keeps it, without its pods' template."""
    return {"groupName": name, "replicas": replicas, "minReplicas": least, "maxReplicas": most}


def pod(namespace: str, name: str, address: str, labels: dict[str, str]) -> dict[str, Any]:
    """A pod that runs and is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "replica", "image": "vedette-serving"}]},
        "status": {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
    }
