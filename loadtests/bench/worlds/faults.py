"""The faults that a replica must survive. Each is a context manager: it begins on entry and ends on exit.

loadtests.bench.benchmarks.faults measures what the replica does."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST
from loadtests.bench.worlds.feature_world import PATH, FeatureWorld
from loadtests.bench.worlds.own_redis import OwnRedis, beside

BUSY: Final = 2
"""How many processes take CPU time away."""
CONNECTIONS: Final = 300
"""How many clients at a time hang up in the middle of their bodies."""
_IMPORTS_S: Final = 1.0
"""Processor seconds that a spare process has certainly used when it has imported everything."""
_IDLE_S: Final = 0.05
"""It uses less than this in two seconds when it waits."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The server and its surroundings that a fault breaks. mark: an environment entry that every process of the server inherited."""

    redis: OwnRedis
    world: FeatureWorld
    port: int
    mark: str


Fault = Callable[[Scene], "contextlib.AbstractContextManager[None]"]


@contextlib.contextmanager
def redis_killed(scene: Scene) -> Iterator[None]:
    """Kill Redis; start it again with its data at the end."""
    scene.redis.kill()
    try:
        yield
    finally:
        scene.redis.start()


def redis_slow(scene: Scene) -> contextlib.AbstractContextManager[None]:
    """Let Redis answer after half a second."""
    return scene.redis.slow()


def redis_full(scene: Scene) -> contextlib.AbstractContextManager[None]:
    """Let Redis refuse writes."""
    return scene.redis.full()


@contextlib.contextmanager
def bundle_deleted(scene: Scene) -> Iterator[None]:
    """Move the bundles that are served away, and back at the end."""
    folder, aside = scene.world.folder / "bundles", scene.world.folder / "aside"
    shutil.move(folder, aside)
    try:
        yield
    finally:
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(aside, folder)


@contextlib.contextmanager
def replicas_killed(scene: Scene) -> Iterator[None]:
    """Send SIGKILL to every replica."""
    for pid in _found(scene):
        os.kill(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def one_replica_killed(scene: Scene) -> Iterator[None]:
    """Send SIGKILL to one replica."""
    os.kill(_found(scene)[0], signal.SIGKILL)
    yield


def _found(scene: Scene) -> list[int]:
    """The pids of the replicas. Raises BenchError if there is none."""
    if pids := replicas(scene.mark):
        return pids
    raise BenchError("no process of a replica was found: nothing could be killed")


@contextlib.contextmanager
def cpu_stolen(_: Scene) -> Iterator[None]:
    """Let other processes use the CPU."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def clients_gone(scene: Scene) -> Iterator[None]:
    """Let hundreds of clients hang up in the middle of their bodies, every other one with a reset."""
    is_over, hung_up = threading.Event(), []

    def hang_up() -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 20000\r\n\r\n".encode() + b'{"inputs": [' + b" " * 500
        while not is_over.is_set():
            with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                for number in range(CONNECTIONS):
                    sock = opened.enter_context(socket.create_connection((HOST, scene.port), timeout=5))
                    if number % 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.sendall(head)
                    hung_up.append(number)
                is_over.wait(0.2)

    with beside(hang_up, is_over):
        yield
    if len(hung_up) < CONNECTIONS:
        raise BenchError(f"only {len(hung_up)} clients could connect and hang up")


def replicas(mark: str) -> list[int]:
    """The pids of the replicas of the server whose processes carry this mark."""
    return _processes(mark, b"Replica")


def wait_for_spares(scene: Scene, within_s: float) -> set[int]:
    """The pids of the spare processes, one for each replica, once they have imported everything: they hardly use the processor any more.
    Raises BenchError."""
    until, before = time.monotonic() + within_s, dict[int, float]()
    while time.monotonic() < until:
        now = {pid: cpu_s(pid) for pid in _processes(scene.mark, b"IDLE")}
        is_idle = (cpu > _IMPORTS_S and cpu - before.get(pid, 0.0) < _IDLE_S for pid, cpu in now.items())
        if len(now) >= len(replicas(scene.mark)) and all(is_idle):
            return set(now)
        before = now
        time.sleep(2.0)
    raise BenchError(f"no spare process waits for each replica after {within_s:g} s; those that are there used {before} s")


def _processes(mark: str, title: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                name = (folder / "cmdline").read_bytes()
                if name.startswith(b"ray::") and title in name and mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return sorted(found)


def cpu_s(pid: int) -> float:
    """The processor seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listening(scene: Scene) -> set[int]:
    """The pids of the replicas that accept requests: a replica registers in the store once its doors are open."""
    found = set(replicas(scene.mark))
    registered = set()
    for path in (scene.world.folder / "replicas").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):  # one that is just leaving
            registered.add(json.loads(path.read_text(encoding="utf-8"))["pid"])
    return found & registered
