"""HTTP load by wrk, with rotating bodies. Without wrk a client of our own is used, which takes more of the machine.

Both are closed loops: each client sends its next request when it has its answer."""

import asyncio
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.load.connections import ClosedLoop, Latencies, Load, http_post
from loadtests.bench.load.results import Sample, has, output_of, sample
from loadtests.bench.process import HOST

SCRIPT = Path(__file__).with_name("rotate.lua")


def generator() -> str:
    """Which generator is used on this machine, and why."""
    return "wrk" if has("wrk") else "our own asyncio client: wrk is not installed (make services installs it)"


def load_http(port: int, path: str, bodies: Path, *, clients: int, duration_s: float, scheme: str = "http") -> Sample:
    """Measure one cell. Raises BenchError if a request failed, or for TLS (scheme https) without wrk."""
    return load_counted(port, path, bodies, clients=clients, duration_s=duration_s, scheme=scheme).without_failures()


@dataclass(frozen=True, slots=True)
class CountedLoad:
    """sample: of all requests, failed ones included. failed: how many were not answered 200. why: what is known of these, for people."""

    sample: Sample
    requests: int
    failed: int
    why: str

    def without_failures(self) -> Sample:
        """The sample. Raises BenchError if a request failed: its time says nothing of those that are answered."""
        if self.failed:
            raise BenchError(f"{self.failed} of {self.requests} requests {self.why}")
        return self.sample


def load_counted(port: int, path: str, bodies: Path, *, clients: int, duration_s: float, scheme: str = "http") -> CountedLoad:
    """Measure one cell, and count its requests and those that failed. Raises BenchError if none was answered, or as `load_http` for TLS."""
    if has("wrk"):
        return _wrk(f"{scheme}://{HOST}:{port}", path, bodies, clients, duration_s)
    if scheme == "https":
        raise BenchError("load over TLS needs wrk; make services installs it")
    return asyncio.run(_own(port, path, bodies.read_bytes().splitlines(), clients, duration_s))


def _wrk(url: str, path: str, bodies: Path, clients: int, duration_s: float) -> CountedLoad:
    whole_s = max(1, round(duration_s))  # wrk takes whole seconds
    command = ["wrk", "-t1", f"-c{clients}", f"-d{whole_s}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    output = output_of([*command, "--", path, str(bodies)], whole_s)
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise BenchError(f"wrk said nothing of its result: {output[-400:]}")
    found = orjson.loads(lines[0].removeprefix("RESULT "))
    if not found["requests"]:
        raise BenchError(f"{found['failed']} of 0 requests to {url} failed")
    rate = found["requests"] / (found["duration_us"] / 1e6)
    measured = Sample(found["p50_us"] / 1000, found["p99_us"] / 1000, rate)
    return CountedLoad(measured, int(found["requests"]), int(found["failed"]), f"to {url} failed")


async def _own(port: int, path: str, bodies: list[bytes], clients: int, duration_s: float) -> CountedLoad:
    requests = [http_post(port, path, body) for body in bodies]
    judge = Latencies()
    with closing(Load(port, judge, lambda number, _: requests[number % len(requests)])) as load:
        await load.connect(clients)
        start = time.perf_counter()
        load.begin(ClosedLoop())
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await load.ended.wait()
        lasted_s = time.perf_counter() - start
        if load.gone:
            raise BenchError(f"port {port} closed {load.gone} connections under load")
    why = f"to port {port} failed, by status: {dict(judge.failures)}"
    return CountedLoad(sample(judge.took, lasted_s), len(judge.took), judge.failures.total(), why)
