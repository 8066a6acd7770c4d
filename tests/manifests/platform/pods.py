"""The pods that manifests make, whatever the kind that makes them: templates within a RayService are pods like those of a Deployment."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Json = dict[str, Any]


def templates(resource: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """The pod templates of one resource, by a name for messages. KServe gives the pods of a ServingRuntime its labels."""
    kind, name = resource["kind"], f"{resource['kind']}/{resource['metadata']['name']}"
    spec = resource.get("spec") or {}
    if kind == "StatefulSet":
        yield name, _with_claims(spec)
    elif kind in {"Deployment", "DaemonSet", "Job"}:
        yield name, spec["template"]
    elif kind == "CronJob":
        yield name, spec["jobTemplate"]["spec"]["template"]
    elif kind in {"RayService", "RayJob", "RayCronJob", "RayCluster"}:
        yield from _of_ray(name, _ray_cluster(kind, spec))
    elif kind == "ServingRuntime":
        yield name, {"metadata": {"labels": spec.get("labels", {})}, "spec": spec_of_runtime(spec)}


def all_templates(resources: Iterable[Mapping[str, Any]]) -> list[tuple[str, Json]]:
    """The pod templates of all resources."""
    return [found for resource in resources for found in templates(resource)]


def as_pod(name: str, template: Json) -> Json:
    """A pod of a template, as a resource of its own: for what judges pods only."""
    metadata = {**template.get("metadata", {}), "name": name.lower().replace("/", "-")}
    spec = {k: v for k, v in template["spec"].items() if k != "restartPolicy"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def containers(template: Json) -> list[Json]:
    """All containers of a template, those of the start first."""
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def spec_of_runtime(spec: Mapping[str, Any]) -> Json:
    """The part of a ServingRuntime's spec that is a pod's."""
    return {
        k: spec[k]
        for k in ("containers", "volumes", "nodeSelector", "tolerations", "affinity", "imagePullSecrets")
        if k in spec
    }


def _with_claims(spec: Mapping[str, Any]) -> Json:
    """The template of a StatefulSet, with a volume for each claim that each of its pods gets."""
    made = [t["metadata"]["name"] for t in spec.get("volumeClaimTemplates", ())]
    volumes = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in made]
    template = spec["template"]
    return {**template, "spec": {**template["spec"], "volumes": [*template["spec"].get("volumes", ()), *volumes]}}


def _ray_cluster(kind: str, spec: Mapping[str, Any]) -> Json:
    found: Json = {
        "RayService": lambda: spec["rayClusterConfig"],
        "RayJob": lambda: spec["rayClusterSpec"],
        "RayCronJob": lambda: spec["jobTemplate"]["rayClusterSpec"],
        "RayCluster": lambda: spec,
    }[kind]()
    return found


def _of_ray(name: str, cluster: Json) -> Iterator[tuple[str, Json]]:
    yield f"{name}/head", cluster["headGroupSpec"]["template"]
    for group in cluster.get("workerGroupSpecs", ()):
        yield f"{name}/{group['groupName']}", group["template"]
