"""Open-loop HTTP load: requests come when they come, whether or not the server has answered the ones before.

`python -m loadtests.bench.load.open_load PORT RATE SECONDS CLIENTS PATH BODIES` prints one JSON line. Arrivals are Poisson; CLIENTS kept
connections, on each of which one request is under way at a time. A request that finds none idle waits for one, and its latency counts
from when it was due, not from when it was sent: coordinated omission is in the figures. So is the generator's own lateness, which is
told too: what the generator is late by, the server is not to blame for.

Why a generator of our own: docs/decisions/0024-benchmarks.md."""

import asyncio
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.load.results import output_of
from loadtests.bench.process import HOST, python

GRACE_S: Final = 10.0
BUSY: Final = 0.9


@dataclass(frozen=True, slots=True)
class OpenSample:
    """Latencies from when requests were due, in milliseconds. late_p99_ms: how late the generator sent where a connection was idle.

    busy_ratio: of one core, what the generator took; near 1 it measures itself. failed: answers that were no 200."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    rate: float
    answered: int
    failed: int
    late_p99_ms: float
    busy_ratio: float


def load_open(port: int, path: str, bodies: Path, *, rate: float, clients: int, duration_s: float) -> OpenSample:
    """Measure in a process of its own. Raises BenchError if requests failed or the generator was the bottleneck."""
    arguments = (str(port), str(rate), str(duration_s), str(clients), path, str(bodies))
    said = output_of(python("loadtests.bench.load.open_load", *arguments), duration_s + GRACE_S)
    found = OpenSample(**orjson.loads(said.splitlines()[-1]))
    if found.failed:
        raise BenchError(
            f"{found.failed} of {found.answered + found.failed} requests to port {port} at {rate:.0f} req/s failed"
        )
    if found.busy_ratio > BUSY:
        raise BenchError(
            f"the open-loop generator took {found.busy_ratio:.0%} of a core at {rate:.0f} req/s: it measured itself"
        )
    return found


def arrivals(rate: float, duration_s: float, seed: int) -> list[float]:
    """When requests are due, seconds from the start, rising: a Poisson process."""
    rng, at, found = random.Random(seed), 0.0, []
    while (at := at + rng.expovariate(rate)) < duration_s:
        found.append(at)
    return found


class Schedule:
    """Who is due, who is under way, what each took. Knows no sockets: told what happened and when, by seconds from the start."""

    def __init__(self, due: list[float]) -> None:
        self._due, self._next = due, 0
        self._waiting: deque[float] = deque()
        self.took: list[float] = []
        self.late: list[float] = []

    def next_due(self) -> float | None:
        """When the next request is due; None if there is none left."""
        return self._due[self._next] if self._next < len(self._due) else None

    def pass_on(self, now: float, idle: int) -> list[float]:
        """What is to be sent now, by when each was due: those that waited first, then the newly due; the rest waits."""
        begin = len(self._waiting)
        while (due := self.next_due()) is not None and due <= now:
            self._next += 1
            self._waiting.append(due)
        sent = [self._waiting.popleft() for _ in range(min(idle, len(self._waiting)))]
        self.late += [now - due for due in sent[begin:]]  # a connection was idle for these: nobody else made them late
        return sent

    def answered(self, due: float, now: float) -> None:
        """A request is answered."""
        self.took.append(now - due)

    @property
    def is_done(self) -> bool:
        """Whether every request was answered."""
        return len(self.took) == len(self._due)


class _Client(asyncio.Protocol):
    """One connection: writes prepared bytes, and looks no closer at an answer than its status and length."""

    def __init__(self, load: "_Load") -> None:
        self._load, self._buffer, self.due = load, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, length = head.lower().partition(b"content-length:")
        if len(rest) >= int(length.split(b"\r\n", 1)[0]):
            self._buffer = b""
            self._load.answered(self, is_ok=head[9:12] == b"200")

    def connection_lost(self, _problem: Exception | None) -> None:
        """The server closed, between or amid requests."""
        self._load.lost(self)


class _Load:
    def __init__(self, schedule: Schedule, requests: list[bytes]) -> None:
        self.schedule, self._requests, self._at = schedule, requests, 0
        self.idle: list[_Client] = []
        self.failed = self.gone = 0
        self.start_s = 0.0
        self.done = asyncio.Event()

    def now(self) -> float:
        return time.perf_counter() - self.start_s

    def send(self) -> None:
        for due in self.schedule.pass_on(self.now(), len(self.idle)):
            client = self.idle.pop()
            client.due = due
            client.transport.write(self._requests[self._at % len(self._requests)])  # type: ignore[attr-defined]
            self._at += 1

    def answered(self, client: _Client, *, is_ok: bool) -> None:
        self.schedule.answered(client.due, self.now())
        self.failed += not is_ok
        self.idle.append(client)
        self.send()
        if self.schedule.is_done:
            self.done.set()

    def lost(self, client: _Client) -> None:
        if not self.done.is_set():
            self.gone += 1
            if client in self.idle:
                self.idle.remove(client)
            else:
                self.answered(client, is_ok=False)
                self.idle.remove(client)
            self.done.set()


async def drive(port: int, rate: float, duration_s: float, clients: int, requests: list[bytes]) -> OpenSample:
    """Offer the load; returns when all is answered, a connection was lost, or the server is far too late."""
    loop = asyncio.get_running_loop()
    load = _Load(Schedule(arrivals(rate, duration_s, seed=int(rate))), requests)
    for _ in range(clients):
        _, client = await loop.create_connection(lambda: _Client(load), HOST, port)
        load.idle.append(client)
    load.start_s, busy = time.perf_counter(), time.process_time()
    while (due := load.schedule.next_due()) is not None and not load.done.is_set():
        await asyncio.sleep(max(due - load.now(), 0.0))
        load.send()
    try:
        async with asyncio.timeout(GRACE_S):
            await load.done.wait()
    except TimeoutError as problem:
        raise BenchError(f"port {port} did not answer all within {GRACE_S:.0f} s of the last request") from problem
    lasted, busy = load.now(), time.process_time() - busy
    if load.gone:
        raise BenchError(f"port {port} closed {load.gone} connections under load")
    p50, p99, p999 = (float(p) * 1000 for p in np.percentile(load.schedule.took, [50, 99, 99.9]))
    late = float(np.percentile(load.schedule.late or [0.0], 99)) * 1000
    answered = len(load.schedule.took) - load.failed
    return OpenSample(p50, p99, p999, answered / lasted, answered, load.failed, late, busy / lasted)


def main(argv: list[str]) -> int:
    """The program."""
    import uvloop

    port, rate, duration_s, clients, path, bodies = argv
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in Path(bodies).read_bytes().splitlines()]
    try:
        found = uvloop.run(drive(int(port), float(rate), float(duration_s), int(clients), requests))
    except (BenchError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(orjson.dumps(asdict(found)).decode() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
