"""gRPC load by h2load with a prepared message. Without h2load Python's own client is used, which costs as much as the servers do.

h2load sends one message over and over, so the caller gives another one each round. It sees HTTP statuses and not gRPC's, so the answers
are checked beforehand."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from loadtests.bench.errors import BenchError
from loadtests.bench.load.results import Sample, has, output_of, sample
from loadtests.bench.process import HOST
from loadtests.stubs import SERVICE, infer_call, messages

WARM_UP_S = 0.3


def generator() -> str:
    """Which generator is used on this machine, and why."""
    return "h2load" if has("h2load") else "grpc.aio in Python: h2load is not installed (make services installs it)"


def load_grpc(port: int, body: bytes, *, clients: int, duration_s: float, streams: int = 1, scheme: str = "http") -> Sample:
    """Measure one cell. body: a length-prefixed ModelInfer message. clients: connections, each with `streams` streams at once.

    Raises BenchError if a request failed, or for TLS (scheme https) without h2load."""
    if has("h2load"):
        return _h2load(port, body, clients, streams, duration_s, scheme)
    if scheme == "https":
        raise BenchError("load over TLS needs h2load; make services installs it")
    return asyncio.run(_own(port, messages.ModelInferRequest.FromString(body[5:]), clients, duration_s, streams))


def _h2load(port: int, body: bytes, clients: int, streams: int, duration_s: float, scheme: str) -> Sample:
    with tempfile.TemporaryDirectory(prefix="vedette-h2load-") as folder:
        message, log = Path(folder, "message"), Path(folder, "log")
        message.write_bytes(body)
        command = [
            "h2load",
            "-t1",
            f"-c{clients}",
            f"-m{streams}",
            f"-D{round(duration_s * 1000)}ms",
            f"--warm-up-time={round(WARM_UP_S * 1000)}ms",
            f"--log-file={log}",
        ]
        command += ["-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers"]
        output_of([*command, f"{scheme}://{HOST}:{port}/{SERVICE}/ModelInfer"], duration_s + WARM_UP_S)
        return _from_log(log.read_text(), port)


def _from_log(text: str, port: int) -> Sample:
    """The sample in h2load's log: start (microseconds), HTTP status, duration (microseconds), tab-separated. The warm-up is included."""
    rows = [line.split("\t") for line in text.splitlines() if line]
    if not rows:
        raise BenchError(f"h2load got no answer from port {port}")
    if failed := sum(r[1] != "200" for r in rows):
        raise BenchError(f"{failed} of {len(rows)} gRPC requests to port {port} failed")
    begin = min(int(r[0]) for r in rows) + int(WARM_UP_S * 1e6)
    counted = [(int(start), int(took)) for start, _, took in rows if int(start) >= begin]
    if not counted:
        raise BenchError(f"port {port} answered no gRPC request after the warm-up")
    last = max(start + took for start, took in counted)
    return sample([took / 1e6 for _, took in counted], (last - begin) / 1e6)


async def _own(port: int, request: object, clients: int, duration_s: float, streams: int = 1) -> Sample:
    latencies: list[float] = []
    start = time.perf_counter()
    end = start + duration_s

    async def client() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]  # else all clients would share one connection
        async with grpc.aio.insecure_channel(f"{HOST}:{port}", options=options) as channel:
            await asyncio.gather(*(stream(infer_call(channel)) for _ in range(streams)))

    async def stream(infer: Callable[..., Any]) -> None:
        while (before := time.perf_counter()) < end:
            await infer(request, timeout=10)
            latencies.append(time.perf_counter() - before)

    try:
        await asyncio.gather(*(client() for _ in range(clients)))
    except grpc.aio.AioRpcError as problem:
        raise BenchError(f"a gRPC request to port {port} failed: {problem.code().name} {problem.details()}") from problem
    return sample(latencies, time.perf_counter() - start)
