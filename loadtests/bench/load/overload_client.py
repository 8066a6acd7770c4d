"""Load that does not care what the server can take: open loop, every answer counted by its kind and timed from when it was due.

`python -m loadtests.bench.load.overload_client PORT RATE SECONDS CONNECTIONS DEADLINE_MS PATH BODIES` prints a JSON line. RATE 0: a
closed loop,
each connection asks again as soon as it is answered. Else arrivals are evenly spaced; a request that finds no idle connection waits for
one, and after the deadline it is given up unsent. An answer that comes after the deadline is `late`: nobody waits for it any more."""

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loadtests.bench.load.results import output_of
from loadtests.bench.process import HOST, python

REFUSALS: Final = (b"429", b"503", b"504")
TICK_S: Final = 0.002
STEPS: Final = 10
"""Of the deadline, in which requests say what is left of it."""


@dataclass(frozen=True, slots=True)
class Overloaded:
    """Counts of requests, and milliseconds. good: answered 200 in time. refusals are timed from when they were sent, as their
    senders' own queue is no doing of the server's; answers from when they were due. busy_ratio: of one core, the generator's."""

    good: int
    late: int
    refused: int
    failed: int
    unsent: int
    lost: int
    good_p50_ms: float
    good_p99_ms: float
    refused_p50_ms: float
    refused_p99_ms: float
    lasted_s: float
    busy_ratio: float

    @property
    def goodput(self) -> float:
        """Answers a second that somebody still waited for."""
        return self.good / self.lasted_s

    @property
    def offered(self) -> float:
        """Requests a second that were due."""
        return (self.good + self.late + self.refused + self.failed + self.unsent + self.lost) / self.lasted_s


def load_over(
    port: int, path: str, bodies: Path, *, rate: float, connections: int, duration_s: float, deadline_s: float
) -> Overloaded:
    """Offer it, from a process of its own. Raises BenchError if that fails."""
    arguments = (port, rate, duration_s, connections, deadline_s * 1000, path, bodies)
    said = output_of(python("loadtests.bench.load.overload_client", *map(str, arguments)), duration_s + 10)
    return Overloaded(**orjson.loads(said.splitlines()[-1]))


class _Client(asyncio.Protocol):
    """One connection: one request at a time. Of an answer, it looks at the status and the length only."""

    __slots__ = ("buffer", "due", "is_busy", "load", "sent", "transport")

    def __init__(self, load: "_Load") -> None:
        self.load, self.buffer, self.due, self.sent, self.is_busy = load, b"", 0.0, 0.0, False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.load.is_free(self)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer = self.buffer + data if self.buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = buffer.find(b"ontent-", 0, end)
        while at >= 0 and buffer[at + 7 : at + 14].lower() != b"length:":
            at = buffer.find(b"ontent-", at + 7, end)
        if len(buffer) < end + 4 + int(buffer[at + 14 : buffer.find(b"\r", at)]):
            return
        self.buffer = b""
        self.load.answered(self, buffer[9:12])
        if b"connection: close" in buffer[:end]:
            self.is_busy = False  # it has its answer: nothing is lost with the connection
            self.transport.abort()
        else:
            self.load.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.is_gone(self)


class _Load:
    def __init__(self, port: int, requests: Sequence[Sequence[bytes]], deadline_s: float, *, is_closed_loop: bool) -> None:
        self.port, self.requests, self.deadline_s, self.is_closed_loop = port, requests, deadline_s, is_closed_loop
        self.idle: list[_Client] = []
        self.waiting: deque[float] = deque()
        self.good: list[float] = []
        self.refused: list[float] = []
        self.late = self.failed = self.unsent = self.lost = self.number = 0
        self.is_over = False
        self.opening: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        task = asyncio.ensure_future(self._open())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_over:
            try:
                await loop.create_connection(lambda: _Client(self), HOST, self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return

    def send(self, client: _Client, due: float) -> None:
        self.number += 1
        client.due, client.sent, client.is_busy = due, time.perf_counter(), True
        left = 1.0 - (client.sent - due) / self.deadline_s
        of_left = self.requests[max(0, min(int(left * len(self.requests)), len(self.requests) - 1))]
        client.transport.write(of_left[self.number % len(of_left)])

    def is_free(self, client: _Client) -> None:
        client.is_busy = False
        if self.is_over:
            return
        if self.is_closed_loop:
            self.send(client, time.perf_counter())
            return
        oldest = time.perf_counter() - self.deadline_s
        while self.waiting:
            due = self.waiting.popleft()
            if due >= oldest:
                self.send(client, due)
                return
            self.unsent += 1
        self.idle.append(client)

    def is_due(self, due: float) -> None:
        if self.idle:
            self.send(self.idle.pop(), due)
        else:
            self.waiting.append(due)

    def answered(self, client: _Client, status: bytes) -> None:
        now = time.perf_counter()
        if status in REFUSALS:
            self.refused.append(now - client.sent)
        elif status != b"200":
            self.failed += 1
        elif now - client.due > self.deadline_s:
            self.late += 1
        else:
            self.good.append(now - client.due)

    def is_gone(self, client: _Client) -> None:
        if client.is_busy:
            self.lost += 1
        elif client in self.idle:
            self.idle.remove(client)
        if not self.is_over:
            self.open()


async def drive(
    port: int, requests: Sequence[Sequence[bytes]], *, rate: float, duration_s: float, connections: int, deadline_s: float
) -> Overloaded:
    """Offer the load. requests: those of a client whose time is nearly over first, those of one that has it all last."""
    load = _Load(port, requests, deadline_s, is_closed_loop=not rate)
    gc.disable()  # the generator's own pauses are no answer of the server's
    for _ in range(connections):
        load.open()
    await asyncio.wait(load.opening)
    began, busy, sent = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - began) < duration_s:
        for number in range(sent, int(passed * rate)):
            load.is_due(began + number / rate)
        sent = int(passed * rate)
        await asyncio.sleep(TICK_S)
    lasted, busy = time.perf_counter() - began, time.process_time() - busy
    load.is_over = True
    load.unsent += len(load.waiting)
    good_p50, good_p99 = _percentiles_ms(load.good)
    refused_p50, refused_p99 = _percentiles_ms(load.refused)
    return Overloaded(
        good=len(load.good),
        late=load.late,
        refused=len(load.refused),
        failed=load.failed,
        unsent=load.unsent,
        lost=load.lost,
        good_p50_ms=good_p50,
        good_p99_ms=good_p99,
        refused_p50_ms=refused_p50,
        refused_p99_ms=refused_p99,
        lasted_s=lasted,
        busy_ratio=busy / lasted,
    )


def _percentiles_ms(took_s: Sequence[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(took_s or [0.0], [50, 99])
    return float(p50) * 1000, float(p99) * 1000


def main(argv: Sequence[str]) -> int:
    """The program."""
    import uvloop

    port, rate, duration_s, connections, deadline_ms, path, bodies = argv
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
    lines = Path(bodies).read_bytes().splitlines()
    requests = []
    for step in range(STEPS):  # a request that waited here for a connection says what is left of its time, as a client would
        said = f"{head}x-request-timeout-ms: {max(1, round(float(deadline_ms) * (step + 1) / STEPS))}\r\nContent-Length: "
        requests.append([f"{said}{len(line)}\r\n\r\n".encode() + line for line in lines])
    found = uvloop.run(
        drive(
            int(port),
            requests,
            rate=float(rate),
            duration_s=float(duration_s),
            connections=int(connections),
            deadline_s=float(deadline_ms) / 1000,
        )
    )
    sys.stdout.write(orjson.dumps(asdict(found)).decode() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
