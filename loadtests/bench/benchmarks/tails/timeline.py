"""The parts of one request with features, when it comes alone, and why the doors' loop stood still under a sparse load.

One client asks now and then (Poisson, 200 a second). Sender and replica read the same clock, so each request has six points: sent; its
bytes reached the door; its read left for Redis; the reply came; the answer was written; the client had it. The parts between are shown.
Then a Poisson load over 32 connections comes at 1,000 and 2,000 a second, and a watch in the replica looks every millisecond. A timer
of the loop that is more than 2 ms late is a stall. Its cause is where its time went: the loop's own work, no core (the thread could run
and did not), the interpreter (it slept: another thread had the interpreter), or garbage collection. `ms-a-second` sums the lateness.
`cpu` is the processor time of a request by who spent it, from the kernel's own counts."""

import random
import socket
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from loadtests.bench.benchmarks.doors import say
from loadtests.bench.benchmarks.features import HOSTS
from loadtests.bench.benchmarks.tails.entities import uniform
from loadtests.bench.load.connections import http_post
from loadtests.bench.load.exact_load import load_exactly
from loadtests.bench.process import HOST
from loadtests.bench.profiling import replica_of
from loadtests.bench.report import Row, row
from loadtests.bench.servers.watched import CAUSES, LoopStall, Seen, read_seen
from loadtests.bench.workload import INFER_PATH
from loadtests.bench.worlds.featured import Featured, body, featured

