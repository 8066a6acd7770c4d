"""Nodes, and the pods that are bound to them."""

import asyncio
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.cluster.kubelet.control_groups import ControlGroups
from tests.cluster.kubelet.environment import ConfigError
from tests.cluster.kubelet.images import ROOT, Image, from_dockerfile, named
from tests.cluster.kubelet.networking.bridge import Network
from tests.cluster.kubelet.networking.names import DOMAIN
from tests.cluster.kubelet.networking.services import Services
from tests.cluster.kubelet.pod import Machine, Pod
from tests.cluster.kubelet.sandbox import Sandbox
from tests.cluster.kubelet.volumes import Volumes, decoded
from tests.cluster.kubelet.wire import STRATEGIC, Api

Json = dict[str, Any]
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
OURS: Final = {
    name: f"{name.removeprefix('vedette-')}.Dockerfile" for name in ("vedette-serving", "vedette-operator", "vedette-lifecycle")
}


@dataclass(frozen=True, slots=True)
class Images:
    """Images by name, ours from their Dockerfiles. scratch: a folder for copies. store: the folder that `vedette train`
    filled, for the image of bundles. programs: by image, a program of this machine that needs nothing but itself."""

    scratch: Path
    store: Path | None = None
    programs: Mapping[str, Path] = field(default_factory=dict)

    def __call__(self, reference: str) -> Image:
        """Raises LookupError for an image that is not here."""
        name = named(reference)
        folder = ROOT / "manifests/images"
        if name in OURS:
            return from_dockerfile(folder / OURS[name])
        if name == "vedette-bundles" and self.store:
            return from_dockerfile(folder / "bundles.Dockerfile", self.store, self.scratch)
        if program := self.programs.get(name):
            return Image(layers=((str(program), f"/{name}"),), entry=(f"/{name}",))
        if name == "machine":
            return Image()
        raise LookupError(f"{reference} is no image of these tests: {[*OURS, 'vedette-bundles', 'machine', *self.programs]}")


