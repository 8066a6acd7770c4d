"""The network of the pods: one bridge, an address for each pod, and this machine as one more member of it.

The bridge is in a network namespace of its own, the router's, which a process of ours holds. When that process ends, also by SIGKILL, the
kernel takes back the bridge and both ends of each pair of interfaces, this machine's included: at once, or when the last connection in it
has timed out. The next run with the same number does not wait for that: it deletes the interface.

    pods                 198.18.N.0/24    the router is .1 and this machine .2
    Services             198.19.N.0/24    all are addresses of the router (services.py listens there)

198.18.0.0/15 is set aside for tests of networks (RFC 2544). N is the first that no other run on this machine holds."""

import asyncio
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

CONTAIN: Final = Path(__file__).parents[1] / "contain.py"
LIMIT: Final = 250
_TRIAL: Final = "ip link add t0 type veth peer name t1 && ip link add b0 type bridge"


def why_not() -> str:
    """Why pods cannot be run here; "" when they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "pods are run in namespaces of Linux, which takes root"
    if not shutil.which("ip"):
        return "pods are run in network namespaces, which takes the program `ip` (Debian: iproute2)"
    if not shutil.which("unshare"):
        return "pods are run in namespaces, which takes the program `unshare` (Debian: util-linux)"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", _TRIAL],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"pods are run in namespaces, which this machine refuses: {tried.stderr.strip()}" if tried.returncode else ""


def reserve() -> tuple[int, IO[str]]:
    """The number of a network that nobody else on this machine uses, and the file whose lock holds it."""
    for number in range(1, LIMIT):
        held = Path(tempfile.gettempdir(), f"vedette-pods-{number}.lock").open("w")  # noqa: SIM115 - the caller holds it
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        return number, held
    raise RuntimeError("every network of 198.18.0.0/16 is in use")


def interface_of(number: int) -> str:
    """The name of the machine's end of a network."""
    return f"vedette{number}"


def delete(number: int) -> None:
    """Take a network's interface away, if it is there."""
    subprocess.run(["ip", "link", "delete", interface_of(number)], stderr=subprocess.DEVNULL, check=False)


class Network:
    """number: N of the addresses above. hardware: the bridge's own. A bridge without one takes the lowest of its members', so that with a
    new pod it may become another, and this machine and the pods lose what they send to the old one for half a minute."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pods, self.services = f"198.18.{number}", f"198.19.{number}"
        self.router, self.machine, self.names = f"{self.pods}.1", f"{self.pods}.2", f"{self.services}.10"
        self.hardware = f"02:00:c6:12:{number:02x}:01"
        self._holder: asyncio.subprocess.Process | None = None
        self._namespace = -1
        self._used: set[int] = set()
        self._next = self._turn()

    async def start(self) -> None:
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(CONTAIN), "sandbox",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._holder = holder
        inside = [
            f"link add br0 address {self.hardware} type bridge", "link set lo up", "link set br0 up",
            f"addr add {self.router}/24 dev br0",
            f"route add local {self.services}.0/24 dev lo",
        ]  # fmt: skip
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write(json.dumps({"hostname": "router", "memory": []}).encode() + b"\n")
        await _line(holder.stdout, "made")
        holder.stdin.write(json.dumps(inside).encode() + b"\n")
        await _line(holder.stdout, "up")
        self._namespace = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY)
        mine = self._interface
        self._delete()  # of a run that was killed
        await ip([f"link add {mine} type veth peer name machine netns {holder.pid}"])
        await ip(["link set machine master br0 up"], holder.pid)
        await ip(
            [
                f"addr add {self.machine}/24 dev {mine}",
                f"link set {mine} up",
                f"route add {self.services}.0/24 via {self.router}",
            ]
        )

    @property
    def _interface(self) -> str:
        return interface_of(self.number)

    def _delete(self) -> None:
        delete(self.number)

    def stop(self) -> None:
        self._delete()
        if self._namespace >= 0:
            os.close(self._namespace)
        if self._holder and self._holder.returncode is None:
            self._holder.kill()

    def _turn(self) -> Iterator[int]:
        while True:
            for last in range(10, 250):
                if last not in self._used:
                    yield last

    def address(self) -> str:
        """A pod's; not one that was given back a moment ago, which somebody may still ask."""
        last = next(self._next)
        self._used.add(last)
        return f"{self.pods}.{last}"

    def give_back(self, address: str) -> None:
        self._used.discard(int(address.rpartition(".")[2]))

    async def connect(self, pid: int, address: str) -> list[str]:
        """Give a pod's network an interface; answers what remains to be done inside of it, as commands of `ip`."""
        assert self._holder
        name = _interface_of_pod(address)
        await ip([f"link add {name} type veth peer name eth0 netns {pid}", f"link set {name} master br0 up"], self._holder.pid)
        return ["link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", f"route add default via {self.router}"]

    async def cut(self, address: str) -> None:
        """Nothing reaches a pod any more and nothing leaves it: its peers get neither answers nor resets."""
        assert self._holder
        await ip([f"link set {_interface_of_pod(address)} down"], self._holder.pid)

    def listener(self, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket at one of the router's addresses. A socket stays in the network in which it was made."""
        from tests.cluster.kubelet import contain

        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            contain.call("setns", self._namespace, contain.NEWNET)
            try:
                made = socket.socket(socket.AF_INET, kind)
            finally:
                contain.call("setns", own, contain.NEWNET)
        finally:
            os.close(own)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        try:
            made.bind((address, port))
            if kind == socket.SOCK_STREAM:
                made.listen(512)
        except OSError:
            made.close()
            raise
        return made


def _interface_of_pod(address: str) -> str:
    return f"pod{address.rpartition('.')[2]}"


async def _line(stream: asyncio.StreamReader, expected: str) -> None:
    line = await stream.readline()
    if line.strip() != expected.encode():
        raise RuntimeError(f"the namespaces could not be made: expected {expected!r}, read {line!r}")


async def ip(commands: Sequence[str], inside: int = 0) -> None:
    """Commands of `ip`, here or in the network of a process."""
    there = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    process = await asyncio.create_subprocess_exec(
        *there,
        "ip",
        "-batch",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate("\n".join(commands).encode())
    if process.returncode:
        raise RuntimeError(f"ip {commands}: {said.decode().strip()}")
