"""Open-loop HTTP load: requests are sent when they are due, whether or not the server has answered earlier ones.

`python -m loadtests.bench.load.open_load PORT RATE SECONDS CLIENTS PATH BODIES` prints one JSON line. Arrivals are Poisson, over CLIENTS
kept connections with one request under way on each. A request that finds no idle connection waits for one, and its latency counts from
when it was due, not from when it was sent. So coordinated omission does not hide slow answers. The latencies include the generator's own
lateness. It is reported as a figure of its own too, because the server does not cause it.

Why a generator of our own: docs/decisions/0024-benchmarks.md."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.load.connections import Latencies, Load, Schedule, arrivals, http_post
from loadtests.bench.load.results import json_of

GRACE_S: Final = 10.0
BUSY: Final = 0.9


@dataclass(frozen=True, slots=True)
class OpenSample:
    """Latencies from when requests were due, in milliseconds. late_p99_ms: how late the generator sent although a connection was idle.

    busy_ratio: share of one core that the generator used; near 1 it measures itself. failed: answers with another status than 200.

    without_features: share of the answers that lacked a feature, as the replica counted it; 0 where nobody looked."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    rate: float
    answered: int
    failed: int
    late_p99_ms: float
    busy_ratio: float
    without_features: float = 0.0


def load_open(port: int, path: str, bodies: Path, *, rate: float, clients: int, duration_s: float) -> OpenSample:
    """Measure in a process of its own. Raises BenchError if requests failed or the generator was the bottleneck."""
    arguments = (port, rate, duration_s, clients, path, bodies)
    return checked(
        OpenSample(**json_of("loadtests.bench.load.open_load", *arguments, duration_s=duration_s + GRACE_S)), port, rate
    )


def checked(found: OpenSample, port: int, rate: float, *, most_failed: float = 0.0) -> OpenSample:
    """The sample, if it may be reported. most_failed: share of the requests that may fail. Raises BenchError if more failed, or the
    generator was the bottleneck."""
    if found.failed > most_failed * (found.answered + found.failed):
        raise BenchError(
            f"{found.failed} of {found.answered + found.failed} requests to port {port} at {rate:.0f} req/s failed"
        )
    if found.busy_ratio > BUSY:
        raise BenchError(
            f"the open-loop generator took {found.busy_ratio:.0%} of a core at {rate:.0f} req/s: it measured itself"
        )
    return found


async def drive(port: int, rate: float, duration_s: float, clients: int, requests: Sequence[bytes]) -> OpenSample:
    """Send the load until everything is answered. Raises BenchError if a connection is lost or the server is far too late."""
    judge = Latencies()
    with closing(Load(port, judge, lambda number, _: requests[number % len(requests)])) as load:
        await load.connect(clients)
        start, cpu_s = time.perf_counter(), time.process_time()
        schedule = Schedule(start + at for at in arrivals(rate, duration_s, seed=int(rate)))
        load.begin(schedule)
        while (due := schedule.next_due) is not None and not load.gone:
            await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            load.send_due()
        try:
            async with asyncio.timeout(GRACE_S):
                await load.ended.wait()
        except TimeoutError as problem:
            raise BenchError(f"port {port} did not answer all within {GRACE_S:.0f} s of the last request") from problem
        lasted_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
        if load.gone:
            raise BenchError(f"port {port} closed {load.gone} connections under load")
    failed = judge.failures.total()
    p50, p90, p99, p999 = (float(p) * 1000 for p in np.percentile(judge.took or [0.0], [50, 90, 99, 99.9]))
    late_p99 = float(np.percentile(schedule.late or [0.0], 99)) * 1000
    answered = len(judge.took) - failed
    return OpenSample(p50, p90, p99, p999, answered / lasted_s, answered, failed, late_p99, cpu_s / lasted_s)


def main(argv: list[str]) -> int:
    """Run the generator from the command line and print its JSON line."""
    import uvloop

    port, rate, duration_s, clients, path, bodies = argv
    requests = [http_post(int(port), path, body) for body in Path(bodies).read_bytes().splitlines()]
    try:
        found = uvloop.run(drive(int(port), float(rate), float(duration_s), int(clients), requests))
    except (BenchError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(orjson.dumps(asdict(found)).decode() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
