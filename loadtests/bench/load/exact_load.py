"""Open-loop HTTP load that sends to the microsecond, and costs the machine little: sockets and `select`, without an event loop.

`python -m loadtests.bench.load.exact_load PORT RATE SECONDS CLIENTS PATH BODIES [SEED]` prints one JSON line. As in `open_load`,
arrivals are a Poisson process over kept connections, and the latency of a request counts from when it was due. There, the timers of
uvloop have a resolution of a millisecond: requests leave in clumps, up to a millisecond late, and a server that is woken for five at
once has less to do for each. Here each request leaves when it is due, so what a single arrival costs and waits is in the figures."""

import ctypes
import select
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.load.connections import Schedule, arrivals, http_post
from loadtests.bench.load.open_load import GRACE_S, OpenSample, checked
from loadtests.bench.load.results import json_of
from loadtests.bench.process import HOST

_TIMER_SLACK_NS: Final = 1000
"""By how much the kernel may be late with a timer, to join wake-ups; 50 us unless a process says otherwise."""
_PR_SET_TIMERSLACK: Final = 29
_READ_BYTES: Final = 65536


def load_exactly(
    port: int, path: str, bodies: Path, *, rate: float, clients: int, duration_s: float,
    seed: int | None = None, most_failed: float = 0.0,
) -> OpenSample:  # fmt: skip
    """Measure in a process of its own. seed: of the arrivals; without one, those of a rate are always the same. most_failed: share of the
    requests that may fail. Raises BenchError if more failed, or the generator was the bottleneck."""
    arguments = (port, rate, duration_s, clients, path, bodies, *([] if seed is None else [seed]))
    found = OpenSample(**json_of("loadtests.bench.load.exact_load", *arguments, duration_s=duration_s + GRACE_S))
    return checked(found, port, rate, most_failed=most_failed)


class _Channel:
    """One kept connection with at most one request under way. due: when that one should have been sent."""

    __slots__ = ("buffer", "due", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buffer, self.due = sock, b"", 0.0

    def fileno(self) -> int:
        return self.sock.fileno()

    def read(self) -> int | None:
        """Read what has come. The status once the whole answer is there, else None. Raises BenchError if the server closed."""
        data = self.sock.recv(_READ_BYTES)
        if not data:
            raise BenchError("the server closed a connection under load")
        buffer = self.buffer = self.buffer + data if self.buffer else data
        end = buffer.find(b"\r\n\r\n")
        at = buffer.lower().find(b"content-length:", 0, end) if end > 0 else -1
        if at < 0 or len(buffer) < end + 4 + int(buffer[at + 15 : buffer.index(b"\r\n", at)]):
            return None
        self.buffer = b""
        return int(buffer[9:12])


def drive(
    port: int, rate: float, duration_s: float, clients: int, requests: Sequence[bytes], seed: int | None = None
) -> OpenSample:
    """Send the load until everything is answered. Raises BenchError if a connection is lost or the server is far too late."""
    with ExitStack() as stack:
        idle = [_Channel(_connected(stack, port)) for _ in range(clients)]
        return _drive(idle, [*arrivals(rate, duration_s, seed=int(rate) if seed is None else seed)], requests, port)


def _connected(stack: ExitStack, port: int) -> socket.socket:
    sock = stack.enter_context(socket.create_connection((HOST, port), timeout=10))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _drive(idle: list[_Channel], due_s: Sequence[float], requests: Sequence[bytes], port: int) -> OpenSample:
    clock = time.perf_counter
    start, cpu_s = clock() + 0.01, time.process_time()
    schedule = Schedule(start + at for at in due_s)
    busy, took, failed, sent = set[_Channel](), list[float](), 0, 0
    give_up_s = start + (due_s[-1] if due_s else 0.0) + GRACE_S
    while not schedule.is_done or busy:
        now = clock()
        for due in schedule.take(now, len(idle)):
            channel = idle.pop()
            channel.due = due
            channel.sock.sendall(requests[sent % len(requests)])
            sent += 1
            busy.add(channel)
        next_due = schedule.next_due
        now = clock()
        wait_s = give_up_s - now if next_due is None or not idle else max(next_due - now, 0.0)
        if now > give_up_s:
            raise BenchError(f"port {port} did not answer all within {GRACE_S:.0f} s of the last request")
        ready: list[_Channel] = select.select(busy, (), (), wait_s)[0]
        for channel in ready:
            status = channel.read()
            if status is not None:
                took.append(clock() - channel.due)
                failed += status != 200
                busy.discard(channel)
                idle.append(channel)
    lasted_s, cpu_s = clock() - start, time.process_time() - cpu_s
    p50, p90, p99, p999 = (float(p) * 1000 for p in np.percentile(took or [0.0], [50, 90, 99, 99.9]))
    late_p99 = float(np.percentile(schedule.late or [0.0], 99)) * 1000
    return OpenSample(p50, p90, p99, p999, len(took) / lasted_s, len(took) - failed, failed, late_p99, cpu_s / lasted_s)


def main(argv: list[str]) -> int:
    """Run the generator from the command line and print its JSON line."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS)
    port, rate, duration_s, clients, path, bodies, *seed = argv
    requests = [http_post(int(port), path, body) for body in Path(bodies).read_bytes().splitlines()]
    try:
        found = drive(int(port), float(rate), float(duration_s), int(clients), requests, int(seed[0]) if seed else None)
    except (BenchError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(orjson.dumps(asdict(found)).decode() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
