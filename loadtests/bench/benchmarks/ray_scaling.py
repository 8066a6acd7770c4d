"""Two ways for load to reach the count on Ray Serve when the listeners are the replica's own, on a step and on bursts of real load.

`policy`: `record_autoscaling_stats` and a custom policy in Serve's controller; `defaults`: the same at Serve's own intervals and
delays; `external`: a loop outside that owns the count. Figures: seconds in which more than one request of a hundred missed the
objective, the time from the step until the replicas for it answered, and replica-seconds. What they lead to: docs/decisions."""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST, Running, ServerUnderTest, python, running
from loadtests.bench.report import Row, row

MODES: Final = ("external", "policy", "defaults")
OBJECTIVE_S: Final = 0.4
"""Five times the 80 ms that the service takes."""
LOW, HIGH = 20.0, 150.0
"""Requests a second; one replica carries 50."""
NEEDED: Final = 4
"""Replicas that HIGH asks for: 12 requests under way, 3 to a replica."""
TIMEOUT_S: Final = 60.0
"""No client gives up: an answer may be late, and a failure is an error."""
RETIRE_AFTER: Final = 20
"""About how many requests a connection carries before it is closed."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The load of a run. stretches: (seconds, requests per second)."""

    name: str
    stretches: tuple[tuple[float, float], ...]

    @property
    def rises_at_s(self) -> float:
        """When the load first becomes high."""
        return self.stretches[0][0]


STEP: Final = Traffic("step", ((8, LOW), (30, HIGH), (30, LOW)))
BURSTS: Final = Traffic("bursts", ((8, LOW), (8, HIGH), (20, LOW), (8, HIGH), (20, LOW)))
QUICK: Final = Traffic("step", ((3, LOW), (8, HIGH), (3, LOW)))


@dataclass(slots=True)
class Outcome:
    """The clients' requests by second, and the number of replicas over time."""

    late: Counter[int] = field(default_factory=Counter)
    all: Counter[int] = field(default_factory=Counter)
    failed: int = 0
    replicas: list[tuple[float, int]] = field(default_factory=list)

    def violation_s(self) -> float:
        """Seconds in which more than one request in a hundred was late or failed, by the time they came."""
        return float(sum(self.late[second] > 0.01 * count for second, count in self.all.items()))

    def replica_s(self) -> float:
        """Replica-seconds: the number of replicas, summed over time."""
        return sum(n * (b - a) for (a, n), (b, _) in zip(self.replicas, self.replicas[1:], strict=False))

    def time_to_scale_s(self, since: float) -> float:
        """Seconds from `since` until the needed replicas answered; the whole run if they never did."""
        return next((at - since for at, n in self.replicas if at >= since and n >= NEEDED), self.replicas[-1][0] - since)


async def drive(port: int, folder: Path, traffic: Traffic, seed: int) -> Outcome:
    """Send an open loop of Poisson arrivals over kept connections that are closed after a while."""
    rng, outcome = random.Random(seed), Outcome()  # nosec B311  # a seed, no secret
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, int]] = []
    tasks: set[asyncio.Task[None]] = set()
    begun = time.perf_counter()

    async def ask() -> None:
        came = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer, left = (
                    idle.pop() if idle else (*await asyncio.open_connection(HOST, port), rng.randint(1, 2 * RETIRE_AFTER))
                )
                while reader.at_eof():
                    reader, writer, left = (*await asyncio.open_connection(HOST, port), rng.randint(1, 2 * RETIRE_AFTER))
                writer.write(b"GET /work HTTP/1.1\r\nhost: x\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                if left > 1 and b"connection: close" not in head:
                    idle.append((reader, writer, left - 1))
                else:
                    writer.close()
            is_late = time.perf_counter() - came > OBJECTIVE_S
        except (OSError, EOFError, TimeoutError):
            outcome.failed += 1
            is_late = True
        outcome.all[int(came - begun)] += 1
        outcome.late[int(came - begun)] += is_late

    async def watch() -> None:
        while True:
            outcome.replicas.append((time.perf_counter() - begun, len(os.listdir(folder))))
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    at = 0.0
    end = 0.0
    for length_s, rate in traffic.stretches:
        end += length_s
        at = max(at, end - length_s) + rng.expovariate(rate)
        while at < end:
            await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
            task = asyncio.create_task(ask())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            at += rng.expovariate(rate)
    await asyncio.gather(*tasks)
    watching.cancel()
    for _, writer, _ in idle:
        writer.close()
    return outcome


def server(mode: str, folder: Path) -> ServerUnderTest:
    """The server under test."""
    command = python("loadtests.bench.servers.scaled", "--port", "{http_port}", "--way", mode, "--folder", str(folder))
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    return ServerUnderTest(f"scaled-{mode}", command, environment=(("PYTHONPATH", path),))


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure every way on every traffic, in turn. Each run has its own server, and is reported on stderr when it ends."""
    figures: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        for traffic in (QUICK,) if quick else (STEP, BURSTS):
            for mode in MODES if traffic.name == "step" else MODES[:2]:
                outcome = attempt(mode, traffic, number)
                found = {
                    "violations": outcome.violation_s(),
                    "time to scale": outcome.time_to_scale_s(traffic.rises_at_s),
                    "replica-seconds": outcome.replica_s(),
                    "failed": float(outcome.failed),
                }
                progress = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
                sys.stderr.write(f"{traffic.name} {mode}: {progress}; load of the machine {os.getloadavg()[0]:.1f}\n")
                for name, value in found.items():
                    figures[traffic.name, name, mode].append(value)
    return rows(figures)


def attempt(mode: str, traffic: Traffic, seed: int, tries: int = 3) -> Outcome:
    """One run. Ray allows its own start 30 s, which a busy machine may exceed; then the run is repeated."""
    for left in reversed(range(tries)):
        with tempfile.TemporaryDirectory(prefix="scaled") as folder:
            try:
                with running(server(mode, Path(folder))) as up:
                    return measure(up, Path(folder), traffic, seed)
            except BenchError:
                if not left:
                    raise
    raise AssertionError("not reached")


def measure(up: Running, folder: Path, traffic: Traffic, seed: int) -> Outcome:
    """One run."""
    return asyncio.run(drive(up.http_port, folder, traffic, seed))


def rows(figures: Mapping[tuple[str, str, str], Sequence[float]]) -> list[Row]:
    """One row for each figure of each way."""
    return [
        row(f"{traffic}/{mode}/{name}", values, "requests" if name == "failed" else "s")
        for (traffic, name, mode), values in sorted(figures.items())
    ]