class Node:
    """One node. beat_s: between two renewals of its lease."""

    def __init__(self, api: Api, name: str, network: Network, capacity: Mapping[str, str], beat_s: float) -> None:
        self.name, self._api, self._network, self._beat_s = name, api, network, beat_s
        self.capacity = {"cpu": "8", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi", **capacity}
        self.is_lost = False

    async def register(self) -> None:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        await self._api.post("/api/v1/nodes", {"metadata": {"name": self.name, "labels": labels}})
        lease = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": _now()}
        await self._api.post(LEASES, {"metadata": {"name": self.name}, "spec": lease})
        await self._report()

    async def _report(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kinds = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
        beat = {
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
            "reason": "TestKubelet",
            "message": "runs pods as processes",
        }
        status = {
            "capacity": self.capacity,
            "allocatable": self.capacity,
            "addresses": [{"type": "InternalIP", "address": self._network.machine}, {"type": "Hostname", "address": self.name}],
            "conditions": [{"type": kind, "status": status, **beat} for kind, status in kinds.items()],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0-test", "operatingSystem": "linux", "architecture": "amd64", "osImage": "tests",
                "machineID": self.name, "systemUUID": self.name, "bootID": self.name, "kernelVersion": os.uname().release,
                "containerRuntimeVersion": "processes://1", "kubeProxyVersion": "",
            },
        }  # fmt: skip
        await self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": status}, STRATEGIC)

    async def beat(self) -> None:
        """Renew the lease; a lost node does not. Until it is cancelled."""
        while True:
            try:
                if not self.is_lost and await self._api.patch(f"{LEASES}/{self.name}", {"spec": {"renewTime": _now()}}) is None:
                    await self.register()
            except Exception as problem:  # the API server is away: its controllers will say so
                print(f"{_now()} {self.name}: lease not renewed: {problem}", file=sys.stderr, flush=True)
            await asyncio.sleep(self._beat_s)


class Kubelet:
    """All nodes of a cluster. folder: pods' files and logs, by namespace, name and uid."""

    def __init__(
        self, api: Api, network: Network, services: Services, images: Images, folder: Path, nodes: Mapping[str, Node]
    ) -> None:
        self._api, self._network, self._services, self._images = api, network, services, images
        self._folder, self.nodes = folder, dict(nodes)
        self._groups = ControlGroups(network.number)
        self._groups.start()
        self._pods: dict[str, tuple[Pod, asyncio.Task[None]]] = {}

    async def follow(self) -> None:
        """Until it is cancelled."""
        async for kind, documents in self._api.follow("/api/v1/pods"):
            if kind == "ALL":
                present = {one["metadata"]["uid"] for one in documents}
                for uid in set(self._pods) - present:
                    self._gone(uid)
            for one in documents:
                self._seen(kind, one)

    def _seen(self, kind: str, document: Json) -> None:
        node = self.nodes.get(document["spec"].get("nodeName", ""))
        uid = document["metadata"]["uid"]
        if node is None or node.is_lost:
            return
        if kind == "DELETED":
            self._gone(uid)
        elif uid in self._pods:
            self._pods[uid][0].update(document)
        elif kind != "DELETED":
            pod = self._pod(document, node)
            task = asyncio.create_task(pod.run())
            self._pods[uid] = pod, task
            task.add_done_callback(lambda ended: self._ended(uid, ended))

    def _ended(self, uid: str, task: "asyncio.Task[None]") -> None:
        self._pods.pop(uid, None)
        if not task.cancelled() and (problem := task.exception()):
            print(f"{_now()} pod {uid}: {type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
            traceback.print_exception(problem)

    def _gone(self, uid: str) -> None:
        """Deleted by force: what still runs of it is killed."""
        if uid in self._pods:
            pod, task = self._pods[uid]
            pod.kill()
            task.cancel()

    async def lose(self, name: str) -> None:
        """A node loses power: its pods' processes end, and nobody tells the API server or the peers of their connections."""
        self.nodes[name].is_lost = True
        lost = [found for found in self._pods.values() if found[0].document["spec"].get("nodeName") == name]
        for pod, _ in lost:
            await pod.cut()
        for pod, task in lost:
            pod.kill()
            task.cancel()

    async def stop(self) -> None:
        for pod, task in list(self._pods.values()):
            pod.kill()
            task.cancel()
        await asyncio.gather(*(task for _, task in self._pods.values()), return_exceptions=True)
        self._groups.sweep()

    def _pod(self, document: Json, node: Node) -> Pod:
        metadata = document["metadata"]
        folder = self._folder / metadata["namespace"] / metadata["name"] / metadata["uid"]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sandbox = Sandbox(self._network, self._groups, folder, document, DOMAIN)

        async def fetch(kind: str, name: str, optional: bool) -> Mapping[str, bytes]:
            found = await self._api.get(f"/api/v1/namespaces/{metadata['namespace']}/{kind.lower()}s/{name}")
            if found is None and not optional:
                raise ConfigError(f'{kind.lower()} "{name}" not found')
            return decoded(kind, found or {})

        async def token(said: Json) -> str:
            account = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{document['spec']['serviceAccountName']}"
            bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
            asked = {"expirationSeconds": said.get("expirationSeconds", 3600), "boundObjectRef": bound}
            if said.get("audience"):
                asked["audiences"] = [said["audience"]]
            made = await self._api.post(f"{account}/token", {"spec": asked})
            return str(made["status"]["token"])

        async def write(pod: Json, status: Json) -> Json | None:
            body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
            return await self._api.patch(f"{_at(pod)}/status", body, STRATEGIC)

        async def remove(pod: Json) -> None:
            await self._api.delete(_at(pod), pod["metadata"]["uid"])

        volumes = Volumes(document, folder, self._folder / "claims", fetch, token, node.capacity)
        machine = Machine(self._network.machine, node.capacity, self._images, self._services.links, write, remove)
        return Pod(document, machine, sandbox, volumes)


def _at(pod: Json) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
