"""The `ray` backend: models within a KubeRay RayService.

A weight or a revision changes in serveConfigV2's `user_config`, which KubeRay hands to the running replicas: no restart, no new
cluster. All variants share the replicas; workers follow their count. operators.backends.serve_config makes the edits,
operators.backends.ray_workers counts the workers, operators.backends.evidence reads the pods."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from operators.api.types import RayBackend
from operators.backends.evidence import Scrape
from operators.backends.kube import PODS, RAY_CLUSTERS, RAY_SERVICES, Conflict, Kube, KubeError, KubeObject, NotFound
from operators.backends.load import LoadMeter
from operators.backends.pods import address, addresses, is_live, is_ready
from operators.backends.ray_workers import WorkerCapacity, capacity_of, resized
from operators.backends.serve_config import (
    APPLICATION,
    RayServicePlace,
    deployment_of,
    entry_of,
    new_config,
    replicas_of,
    served_model,
    served_revision,
    with_model,
    without_model,
)
from operators.ports import BackendError, BackendView, ServiceRef
from operators.rollout.spec import Revision
from operators.rollout.status import Target

ReadEvidence = Callable[[ServiceRef, Sequence[str]], Awaitable[Scrape]]
"""Reads the evidence of a service from the pods at these addresses (or from elsewhere, by the service's name)."""
_TRIES: Final = 4


class RayServeBackend:
    """One service's place in a RayService. Made for one look: it acts on its first reading, unless somebody else wrote meanwhile."""

    shares_replicas = True

    def __init__(self, kube: Kube, place: RayBackend, read: ReadEvidence, meter: LoadMeter) -> None:
        self._kube, self._place, self._read, self._meter = kube, place, read, meter
        self._cluster = ""
        self._seen: KubeObject | None = None
        self._shortfall: str | None = None

    async def carry_out(self, service: ServiceRef, target: Target) -> None:
        """Write the target into the RayService, and give its Ray cluster the workers; nothing is written if it is so already.
        Raises BackendError."""
        place = self._where(service)
        room = WorkerCapacity()

        def edit(found: KubeObject) -> str:
            nonlocal room
            text = _config(found, self._place.application)
            room = capacity_of(found, deployment_of(text, place))
            model = target.serving(service.model, served_model(text, place, service.model))
            return with_model(text, place, model, _least(target.replicas, room.most))

        found = await self._edit(service, edit)
        self._shortfall = None
        if target.replicas is not None:
            self._shortfall = room.shortfall(target.replicas, place.subject)
            await self._resize(service, found, room, min(target.replicas, room.most or target.replicas))

    async def look(self, service: ServiceRef) -> BackendView:
        """Ask every pod of the active Ray cluster. Expected are at most as many replicas as are wanted, among the pods that run. A wanted
        replica without a running pod (no worker, no room) delays nothing. A pod that runs and is not ready does, because the candidate may
        be what stops it."""
        try:
            ray_service, pods = await self._found_with_pods(service)
            text, place = _config(ray_service, self._place.application), self._where(service)
            wanted, room = replicas_of(text, place), capacity_of(ray_service, deployment_of(text, place))
        except (KubeError, BackendError) as problem:
            return BackendView.not_seen(datetime.now(UTC), str(problem))
        scrape = await self._scrape(service, pods)
        ready = sum(map(is_ready, pods))
        answering = max(1, len(scrape.replicas))
        expected = max(ready, answering) if wanted is None else min(wanted, max(sum(map(is_live, pods)), answering))
        load = self._meter.measure(service, scrape, ready_replicas=ready, wanted_replicas=ready if wanted is None else wanted)
        return BackendView(scrape.observation(expected, wanted_replicas=wanted), replace(load, most_replicas=room.most))

    async def remove(self, service: ServiceRef) -> None:
        """Take our model out of the RayService; the RayService itself was there before, and stays."""
        place = self._where(service)

        def edit(found: KubeObject) -> str:
            return without_model(found["spec"].get("serveConfigV2", ""), place, service.model)

        try:
            await self._edit(service, edit)
        except BackendError as problem:
            if not isinstance(problem.__cause__, NotFound):
                raise
        self._meter.forget(service)

    async def serves(self, service: ServiceRef) -> Revision | None:
        """The revision that the RayService's user_config has for this model already; None: it has none. Raises BackendError."""
        try:
            found = await self._found(service)
        except KubeError as problem:
            raise BackendError(str(problem), can_retry=problem.can_retry) from problem
        return served_revision(_config(found, self._place.application), self._where(service), service.model)

    @property
    def selector(self) -> str:
        """Label selector of the pods seen at the last look, for the scale subresource."""
        return f"ray.io/cluster={self._cluster},ray.io/node-type=worker" if self._cluster else ""

    @property
    def shortfall(self) -> str | None:
        """Why the target was not carried out in full; None: it was."""
        return self._shortfall

    async def _edit(self, service: ServiceRef, edit: Callable[[KubeObject], str]) -> KubeObject:
        """Edit what was seen and apply it under the version that was read; try again after a conflict, unless the other writer changed our
        part: that is left to the next look. Returns the RayService as it is then. Raises BackendError."""
        name, namespace = self._place.ray_service, service.namespace
        seen, self._seen = self._seen, None
        mine: tuple[Any, Any] | None = None
        for left in reversed(range(_TRIES)):
            try:
                found = seen or await self._found(service)
                seen = None
                before = found["spec"].get("serveConfigV2", "")
                ours = entry_of(before, self._where(service), service.model)
                if mine is not None and ours != mine:
                    raise BackendError(
                        f"RayService {namespace}/{name}: somebody else changed {service.model} meanwhile; it is looked at again"
                    )
                mine, after = ours, edit(found)
                if after == before:
                    return found
                version = {"resourceVersion": found["metadata"]["resourceVersion"]}
                fields = {"metadata": version, "spec": {"serveConfigV2": after}}
                return await self._kube.apply(RAY_SERVICES, namespace, name, fields)
            except Conflict as problem:
                if not left:
                    raise BackendError(f"RayService {namespace}/{name} keeps changing: {problem}") from problem
            except NotFound as problem:
                raise self._missing(service) from problem
            except KubeError as problem:
                raise BackendError(str(problem), can_retry=problem.can_retry) from problem
        raise AssertionError("the last try returns or raises")

    async def _resize(self, service: ServiceRef, ray_service: KubeObject, room: WorkerCapacity, replicas: int) -> None:
        """Give the Ray clusters (the active one, and one that is to follow it) as many workers as the replicas need."""
        wanted = room.workers(replicas)
        status = ray_service.get("status") or {}
        for part in ("activeServiceStatus", "pendingServiceStatus") if wanted is not None else ():
            name = (status.get(part) or {}).get("rayClusterName")
            if not name or wanted is None:
                continue
            for left in reversed(range(_TRIES)):
                try:
                    await self._give_workers(service.namespace, name, room, wanted)
                except NotFound:
                    break  # it is just being made, or going
                except KubeError as problem:
                    if isinstance(problem, Conflict) and left:
                        continue  # most often KubeRay wrote its status
                    raise BackendError(
                        f"RayCluster {service.namespace}/{name} could not be given its workers: {problem}",
                        can_retry=problem.can_retry,
                    ) from problem
                else:
                    break

    async def _give_workers(self, namespace: str, name: str, room: WorkerCapacity, wanted: Mapping[str, int]) -> None:
        """Of one RayCluster, over the version that was read. Raises NotFound, Conflict, KubeError."""
        cluster = await self._kube.get(RAY_CLUSTERS, namespace, name)
        pods = await self._kube.list(PODS, namespace, f"ray.io/cluster={name},ray.io/node-type=worker")
        patch = resized(cluster, room, wanted, pods, datetime.now(UTC))
        if patch:
            await self._kube.patch(RAY_CLUSTERS, namespace, name, patch)

    async def _scrape(self, service: ServiceRef, pods: Sequence[Mapping[str, Any]]) -> Scrape:
        """Ask every pod that runs. One that is not ready need not answer: it may hold no replica (yet, or any more)."""
        scrape = await self._read(service, addresses(pods, self._place.metrics_port))
        idle = {address(p, self._place.metrics_port) for p in pods if is_live(p) and not is_ready(p)}
        is_excused = scrape.silent and scrape.replicas and idle.issuperset(scrape.silent)
        return replace(scrape, problem=None) if is_excused else scrape

    async def _found_with_pods(self, service: ServiceRef) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        """The RayService and the pods of its active cluster that may hold replicas."""
        found = self._seen = await self._found(service)
        cluster = ((found.get("status") or {}).get("activeServiceStatus") or {}).get("rayClusterName")
        if not cluster:
            raise BackendError(
                f"RayService {service.namespace}/{self._place.ray_service} has no active Ray cluster yet; see `kubectl describe`"
            )
        self._cluster = cluster
        pods = await self._kube.list(PODS, service.namespace, f"ray.io/cluster={cluster}")
        with_head = found["spec"].get("excludeHeadPodFromServeSvc") is not True
        kinds = {"worker", "head"} if with_head and len(pods) == 1 else {"worker"}
        return found, [p for p in pods if (p["metadata"].get("labels") or {}).get("ray.io/node-type") in kinds]

    async def _found(self, service: ServiceRef) -> KubeObject:
        """The RayService. Raises BackendError: it is not there; KubeError."""
        try:
            return await self._kube.get(RAY_SERVICES, service.namespace, self._place.ray_service)
        except NotFound as problem:
            raise self._missing(service) from problem

    def _missing(self, service: ServiceRef) -> BackendError:
        return BackendError(
            f"RayService {service.namespace}/{self._place.ray_service} does not exist; apply it, or create the ModelService again with "
            "another name in spec.backend.ray.rayService"
        )

    def _where(self, service: ServiceRef) -> RayServicePlace:
        return RayServicePlace(
            f"RayService {service.namespace}/{self._place.ray_service}", self._place.application, self._place.deployment
        )


def _config(ray_service: KubeObject | Mapping[str, Any], application: str) -> str:
    """Its serveConfigV2; a new one if it has none and so leaves the field to the operator."""
    text: str = ray_service["spec"].get("serveConfigV2") or ""
    if text.strip() or application != APPLICATION:
        return text
    groups = (ray_service["spec"].get("rayClusterConfig") or {}).get("workerGroupSpecs") or ()
    return new_config(sum(int(g.get("replicas") or g.get("minReplicas") or 0) for g in groups))


def _least(asked: int | None, most: int | None) -> int | None:
    return asked if asked is None or most is None else min(asked, most)
