"""The figures of a load generator, and how a generator is run in a process of its own."""

import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.process import python


@dataclass(frozen=True, slots=True)
class Sample:
    """One cell: a server, a number of clients, a few seconds. Latencies are in milliseconds, rate in requests per second."""

    p50_ms: float
    p99_ms: float
    rate: float


def sample(latencies_s: Sequence[float], duration_s: float) -> Sample:
    """Summarise single latencies. Percentiles are nearest-rank, so each is a latency that was seen.

    >>> sample([0.001, 0.002, 0.003, 0.004], 2.0)
    Sample(p50_ms=2.0, p99_ms=4.0, rate=2.0)
    """
    if not latencies_s:
        raise BenchError("no request was answered within the time")
    ordered = sorted(latencies_s)

    def percentile(p: int) -> float:
        return ordered[math.ceil(p / 100 * len(ordered)) - 1] * 1000

    return Sample(percentile(50), percentile(99), len(ordered) / duration_s)


def has(program: str) -> bool:
    """Whether the load generator is installed."""
    return shutil.which(program) is not None


def output_of(command: Sequence[str], duration_s: float) -> str:
    """Run a load generator that stops by itself, and return what it printed. Raises BenchError if it fails or does not stop."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=duration_s + 30, check=False)
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"{command[0]} did not end {late.timeout:.0f} s after its start") from late
    if done.returncode != 0:
        raise BenchError(f"{command[0]} failed with status {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def json_of(module: str, *arguments: object, duration_s: float) -> dict[str, Any]:
    """Run one of our generators, a module that prints a JSON line last, in a process of its own. Raises BenchError as `output_of` does."""
    found: dict[str, Any] = orjson.loads(output_of(python(module, *map(str, arguments)), duration_s).splitlines()[-1])
    return found
