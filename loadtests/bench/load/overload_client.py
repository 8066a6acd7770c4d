"""More load than a server can take: an open loop that sorts answers into good, late, refused and failed.

`python -m loadtests.bench.load.overload_client PORT RATE SECONDS CONNECTIONS DEADLINE_MS PATH BODIES` prints a JSON line. With RATE 0 the
loop is closed: each connection asks again as soon as it is answered. Otherwise arrivals are evenly spaced. A request that finds no idle
connection waits for one; after the deadline it is dropped unsent. An answer that comes after the deadline is `late`."""

import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from loadtests.bench.load.connections import ClosedLoop, Judge, Load, Schedule, SentRequest, http_post
from loadtests.bench.load.results import json_of

REFUSALS: Final = frozenset({429, 503, 504})
TICK_S: Final = 0.002
STEPS: Final = 10
"""The deadline is divided into this many parts; a request states how many of them are left."""


@dataclass(frozen=True, slots=True)
class Overloaded:
    """Counts of requests, and latencies in milliseconds. good: answered 200 within the deadline, timed from when it was due. refused:
    timed from when it was sent, as the generator's own queue is not the server's. busy_ratio: share of one core that the generator used."""

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
        """Answers within the deadline per second."""
        return self.good / self.lasted_s

    @property
    def offered(self) -> float:
        """Requests per second that were due."""
        return (self.good + self.late + self.refused + self.failed + self.unsent + self.lost) / self.lasted_s


def load_over(
    port: int, path: str, bodies: Path, *, rate: float, connections: int, duration_s: float, deadline_s: float
) -> Overloaded:
    """Send this load from a process of its own. Raises BenchError if that fails."""
    arguments = (port, rate, duration_s, connections, deadline_s * 1000, path, bodies)
    return Overloaded(**json_of("loadtests.bench.load.overload_client", *arguments, duration_s=duration_s + 10))


class OverloadJudge(Judge):
    """Sorts answers by status and deadline. Good answers are timed from when they were due, refusals from when they were sent."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self.good: list[float] = []
        self.refused: list[float] = []
        self.late = self.failed = self.lost_requests = 0

    def answered(self, request: SentRequest, status: int, body: bytes, now: float) -> None:
        """Count the answer."""
        if status in REFUSALS:
            self.refused.append(now - request.sent)
        elif status != 200:
            self.failed += 1
        elif now - request.due > self._deadline_s:
            self.late += 1
        else:
            self.good.append(now - request.due)

    def lost(self, request: SentRequest, now: float) -> None:
        """Count the lost request."""
        self.lost_requests += 1


async def drive(
    port: int, requests: Sequence[Sequence[bytes]], *, rate: float, duration_s: float, connections: int, deadline_s: float
) -> Overloaded:
    """Send the load. requests: by how much of the deadline is left when they are sent, the least first."""

    def request_of(number: int, waited_s: float) -> bytes:
        step = int((1.0 - waited_s / deadline_s) * len(requests))
        bodies = requests[max(0, min(step, len(requests) - 1))]
        return bodies[number % len(bodies)]

    judge = OverloadJudge(deadline_s)
    with closing(Load(port, judge, request_of, keeps_connecting=True)) as load:
        await load.connect(connections)
        start, cpu_s = time.perf_counter(), time.process_time()
        schedule = Schedule((start + n / rate for n in count()), give_up_s=deadline_s) if rate else ClosedLoop()
        load.begin(schedule)
        while (lasted_s := time.perf_counter() - start) < duration_s:
            await asyncio.sleep(TICK_S)
            load.send_due()
        cpu_s = time.process_time() - cpu_s
    good_p50, good_p99 = _percentiles_ms(judge.good)
    refused_p50, refused_p99 = _percentiles_ms(judge.refused)
    return Overloaded(
        good=len(judge.good),
        late=judge.late,
        refused=len(judge.refused),
        failed=judge.failed,
        unsent=schedule.unsent,
        lost=judge.lost_requests,
        good_p50_ms=good_p50,
        good_p99_ms=good_p99,
        refused_p50_ms=refused_p50,
        refused_p99_ms=refused_p99,
        lasted_s=lasted_s,
        busy_ratio=cpu_s / lasted_s,
    )


def _percentiles_ms(took_s: Sequence[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(took_s or [0.0], [50, 99])
    return float(p50) * 1000, float(p99) * 1000


def main(argv: Sequence[str]) -> int:
    """Run the generator from the command line and print its JSON line."""
    import uvloop

    port, rate, duration_s, connections, deadline_ms, path, bodies = argv
    lines = Path(bodies).read_bytes().splitlines()
    requests = []
    for step in range(1, STEPS + 1):  # a client that waited for a connection says how much of its time is left
        timeout = f"x-request-timeout-ms: {max(1, round(float(deadline_ms) * step / STEPS))}"
        requests.append([http_post(int(port), path, line, timeout) for line in lines])
    gc.disable()  # the generator's own pauses would be taken for the server's
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
