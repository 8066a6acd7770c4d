"""KubeRay and the pods of one RayService on an API server, brought up to date when a test says so: no process, no thread.

A RayService that is there has a Ray cluster with pods, which serve what its configuration says; one that is gone has none. Pods of a
new cluster begin with nothing, and count requests at each look at them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from operators.backends.evidence import Scrape
from operators.backends.kube import PODS, RAY_SERVICES, Kube, NotFound
from operators.backends.pods import address
from operators.ports import ServiceRef
from operators.rollout.evidence import ReplicaEvidence, Tally, key
from operators.rollout.spec import GateName
from serving.spec import ModelSpec, ServingSpec
from tests.fakes.operator.serving_pods import pod, ray_service, serving_spec

PORT = 8080
_REQUESTS = 4000
"""To each pod between two looks."""


class KubeRay:
    """One RayService. spec: what the pods serve now. bad: bundles half of whose requests are errors."""

    def __init__(self, kube: Kube, namespace: str, now: Callable[[], datetime], name: str = "flows") -> None:
        self._kube, self._namespace, self._now, self._name = kube, namespace, now, name
        self.spec, self.bad = ServingSpec(), set[str]()
        self._uid, self._clusters = "", 0
        self._pods: dict[str, str] = {}
        self._counted: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))

    async def create(self) -> None:
        """Apply its manifest, which names no model."""
        await self._kube.create(RAY_SERVICES, self._namespace, ray_service(self._namespace, self._name))

    async def delete(self) -> None:
        """Somebody deletes it."""
        await self._kube.delete(RAY_SERVICES, self._namespace, self._name)

    async def catch_up(self) -> None:
        """Do what KubeRay and the pods do about what is in the API server."""
        found: dict[str, Any] | None = None
        with suppress(NotFound):
            found = dict(await self._kube.get(RAY_SERVICES, self._namespace, self._name))
        uid = found["metadata"]["uid"] if found is not None else ""
        if uid != self._uid:
            self._uid = uid
            await self._take_down()
            if found is not None:
                await self._bring_up()
        self.spec = serving_spec(found) if found is not None else ServingSpec()

    async def read(self, service: ServiceRef, addresses: Sequence[str]) -> Scrape:
        """What the pods say of a model, in place of their metrics pages."""
        served = [m for m in self.spec.models if m.name == service.model]
        replicas = [self._evidence(a, m) for a in addresses if a in self._pods for m in served]
        silent = tuple(a for a in addresses if a not in self._pods)
        problem = "there is no replica to ask" if not addresses else f"no answer from {silent}" if silent else None
        return Scrape(self._now(), tuple(replicas), problem=problem, silent=silent)

    def model(self, name: str = "flows") -> ModelSpec | None:
        """What the pods serve of a model; None: it is not among theirs."""
        return next((m for m in self.spec.models if m.name == name), None)

    def _evidence(self, where: str, model: ModelSpec) -> ReplicaEvidence:
        taken = sum(v.weight for v in model.variants)
        shares = [("stable", model.revision, 100 - taken), *((v.name, v.revision, v.weight) for v in model.variants)]
        tallies = {}
        for variant, revision, weight in shares:
            named = key(variant, revision.digest)
            requests, errors = self._counted[where, named]
            more = int(_REQUESTS * weight / 100)
            requests, errors = requests + more, errors + (more // 2 if revision.bundle in self.bad else 0)
            self._counted[where, named] = requests, errors
            tallies[named] = Tally(requests=requests, rows=requests, bad={GateName("errors"): errors} if errors else {})
        loaded = tuple(dict.fromkeys(revision.digest for _, revision, _ in shares))
        return ReplicaEvidence(replica=self._pods[where], loaded=loaded, tallies=tallies)

    async def _take_down(self) -> None:
        for name in self._pods.values():
            await self._kube.delete(PODS, self._namespace, name)
        self._pods.clear()

    async def _bring_up(self) -> None:
        self._clusters += 1
        cluster = f"{self._name}-c{self._clusters}"
        labels = {"ray.io/cluster": cluster, "ray.io/node-type": "worker"}
        for number in range(2):
            made = pod(self._namespace, f"{cluster}-{number}", f"10.0.{self._clusters}.{number + 1}", labels)
            name, status = made["metadata"]["name"], {"status": made["status"]}
            await self._kube.create(PODS, self._namespace, made)
            await self._kube.apply(PODS, self._namespace, name, status, subresource="status")
            self._pods[address(made, PORT)] = name
        active = {"status": {"activeServiceStatus": {"rayClusterName": cluster}}}
        await self._kube.apply(RAY_SERVICES, self._namespace, self._name, active, subresource="status")
