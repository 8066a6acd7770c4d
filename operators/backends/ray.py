"""The `ray` backend: models within a KubeRay RayService.

A weight or a revision changes in serveConfigV2's `user_config`, which KubeRay hands to the running replicas: no restart, no new
cluster. All variants share the replicas. What is edited is operators.backends.serve_config's; what the pods say,
operators.backends.evidence's."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from operators.api.types import RayBackend
from operators.backends.evidence import Scrape
from operators.backends.kube import PODS, RAY_SERVICES, Conflict, Kube, KubeError, NotFound
from operators.backends.load import LoadMeter
from operators.backends.pods import addresses, is_live, is_ready
from operators.backends.port import BackendError, Load, ServiceRef
from operators.backends.serve_config import Place, replicas_of, served_revision, with_model, without_model
from operators.rollout.evidence import Observation
from operators.rollout.spec import Revision
from operators.rollout.status import Target

Read = Callable[[ServiceRef, Sequence[str]], Awaitable[Scrape]]
"""Reads the evidence of a service from the pods at these addresses (or from elsewhere, by the service's name)."""
_TRIES: Final = 4


class RayServeBackend:
    """One service's place in a RayService."""

    shares_replicas = True

    def __init__(self, kube: Kube, place: RayBackend, read: Read, meter: LoadMeter) -> None:
        self._kube, self._place, self._read, self._meter = kube, place, read, meter
        self._cluster = ""

    async def carry_out(self, service: ServiceRef, target: Target) -> None:
        """Write the target into the RayService; nothing is written if it says so already. Raises BackendError."""
        place, model = self._where(service), target.serving(service.model)
        await self._edit(service, lambda text: with_model(text, place, model, target.replicas))

    async def observe(self, service: ServiceRef) -> Observation:
        """Ask every pod of the active Ray cluster."""
        try:
            ray_service, pods = await self._look(service)
            wanted = replicas_of(ray_service["spec"].get("serveConfigV2", ""), self._where(service))
        except (KubeError, BackendError) as problem:
            return Observation(at=datetime.now(UTC), problem=str(problem))
        scrape = await self._read(service, addresses(pods, self._place.metrics_port))
        return scrape.observation(wanted if wanted is not None else max(1, sum(map(is_live, pods))))

    async def load(self, service: ServiceRef) -> Load:
        """How busy the replicas are."""
        try:
            ray_service, pods = await self._look(service)
            wanted = replicas_of(ray_service["spec"].get("serveConfigV2", ""), self._where(service))
        except (KubeError, BackendError) as problem:
            return Load(datetime.now(UTC), problem=str(problem))
        scrape = await self._read(service, addresses(pods, self._place.metrics_port))
        ready = sum(map(is_ready, pods))
        return self._meter.measure(service, scrape, ready_replicas=ready, wanted_replicas=ready if wanted is None else wanted)

    async def remove(self, service: ServiceRef) -> None:
        """Take our model out of the RayService; the RayService itself was there before, and stays."""
        place = self._where(service)
        try:
            await self._edit(service, lambda text: without_model(text, place, service.model))
        except BackendError as problem:
            if not isinstance(problem.__cause__, NotFound):
                raise
        self._meter.forget(service)

    async def serves(self, service: ServiceRef) -> Revision | None:
        """The revision that the RayService's user_config has for this model already; None: it has none. Raises BackendError."""
        try:
            found = await self._kube.get(RAY_SERVICES, service.namespace, self._place.ray_service)
        except KubeError as problem:
            raise BackendError(str(problem), can_retry=problem.can_retry) from problem
        return served_revision(found["spec"].get("serveConfigV2", ""), self._where(service), service.model)

    @property
    def selector(self) -> str:
        """Label selector of the pods seen at the last look, for the scale subresource."""
        return f"ray.io/cluster={self._cluster},ray.io/node-type=worker" if self._cluster else ""

    async def _edit(self, service: ServiceRef, edit: Callable[[str], str]) -> None:
        """Read, edit, apply under the version that was read; again if somebody else was faster."""
        name, namespace = self._place.ray_service, service.namespace
        for left in reversed(range(_TRIES)):
            try:
                found = await self._kube.get(RAY_SERVICES, namespace, name)
                before = found["spec"].get("serveConfigV2", "")
                after = edit(before)
                if after == before:
                    return
                version = {"resourceVersion": found["metadata"]["resourceVersion"]}
                fields = {"metadata": version, "spec": {"serveConfigV2": after}}
                await self._kube.apply(RAY_SERVICES, namespace, name, fields)
            except Conflict as problem:
                if not left:
                    raise BackendError(f"RayService {namespace}/{name} keeps changing: {problem}") from problem
            except NotFound as problem:
                raise BackendError(
                    f"RayService {namespace}/{name} is not there; apply it, or write another name in spec.backend.ray.rayService"
                ) from problem
            except KubeError as problem:
                raise BackendError(str(problem), can_retry=problem.can_retry) from problem
            else:
                return

    async def _look(self, service: ServiceRef) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        """The RayService and the pods of its active cluster that may hold replicas."""
        found = await self._kube.get(RAY_SERVICES, service.namespace, self._place.ray_service)
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

    def _where(self, service: ServiceRef) -> Place:
        return Place(
            f"RayService {service.namespace}/{self._place.ray_service}", self._place.application, self._place.deployment
        )
