"""The volumes of a pod: folders on this machine that its containers see at their mount paths.

configMap, secret, projected and downwardAPI are written as a kubelet writes them (`..data` is a link that is replaced as a whole, so that
a reader sees the old set of files or the new one); emptyDir is a folder, or memory; a claim is a folder that outlives the pod."""

import base64
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.cluster.kubelet.environment import ConfigError, of_pod, of_resource, quantity

Json = dict[str, Any]
DATA: Final = "..data"
MODE: Final = 0o644
Fetch = Callable[[str, str, bool], Awaitable[Mapping[str, bytes]]]
"""(kind, name, optional): what a ConfigMap or Secret holds. Raises ConfigError."""
Token = Callable[[Json], Awaitable[str]]
"""A service account's token for a `serviceAccountToken` source."""


@dataclass(slots=True)
class Volumes:
    """folder: the pod's. memory: folders that the sandbox puts into memory, with their size in bytes or ""."""

    pod: Json
    folder: Path
    claims: Path
    fetch: Fetch
    token: Token
    allocatable: Mapping[str, str]
    memory: list[tuple[str, str]] = field(default_factory=list)
    read_only: set[str] = field(default_factory=set)

    async def make(self) -> None:
        """Make all of them. Raises ConfigError for what is not there."""
        for volume in self.pod["spec"].get("volumes") or ():
            name = volume["name"]
            at = self.path(volume)
            if "emptyDir" in volume:
                self._empty(at, volume["emptyDir"] or {})
            elif "persistentVolumeClaim" in volume:
                at.mkdir(parents=True, exist_ok=True)
                self._own(at, 0o777)
            elif written := await self._files(volume):
                self.read_only.add(name)
                self._write(at, *written)
            else:
                raise ConfigError(f"volume {name} is of no kind that these tests know: {sorted(set(volume) - {'name'})}")

    async def refresh(self) -> None:
        """Write anew what may have changed: ConfigMaps, Secrets, tokens."""
        for volume in self.pod["spec"].get("volumes") or ():
            if volume["name"] in self.read_only and (written := await self._files(volume)):
                self._write(self.path(volume), *written)

    def path(self, volume: Json) -> Path:
        """Where a volume lies on this machine."""
        if claim := volume.get("persistentVolumeClaim"):
            return self.claims / str(self.pod["metadata"]["namespace"]) / str(claim["claimName"])
        return self.folder / "volumes" / str(volume["name"])

    def mounts(self, container: Json, expand: Callable[[str], str]) -> list[tuple[str, str, bool]]:
        """(path here, path in the container, writable), those that lie deeper last. expand: for subPathExpr."""
        volumes = {volume["name"]: volume for volume in self.pod["spec"].get("volumes") or ()}
        found = []
        for mount in container.get("volumeMounts") or ():
            volume = volumes[mount["name"]]
            source = self.path(volume)
            sub = expand(mount["subPathExpr"]) if mount.get("subPathExpr") else mount.get("subPath", "")
            if sub:
                source = source / sub
                if not source.exists() and mount["name"] not in self.read_only:
                    source.mkdir(parents=True)
                    self._own(source, 0o777)
            read_only = mount.get("readOnly") or (volume.get("persistentVolumeClaim") or {}).get("readOnly")
            found.append((str(source), mount["mountPath"].rstrip("/"), not read_only and mount["name"] not in self.read_only))
        return sorted(found, key=lambda mount: mount[1].count("/"))

    def remove(self) -> None:
        """Of the pod's folder everything but logs."""
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)

    @property
    def _group(self) -> int | None:
        group: int | None = (self.pod["spec"].get("securityContext") or {}).get("fsGroup")
        return group

    def _own(self, path: Path, mode: int) -> None:
        group = self._group
        os.chown(path, 0, group or 0)
        path.chmod(mode | (0o2070 if group is not None else 0))

    def _empty(self, at: Path, said: Json) -> None:
        at.mkdir(parents=True, exist_ok=True)
        if said.get("medium") == "Memory":
            self.memory.append((str(at), str(int(quantity(said["sizeLimit"]))) if said.get("sizeLimit") else ""))
        else:
            self._own(at, 0o777)

    async def _files(self, volume: Json) -> tuple[dict[str, tuple[bytes, int]], int] | None:
        """The files of a volume that is written by the kubelet, with their modes; None for another kind."""
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                said = volume[kind]
                default = said.get("defaultMode", MODE)
                sources = said.get("sources", []) if kind == "projected" else [{kind: said}]
                files: dict[str, tuple[bytes, int]] = {}
                for source in sources:
                    ((of_kind, selector),) = source.items()
                    files |= await self._source(of_kind, selector, default)
                return files, default
        return None

    async def _source(self, kind: str, said: Json, default: int) -> dict[str, tuple[bytes, int]]:
        if kind == "serviceAccountToken":
            return {said["path"]: ((await self.token(said)).encode(), 0o600 if self._group is None else 0o640)}
        if kind == "downwardAPI":
            return {item["path"]: (self._of_pod(item).encode(), item.get("mode", default)) for item in said.get("items", ())}
        name = said.get("secretName") or said["name"]
        found = await self.fetch(kind, name, said.get("optional", False))
        if not said.get("items"):
            return {key: (value, default) for key, value in found.items()}
        missing = [item["key"] for item in said["items"] if item["key"] not in found]
        if missing and not said.get("optional"):
            raise ConfigError(f"{kind} {name} has no {missing}")
        return {i["path"]: (found[i["key"]], i.get("mode", default)) for i in said["items"] if i["key"] in found}

    def _of_pod(self, item: Json) -> str:
        if "fieldRef" in item:
            return of_pod(self.pod, item["fieldRef"]["fieldPath"])
        selector = item["resourceFieldRef"]
        (container,) = [c for c in self.pod["spec"]["containers"] if c["name"] == selector["containerName"]]
        return of_resource(container, selector, self.allocatable)

    def _write(self, at: Path, files: Mapping[str, tuple[bytes, int]], default: int) -> None:
        at.mkdir(parents=True, exist_ok=True)
        before = at / DATA
        present = {p.name: p.read_bytes() for p in before.iterdir() if p.is_file()} if before.exists() else None
        if present == {name: content for name, (content, _) in files.items()}:
            return
        number = len([p for p in at.iterdir() if p.name.startswith("..v")])
        folder = at / f"..v{number}"
        folder.mkdir()
        group = self._group
        for name, (content, mode) in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            # A token belongs to the container's user where all containers have the same one.
            os.chown(target, self._token_owner() if mode == 0o600 else 0, group if group is not None else 0)
            target.chmod(mode | (0o440 if group is not None else 0))
        draft = at / "..draft"
        draft.symlink_to(folder.name)
        draft.replace(before)
        for name in files:
            link = at / name.partition("/")[0]
            if not link.is_symlink():
                link.symlink_to(f"{DATA}/{link.name}")

    def _token_owner(self) -> int:
        spec = self.pod["spec"]
        default = (spec.get("securityContext") or {}).get("runAsUser", 0)
        owners = {(c.get("securityContext") or {}).get("runAsUser", default) for c in spec["containers"]}
        return int(owners.pop()) if len(owners) == 1 else 0


def decoded(kind: str, document: Json) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds."""
    data = document.get("data") or {}
    if kind == "secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = {key: base64.b64decode(value) for key, value in (document.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in data.items()}, **binary}
