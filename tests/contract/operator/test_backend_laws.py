"""What every backend keeps: acting is idempotent, what is told is what is observed, and nothing is taken down that was there.

Over the fake, and over the ray and kserve adapters on an API server (the fake one; a real one where one can be had)."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from operators.api.types import KserveBackend, RayBackend
from operators.backends.inference_service import SERVED
from operators.backends.kserve import KserveInference
from operators.backends.kube import INFERENCE_SERVICES, PODS, RAY_CLUSTERS, RAY_SERVICES, Kube
from operators.backends.kube_access import access
from operators.backends.load import LoadMeter
from operators.backends.metrics_pages import MetricsPages
from operators.backends.ray import RayServeBackend
from operators.ports import BackendError, ServiceRef
from operators.rollout.facts import loading
from operators.rollout.status import Target, TargetVariant
from serving.spec import ServingSpec
from tests.fakes.apiserver import Handle
from tests.fakes.operator.backend import FakeBackend
from tests.fakes.operator.operator_world import MERGE
from tests.fakes.operator.rollouts import A, B
from tests.fakes.operator.serving_pods import FOREIGN_CRDS, ServingPods, pod, ray_cluster, ray_service, worker_group
from tests.waiting import until_so

SERVICE_NAME = "ids"


@dataclass
class Place:
    """A backend under the laws. settle: let what it was told reach the pods. version: changes with every write. label: somebody
    labels the resource behind it. forget_config: somebody takes serveConfigV2 out of it."""

    backend: Any
    service: ServiceRef
    settle: Callable[[], None]
    version: Callable[[], str]
    label: Callable[[str], None] = lambda _: None
    forget_config: Callable[[], Any] = lambda: None


def at(weight: float) -> Target:
    return Target(stable=A, variants=(TargetVariant(name="candidate", revision=B, weight=weight),))


@asynccontextmanager
async def fake(_: Handle, namespace: str, __: ServingPods) -> AsyncIterator[Place]:
    backend, service = FakeBackend(), ServiceRef(namespace, SERVICE_NAME, SERVICE_NAME)
    yield Place(backend, service, lambda: None, lambda: str(len(backend.told.get(service, ()))))


@asynccontextmanager
async def ray(api: Handle, namespace: str, pods: ServingPods, groups: Any = None) -> AsyncIterator[Place]:
    service, path = ServiceRef(namespace, SERVICE_NAME, SERVICE_NAME), f"/apis/ray.io/v1/namespaces/{namespace}/rayservices"
    group = pods.add(namespace, "ray")
    with api.http() as http:
        http.post(path, json=ray_service(namespace, "ray", groups=groups)).raise_for_status()
        status = {"status": {"activeServiceStatus": {"rayClusterName": "c1"}}}
        http.patch(f"{path}/ray/status", json=status, headers=MERGE).raise_for_status()
        for n, address in enumerate(group.addresses):
            _make_pod(http, pod(namespace, f"ray-{n}", address, {"ray.io/cluster": "c1", "ray.io/node-type": "worker"}))
        async with _clients(api) as (kube, read):
            backend = RayServeBackend(kube, RayBackend(ray_service="ray", metrics_port=pods.port), read, LoadMeter())
            found = lambda: http.get(f"{path}/ray").json()  # noqa: E731
            yield Place(
                backend,
                service,
                lambda: pods.told(found()),
                lambda: found()["metadata"]["resourceVersion"],
                lambda text: _label(http, f"{path}/ray", text),
                lambda: http.patch(f"{path}/ray", json={"spec": {"serveConfigV2": None}}, headers=MERGE).raise_for_status(),
            )


@asynccontextmanager
async def kserve(api: Handle, namespace: str, pods: ServingPods) -> AsyncIterator[Place]:
    service = ServiceRef(namespace, SERVICE_NAME, SERVICE_NAME)
    where = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/{SERVICE_NAME}"
    made: set[str] = set()
    pods.add(namespace, "none", replicas=1)  # so that the port is known
    with api.http() as http:

        def settle() -> None:
            spec = http.get(where).json()["spec"]
            for predictor in (spec["predictor"], *(c["predictor"] for c in spec.get("canary") or [])):
                name = predictor["name"]
                if name not in made:
                    made.add(name)
                    (address,) = pods.add(namespace, name, replicas=1).addresses
                    labels = {
                        "serving.kserve.io/inferenceservice": SERVICE_NAME,
                        "app": f"isvc.{SERVICE_NAME}-{name}-predictor",
                    }
                    _make_pod(http, pod(namespace, name, address, labels))
                (env,) = [e for e in predictor["model"]["env"] if e["name"] == SERVED]
                pods.serve((namespace, name), ServingSpec.model_validate(json.loads(env["value"])))

        def version() -> str:
            return str((http.get(where).json().get("metadata") or {}).get("resourceVersion"))

        async with _clients(api) as (kube, read):
            place = KserveBackend(storage_uri="s3://bundles/{digest}", metrics_port=pods.port)
            backend = KserveInference(kube, place, read, LoadMeter())
            yield Place(backend, service, settle, version, lambda text: _label(http, where, text))


def _label(http: Any, path: str, text: str) -> None:
    http.patch(path, json={"metadata": {"labels": {"note": text}}}, headers=MERGE).raise_for_status()


def _make_pod(http: Any, document: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{document['metadata']['namespace']}/pods"
    http.post(path, json=document).raise_for_status()
    where = f"{path}/{document['metadata']['name']}/status"
    http.patch(where, json={"status": document["status"]}, headers=MERGE).raise_for_status()


@asynccontextmanager
async def _clients(api: Handle) -> AsyncIterator[tuple[Kube, Any]]:
    async with Kube(access(api.kubeconfig()), manager="vedette-operator") as kube, aiohttp.ClientSession() as session:
        pages = MetricsPages(session)
        yield kube, lambda service, addresses: pages.read(service.model, addresses)


async def _served(http: Any) -> None:
    """A definition is served a moment after it is made."""
    for kind in (RAY_SERVICES, RAY_CLUSTERS, INFERENCE_SERVICES):
        path = kind.path(None)
        await until_so(lambda path=path: http.get(path).status_code == 200, f"{path} is not served", every_s=0.1)


@pytest.fixture(params=[fake, ray, kserve], ids=["fake", "ray", "kserve"])
async def place(request, api_server, namespace) -> AsyncIterator[Place]:
    with api_server.http() as http:
        for crd in FOREIGN_CRDS:
            http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
        await _served(http)
    with ServingPods() as pods:
        async with request.param(api_server, namespace, pods) as made:
            yield made


async def test_an_objective_that_nobody_knows_is_left_as_it_is(place: Place):
    await place.backend.carry_out(place.service, at(5).model_copy(update={"latency_objective_ms": 250.0}))
    before = place.version()
    await place.backend.carry_out(place.service, at(5).model_copy(update={"latency_objective_ms": None}))
    assert place.version() == before


async def test_what_is_so_already_is_not_done_again(place: Place):
    await place.backend.carry_out(place.service, at(5))
    before = place.version()
    await place.backend.carry_out(place.service, at(5))
    assert place.version() == before
    await place.backend.carry_out(place.service, at(25))
    assert place.version() != before


async def test_what_was_told_is_loaded_and_observed(place: Place):
    await place.backend.carry_out(place.service, at(5))
    place.settle()
    seen = (await place.backend.look(place.service)).observation
    assert seen.problem is None
    assert seen.expected_replicas == len(seen.replicas) == 2
    assert {digest for r in seen.replicas for digest in r.loaded} == {A.digest, B.digest}
    for variant, revision in (("stable", A), ("candidate", B)):
        holders = [r for r in seen.replicas if r.holds is None or variant in r.holds]
        assert holders
        assert all(revision.digest in r.loaded for r in holders)
    named = {k for r in seen.replicas for k in r.tallies}
    assert named <= {f"stable@{A.digest}", f"candidate@{B.digest}"}


async def test_after_a_promotion_the_former_candidate_is_stable(place: Place):
    await place.backend.carry_out(place.service, at(100))
    place.settle()
    await place.backend.carry_out(place.service, Target(stable=B))
    place.settle()
    seen = (await place.backend.look(place.service)).observation
    holders = [r for r in seen.replicas if r.holds is None or "stable" in r.holds]
    assert holders
    assert all(B.digest in r.loaded for r in holders)


async def test_the_load_counts_replicas(place: Place):
    await place.backend.carry_out(place.service, at(5))
    place.settle()
    view = await place.backend.look(place.service)
    assert view.load.ready_replicas == 2
    assert view.load.wanted_replicas == 2
    assert view.load.at == view.observation.at, "of the same pages"


async def test_nothing_there_is_a_problem_never_an_exception(place: Place):
    nobody = ServiceRef("nowhere", "none", "none")
    assert (await place.backend.look(nobody)).observation.problem
    assert (await place.backend.look(nobody)).load.problem


async def test_removing_is_for_ever_and_twice_is_once(place: Place):
    await place.backend.carry_out(place.service, at(5))
    await place.backend.remove(place.service)
    before = place.version()
    await place.backend.remove(place.service)
    assert place.version() == before
    assert await place.backend.serves(place.service) is None


class Interrupted:
    """A Kube client in which something happens between a read and the write that follows it."""

    def __init__(self, kube: Kube, happens: Callable[[], Awaitable[None]]) -> None:
        self._kube, self._happens = kube, happens

    async def apply(self, *args: Any, **kwargs: Any) -> Any:
        happens, self._happens = self._happens, _nothing
        await happens()
        return await self._kube.apply(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)


async def _nothing() -> None: ...


@pytest.mark.parametrize("place", [ray, kserve], ids=["ray", "kserve"], indirect=True)
async def test_who_has_read_before_another_wrote_overwrites_nothing(place: Place):
    """An operator that has just lost the Lease: its write is on the way when the next leader decides otherwise."""
    await place.backend.carry_out(place.service, at(5))
    kube = place.backend._kube
    stale = copy.copy(place.backend)
    stale._kube = Interrupted(kube, lambda: place.backend.carry_out(place.service, Target(stable=A)))
    with pytest.raises(BackendError) as refused:
        await stale.carry_out(place.service, at(25))
    assert refused.value.can_retry
    after = place.version()
    await place.backend.carry_out(place.service, Target(stable=A))
    assert place.version() == after, "what the next leader decided is still so"


@pytest.mark.parametrize("place", [ray, kserve], ids=["ray", "kserve"], indirect=True)
async def test_a_write_of_others_that_is_not_about_us_is_no_hindrance(place: Place):
    await place.backend.carry_out(place.service, at(5))

    async def labelled() -> None:
        place.label("edited")

    busy = copy.copy(place.backend)
    busy._kube = Interrupted(place.backend._kube, labelled)
    await busy.carry_out(place.service, at(25))
    before = place.version()
    await place.backend.carry_out(place.service, at(25))
    assert place.version() == before


@asynccontextmanager
async def workers(api: Handle, namespace: str, pods: ServingPods) -> AsyncIterator[tuple[Place, Any]]:
    """A RayService with a worker group of 2, at most 4, and its RayCluster; how the RayCluster's group stands."""
    async with ray(api, namespace, pods, [worker_group(2, 1, 4)]) as place:
        with api.http() as http:
            path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
            http.post(path, json=ray_cluster(namespace, "c1", [worker_group(2, 1, 2)])).raise_for_status()
            yield place, lambda: http.get(f"{path}/c1").json()["spec"]["workerGroupSpecs"][0]