IS_LONG: Final = True
PARTS: Final = ("to-the-door", "to-the-read", "redis", "to-the-answer", "to-the-client")
RATES: Final = (1000, 2000)
ALONE_RATE: Final = 200.0
CLIENTS: Final = 32
DOORS_THREAD: Final = "doors"
OTHERS: Final = "other-threads"


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if a server fails."""
    requests, duration_s = (200, 1.0) if quick else (1000, 5.0)
    parts: defaultdict[str, list[float]] = defaultdict(list)
    figures: defaultdict[str, list[float]] = defaultdict(list)
    worst: list[LoopStall] = []
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        store = Path(folder)
        with featured(store, is_watched=True) as up:
            pid, hosts = replica_of(store), store / "uniform.jsonl"
            hosts.write_bytes(b"\n".join(body(host) for host in uniform(HOSTS)) + b"\n")
            _alone(up, hosts, 200)  # warm
            for index in range(rounds):
                seen(up, store)
                times = _alone(up, hosts, requests)
                for name, values in parts_of(times, seen(up, store).marks).items():
                    parts[f"{name}/p50"].append(float(np.percentile(values, 50)) * 1e6)
                    parts[f"{name}/p99"].append(float(np.percentile(values, 99)) * 1e6)
                for rate in RATES:
                    before = cpu_of_threads(pid)
                    found = load_exactly(
                        up.vedette.http_port, INFER_PATH, hosts, rate=rate, clients=CLIENTS, duration_s=duration_s
                    )
                    used, watched = spent(before, cpu_of_threads(pid)), seen(up, store)
                    worst += watched.stalls
                    figures[f"timeline/p99/{rate}"].append(found.p99_ms)
                    for who, cpu_s in used.items():
                        figures[f"timeline-cpu/{who}/{rate}"].append(cpu_s / found.answered * 1e6)
                    for cause, late_s in lateness(watched.stalls).items():
                        figures[f"timeline-stalls/{cause}/{rate}/ms-a-second"].append(late_s / watched.watched_s * 1000)
                say(f"timeline round {index + 1}/{rounds}: {', '.join(f'{k} {v[-1]:.0f}' for k, v in parts.items())}")
    for stall in sorted(worst, key=lambda one: -one.late_s)[:5]:
        say(f"timeline, one of the longest stalls: {words_of(stall)}")
    return [*part_rows(parts), *(row(name, values, unit_of(name)) for name, values in sorted(figures.items()))]


def part_rows(parts: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """In the order of a request."""
    for name, values in parts.items():
        yield row(f"timeline/{name}", values, "us")


def unit_of(name: str) -> str:
    """The unit of a figure by its name."""
    return {"timeline-cpu": "us", "timeline-stalls": "ms/s"}.get(name.partition("/")[0], "ms")


def words_of(stall: LoopStall) -> str:
    """One stall for people.

    >>> words_of(LoopStall(0.003, 0.001, 0.0, 0.002, 0.0, "MainThread", 0.0015))
    'interpreter, 3.0 ms late: ran 1.0, no core 0.0, slept 2.0, garbage 0.0 ms; beside it MainThread ran 1.50 ms'
    """
    ran, queued, slept, garbage = (f"{1000 * s:.1f}" for s in (stall.ran_s, stall.queued_s, stall.slept_s, stall.garbage_s))
    beside = f"{stall.holder or 'no thread of Python'} ran {1000 * stall.holder_s:.2f} ms"
    parts = f"ran {ran}, no core {queued}, slept {slept}, garbage {garbage} ms"
    return f"{stall.cause}, {1000 * stall.late_s:.1f} ms late: {parts}; beside it {beside}"


def lateness(stalls: Sequence[LoopStall]) -> dict[str, float]:
    """Seconds that the loop was late, by cause."""
    found = dict.fromkeys(CAUSES, 0.0)
    for stall in stalls:
        found[stall.cause] += stall.late_s
    return found


def parts_of(
    times: Sequence[tuple[float, float]], marks: Sequence[tuple[float, float, float, float]]
) -> dict[str, list[float]]:
    """The parts of each request in seconds. times: sent and answered, at the client; marks: the replica's, of the same requests.

    A request without its marks, or marks without their request, are left out.

    >>> parts_of([(1.0, 2.0)], [(1.1, 1.3, 1.6, 1.9)])["redis"]  # doctest: +ELLIPSIS
    [0.3...]
    """
    found: dict[str, list[float]] = {name: [] for name in PARTS}
    left = iter(marks)
    mark = next(left, None)
    for sent, answered in times:
        while mark is not None and mark[0] < sent:
            mark = next(left, None)
        if mark is not None and mark[3] < answered:
            points = (sent, *mark, answered)
            for name, start, end in zip(PARTS, points, points[1:], strict=False):
                found[name].append(end - start)
    return found


def _alone(up: Featured, bodies: Path, requests: int) -> list[tuple[float, float]]:
    """Ask one by one; when each was sent, and when its answer was there."""
    rng, found = random.Random(3), []  # nosec B311  # a seed, no secret
    lines = bodies.read_bytes().splitlines()
    with closing(socket.create_connection((HOST, up.vedette.http_port), timeout=10)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(requests):
            time.sleep(rng.expovariate(ALONE_RATE))
            request = http_post(up.vedette.http_port, INFER_PATH, lines[number % len(lines)])
            sent = time.perf_counter()
            sock.sendall(request)
            sock.recv(65536)
            found.append((sent, time.perf_counter()))
    return found


def seen(up: Featured, store: Path) -> Seen:
    """What the replica's watch saw since the last call."""
    with urllib.request.urlopen(f"http://{HOST}:{up.vedette.http_port}/metrics", timeout=30) as answer:  # nosec B310  # our own server
        answer.read()
    return read_seen(store)


def cpu_of_threads(pid: int) -> dict[str, float]:
    """Seconds of processor time of each thread of the replica so far, by its id."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[task.name] = int((task / "schedstat").read_text(encoding="ascii").split()[0]) * 1e-9
        except OSError:  # it ended
            continue
    return found


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used in between: by the thread that used most, which runs the doors, and by all others.

    >>> spent({"1": 9.0, "2": 1.0}, {"1": 9.1, "2": 3.0, "3": 0.25})  # doctest: +ELLIPSIS
    {'doors': 2.0, 'other-threads': 0.3...}
    """
    used = [cpu_s - before.get(thread, 0.0) for thread, cpu_s in after.items()]
    return {DOORS_THREAD: max(used), OTHERS: sum(used) - max(used)}
