"""HTTP load: wrk, with rotating bodies; without wrk a small client of our own, which shares the server's machine less kindly.

Closed loop either way: each client sends its next request when it has its answer."""

import asyncio
import time
from itertools import cycle
from pathlib import Path

import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.load.results import Sample, has, output_of, sample
from loadtests.bench.process import HOST

SCRIPT = Path(__file__).with_name("rotate.lua")


def generator() -> str:
    """Which generator is used here, and why."""
    return "wrk" if has("wrk") else "our own asyncio client: wrk is not installed (make services installs it)"


def load_http(port: int, path: str, bodies: Path, *, clients: int, duration_s: float) -> Sample:
    """Measure one cell. Raises BenchError if a request failed."""
    if has("wrk"):
        return _wrk(port, path, bodies, clients, duration_s)
    return asyncio.run(_own(port, path, bodies.read_bytes().splitlines(), clients, duration_s))


def _wrk(port: int, path: str, bodies: Path, clients: int, duration_s: float) -> Sample:
    whole_s = max(1, round(duration_s))  # wrk takes whole seconds
    command = ["wrk", "-t1", f"-c{clients}", f"-d{whole_s}s", "--timeout", "10s", "-s", str(SCRIPT), f"http://{HOST}:{port}"]
    output = output_of([*command, "--", path, str(bodies)], whole_s)
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise BenchError(f"wrk said nothing of its result: {output[-400:]}")
    found = orjson.loads(lines[0].removeprefix("RESULT "))
    if found["failed"] or not found["requests"]:
        raise BenchError(f"{found['failed']} of {found['requests']} requests to port {port} failed")
    return Sample(found["p50_us"] / 1000, found["p99_us"] / 1000, found["requests"] / (found["duration_us"] / 1e6))


async def _own(port: int, path: str, bodies: list[bytes], clients: int, duration_s: float) -> Sample:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    latencies: list[float] = []
    start = time.perf_counter()
    end = start + duration_s

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            for request in cycle(requests[first:] + requests[:first]):
                before = time.perf_counter()
                if before >= end:
                    return
                writer.write(request)
                await _read_answer(reader)
                latencies.append(time.perf_counter() - before)
        finally:
            writer.close()

    await asyncio.gather(*(client(i % len(requests)) for i in range(clients)))
    return sample(latencies, time.perf_counter() - start)


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status, _, headers = head.partition(b"\r\n")
    if b" 200" not in status:
        raise BenchError(f"a request failed: {status.decode(errors='replace')}")
    _, found, rest = headers.partition(b"content-length:")
    if not found:
        raise BenchError("an answer came without Content-Length, which our own client needs; install wrk")
    await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
