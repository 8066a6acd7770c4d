"""Whether the RayService that a ModelService names can hold as many replicas as the service may ask for, before both are applied. Pure.

The two counts are written in two places: `spec.scaling` (or `spec.replicas`) by who runs a model, the worker groups' bounds by who runs the
cluster. In a cluster the operator says `NoRoom` when they do not fit; `vedette rollout lint` says it of the files."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from operators.api.schema_check import Finding, Path
from operators.api.types import ModelService, ModelServiceSpec
from operators.backends.ray_workers import WorkerCapacity, capacity_of
from operators.backends.serve_config import RayServicePlace, deployment_of, new_config
from operators.ports import BackendError


def no_room(service: ModelService, ray_services: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Counts of a service that its RayService cannot hold, where that is among those given; a refusal each."""
    for found, room in _rooms(service, ray_services):
        for path, asked in _asked(service.spec):
            why = room.shortfall(asked, f"RayService {found}")
            if why is not None:
                yield Finding(path, f"is {asked}: {why}")


def idle_room(service: ModelService, ray_services: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Workers that stand idle while a service is at its least; advice. A service that is not alone on its RayService is not judged."""
    scaling = service.spec.scaling
    if scaling is None:
        return
    for found, room in _rooms(service, ray_services):
        least = sum(int(g.get("minReplicas") or 0) for g in room.groups) * (room.each or 1)
        if least > scaling.min_replicas:
            yield Finding(
                ("spec", "scaling", "minReplicas"),
                f"is {scaling.min_replicas}, and the worker groups of RayService {found} keep workers for {least} replicas at least; "
                f"lower minReplicas there, or write {least} here",
            )


def _asked(spec: ModelServiceSpec) -> Iterator[tuple[Path, int]]:
    if spec.scaling is not None:
        yield ("spec", "scaling", "maxReplicas"), spec.scaling.max_replicas
    if spec.replicas is not None:
        yield ("spec", "replicas"), spec.replicas


def _rooms(service: ModelService, ray_services: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, WorkerCapacity]]:
    backend = service.spec.backend.ray
    if backend is None:
        return
    for ray_service in ray_services:
        metadata, spec = ray_service.get("metadata"), ray_service.get("spec")
        if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping) or metadata.get("name") != backend.ray_service:
            continue
        namespaces = {n for n in (metadata.get("namespace"), service.metadata.namespace) if n}
        if len(namespaces) > 1:
            continue
        place = RayServicePlace(f"RayService {backend.ray_service}", backend.application, backend.deployment)
        try:
            deployment = deployment_of(spec.get("serveConfigV2") or new_config(1), place)
        except BackendError:  # another application than the service names: the operator says so, this is not about room
            continue
        yield backend.ray_service, capacity_of(ray_service, deployment)
