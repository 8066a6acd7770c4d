"""A pod's namespaces, and containers in them, as processes of this machine."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from tests.cluster.kubelet.control_groups import ControlGroups
from tests.cluster.kubelet.images import Image
from tests.cluster.kubelet.networking.bridge import CONTAIN, Network, _line

Json = dict[str, Any]
_PYTHON: Final = (sys.executable, "-I", "-S", str(CONTAIN))
_OF_MACHINE: Final = ("/etc/ssl", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/mime.types")
_LIBRARIES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, slots=True)
class User:
    """Who a container runs as. Raises ValueError where the pod forbids root and the image's user is root."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    no_new_privileges: bool
    drops_capabilities: bool
    read_only: bool


def user_of(pod: Json, container: Json, image: Image) -> User:
    """The image's user, the pod's over it, the container's over that."""
    of_pod = pod["spec"].get("securityContext") or {}
    said = {**of_pod, **(container.get("securityContext") or {})}
    uid = said.get("runAsUser", image.uid)
    if said.get("runAsNonRoot") and uid == 0:
        raise ValueError("container has runAsNonRoot and image will run as root")
    groups = [*(of_pod.get("supplementalGroups") or ()), *([of_pod["fsGroup"]] if "fsGroup" in of_pod else [])]
    drops = "ALL" in (said.get("capabilities") or {}).get("drop", ())
    is_confined = said.get("allowPrivilegeEscalation") is False
    return User(
        uid, said.get("runAsGroup", image.gid), tuple(groups), is_confined, drops, bool(said.get("readOnlyRootFilesystem"))
    )


@dataclass(slots=True)
class Running:
    """A container's process. pid: of its first process, here."""

    process: asyncio.subprocess.Process
    pid: int
    log: Path
    group: str
    groups: ControlGroups

    async def wait(self) -> int:
        return await self.process.wait()

    def ended(self) -> bool:
        """Put its control group away; whether the kernel killed something in it for want of memory."""
        was_out_of_memory = self.groups.was_out_of_memory(self.group)
        self.groups.remove(self.group)
        return was_out_of_memory

    def signal(self, number: int) -> None:
        """SIGTERM goes to the first process, whose own affair it is; SIGKILL ends all of them."""
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.kill(self.pid, signal.SIGKILL)
            else:
                self.process.send_signal(number)