@pytest.mark.parametrize("place", [workers], ids=["ray"], indirect=True)
async def test_workers_follow_the_replicas_as_far_as_there_is_room(place):
    place, group = place
    for asked, given in ((3, 3), (6, 4)):
        await place.backend.carry_out(place.service, Target(stable=A, replicas=asked))
        assert (group()["replicas"], group()["maxReplicas"]) == (given, 4)
        assert (await place.backend.look(place.service)).load.wanted_replicas == given
        assert ("raise maxReplicas" in (place.backend.shortfall or "")) is (asked > given)
    before = group()
    await place.backend.carry_out(place.service, Target(stable=A, replicas=6))
    assert group() == before
    assert (await place.backend.look(place.service)).load.most_replicas == 4


@pytest.mark.parametrize("place", [workers], ids=["ray"], indirect=True)
async def test_workers_are_given_though_somebody_writes_the_ray_cluster_meanwhile(place, api_server, namespace, monkeypatch):
    place, group = place
    listed, wrote = Kube.list, []

    async def while_others_write(kube, kind, *where, **how):
        found = await listed(kube, kind, *where, **how)
        if kind is PODS and len(wrote) < 2:
            wrote.append(kind)
            with api_server.http() as http:
                _label(http, f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/c1", str(len(wrote)))
        return found

    monkeypatch.setattr(Kube, "list", while_others_write)
    await place.backend.carry_out(place.service, Target(stable=A, replicas=3))
    assert len(wrote) == 2
    assert group()["replicas"] == 3


@pytest.mark.parametrize("place", [workers], ids=["ray"], indirect=True)
async def test_a_rollout_needs_the_replicas_that_are_there_and_the_service_those_that_are_wanted(place):
    place, _ = place
    await place.backend.carry_out(place.service, Target(stable=A, replicas=4))
    place.settle()
    seen = (await place.backend.look(place.service)).observation
    assert (len(seen.replicas), seen.expected_replicas, seen.wanted_replicas) == (2, 2, 4)
    assert loading(seen, "stable", A, seen.at, timedelta(minutes=1)).is_everywhere
    assert seen.problem is None


@pytest.mark.parametrize("place", [workers], ids=["ray"], indirect=True)
async def test_a_worker_that_runs_and_is_not_ready_is_waited_for(place, api_server, namespace):
    """A candidate that ends its workers is not everywhere because it is on those that are left."""
    place, _ = place
    await place.backend.carry_out(place.service, Target(stable=A, replicas=2))
    place.settle()
    nobody = {"podIP": "127.99.0.1", "podIPs": [{"ip": "127.99.0.1"}], "conditions": [{"type": "Ready", "status": "False"}]}
    with api_server.http() as http:
        path = f"/api/v1/namespaces/{namespace}/pods/ray-1/status"
        http.patch(path, json={"status": nobody}, headers=MERGE).raise_for_status()
    seen = (await place.backend.look(place.service)).observation
    assert (len(seen.replicas), seen.expected_replicas) == (1, 2)
    assert not loading(seen, "stable", A, seen.at, timedelta(minutes=1)).is_everywhere


@pytest.mark.parametrize("place", [ray], ids=["ray"], indirect=True)
async def test_a_ray_service_without_a_configuration_leaves_it_to_the_operator(place):
    place.forget_config()
    assert await place.backend.serves(place.service) is None
    await place.backend.carry_out(place.service, at(5))
    place.settle()
    assert (await place.backend.serves(place.service)) == A
    assert (await place.backend.look(place.service)).observation.problem is None


async def test_many_writers_of_one_ray_service_lose_nothing(api_server, namespace):
    """Several ModelServices share a RayService: each edits its own model, all at once."""
    with api_server.http() as http, ServingPods() as pods:
        for crd in FOREIGN_CRDS:
            http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
        await _served(http)
        async with ray(api_server, namespace, pods) as place:
            services = [ServiceRef(namespace, f"m{n}", f"m{n}") for n in range(4)]
            left = list(services)
            while left:
                done = await asyncio.gather(*(place.backend.carry_out(s, at(5)) for s in left), return_exceptions=True)
                assert all(d is None or (isinstance(d, BackendError) and d.can_retry) for d in done)
                left = [s for s, d in zip(left, done, strict=True) if d is not None]
            place.settle()
            for service in services:
                assert (await place.backend.serves(service)) == A