class Sandbox:
    """folder: the pod's. host: name of the pod. files: in each container, `/etc/hosts` among them."""

    def __init__(self, network: Network, groups: ControlGroups, folder: Path, pod: Json, domain: str) -> None:
        self._network, self._groups, self._folder, self._pod = network, groups, folder, pod
        self._hostname = str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]
        self._domain = domain
        self._process: asyncio.subprocess.Process | None = None
        self._launched: set[asyncio.subprocess.Process] = set()
        self._used_groups: set[str] = set()
        self.address = ""

    async def start(self, memory: Sequence[tuple[str, str]]) -> None:
        process = await asyncio.create_subprocess_exec(
            *_PYTHON, "sandbox", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        self._process = process
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"hostname": self._hostname, "memory": memory}).encode() + b"\n")
        await _line(process.stdout, "made")
        self.address = self._network.address()
        inside = await self._network.connect(process.pid, self.address)
        process.stdin.write(json.dumps(inside).encode() + b"\n")
        await _line(process.stdout, "up")

    async def stop(self) -> None:
        """End everything that is in it."""
        self._kill_launched()
        for one in self._launched:
            await one.wait()
        for group in self._used_groups:
            self._groups.remove(group)
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
        if self.address:
            self._network.give_back(self.address)
            self.address = ""

    async def cut(self) -> None:
        """Take it off the network."""
        if self.address:
            await self._network.cut(self.address)

    def kill(self) -> None:
        """As a machine that loses power."""
        self._kill_launched()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _kill_launched(self) -> None:
        for one in self._launched:
            if one.returncode is None:
                one.kill()

    async def run(
        self,
        container: Json,
        image: Image,
        user: User,
        argv: Sequence[str],
        env: Mapping[str, str],
        mounts: Sequence[tuple[str, str, bool]],
        attempt: int,
    ) -> Running:
        """Start a container. Its output goes to `CONTAINER/ATTEMPT.log` of the pod's folder."""
        assert self._process
        log = self._folder / container["name"] / f"{attempt}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        root = self._folder / container["name"] / "root"
        root.mkdir(exist_ok=True)
        group = f"{self._pod['metadata']['uid']}-{container['name']}-{attempt}"
        groups = self._groups.make(group, container)
        self._used_groups.add(group)
        said = {
            "join": self._process.pid, "root": str(root), "mounts": mounts, "read_only": user.read_only,
            "layers": self._layers(image), "links": self._links(), "files": self._files(image),
            "folders": image.folders, "masked": image.masked, "control_groups": groups,
            **self._as(user, container.get("workingDir") or image.cwd, argv, {**image.env, "HOSTNAME": self._hostname, **env}),
        }  # fmt: skip
        with log.open("ab") as output:
            os.fchown(output.fileno(), user.uid, user.gid)  # a program may open its output anew
            return await self._launch("run", said, output, log, group)

    async def execute(
        self, running: Running, container: Json, image: Image, user: User, argv: Sequence[str], env: Mapping[str, str]
    ) -> int:
        """Run a command in a container; its exit status. A caller that gives up takes the command along."""
        said = {
            "join": running.pid,
            "control_groups": self._groups.make(running.group, {}),
            **self._as(user, container.get("workingDir") or image.cwd, argv, {**image.env, "HOSTNAME": self._hostname, **env}),
        }
        with running.log.open("ab") as output:
            started = await self._launch("exec", said, output, running.log, running.group)
        try:
            return await started.wait()
        finally:
            if started.process.returncode is None:
                started.process.kill()

    async def _launch(self, mode: str, said: Json, output: IO[bytes], log: Path, group: str) -> Running:
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *_PYTHON, mode,
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, pass_fds=[writing], start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(writing)
        self._launched = {one for one in self._launched if one.returncode is None} | {process}
        assert process.stdin
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            process.stdin.write(json.dumps({**said, "report_fd": writing}).encode() + b"\n")
            await process.stdin.drain()
            process.stdin.close()
            number = await asyncio.to_thread(pipe.read, 32)
        return Running(process, int(number or process.pid), log, group, self._groups)

    def _as(self, user: User, cwd: str, argv: Sequence[str], env: Mapping[str, str]) -> Json:
        return {
            "uid": user.uid, "gid": user.gid, "groups": user.groups, "cwd": cwd, "argv": argv, "env": env,
            "no_new_privileges": user.no_new_privileges, "drops_capabilities": user.drops_capabilities,
        }  # fmt: skip

    def _layers(self, image: Image) -> list[tuple[str, str]]:
        machine = [("/usr", "/usr"), *((p, p) for p in _OF_MACHINE if Path(p).exists())]
        return [
            *machine,
            *((f"/{n}", f"/{n}") for n in _LIBRARIES if Path("/", n).exists() and not Path("/", n).is_symlink()),
            *image.layers,
        ]

    def _links(self) -> dict[str, str]:
        return {f"/{name}": os.readlink(f"/{name}") for name in _LIBRARIES if Path("/", name).is_symlink()}

    def _files(self, image: Image) -> dict[str, str]:
        namespace = self._pod["metadata"]["namespace"]
        hosts = "127.0.0.1 localhost\n" + f"{self.address} {self._hostname}\n"
        for alias in self._pod["spec"].get("hostAliases") or ():
            hosts += f"{alias['ip']} {' '.join(alias['hostnames'])}\n"
        search = f"{namespace}.svc.{self._domain} svc.{self._domain} {self._domain}"
        users = {0: "root", **image.users}
        return {
            "/etc/hosts": hosts,
            "/etc/hostname": self._hostname + "\n",
            "/etc/resolv.conf": f"search {search}\nnameserver {self._network.names}\noptions ndots:5\n",
            "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
            "/etc/passwd": "".join(
                f"{name}:x:{uid}:{uid}::{'/root' if uid == 0 else '/tmp'}:/bin/sh\n" for uid, name in users.items()
            ),
            "/etc/group": "".join(f"{name}:x:{uid}:\n" for uid, name in users.items()),
        }
