"""What requests cost besides their queue: processor time at each door, Redis, records, streams, batch. Each is measured a few times."""

import http.client
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from loadtests.bench.benchmarks.records import sql
from loadtests.bench.errors import BenchError
from loadtests.bench.load.connections import http_post
from loadtests.bench.load.grpc_load import load_grpc
from loadtests.bench.load.http_load import load_http
from loadtests.bench.load.replica_counts import read_counts
from loadtests.bench.process import HOST, Running
from loadtests.bench.published import ledger
from loadtests.bench.workload import INFER_PATH, INPUT, MODEL, Workload
from loadtests.bench.worlds.featured import EVENT_US, Featured
from loadtests.stubs import messages
from operators.capacity.figures import EventWork, MeasuredFigure, RecordWork, RedisWork

CLIENTS: Final = 32
BATCH_ROWS: Final = 1000
READS: Final = 20
DIFFERING: Final = 8_000
"""Records that show what the archive makes of them."""
STREAM_FIGURE: Final = "stream/worker/exactly_once/cpu"
MOST_FAILED: Final = 0.005
_GRPC_HEADERS: Final = 120
"""About what HTTP/2 frames and compressed headers of a unary call take, both ways."""


def of(values: Sequence[float]) -> MeasuredFigure:
    """The figure of some rounds."""
    return MeasuredFigure(statistics.median(values), min(values), max(values))


def page_of(server: Running) -> str:
    """The replica's page of metrics."""
    with urllib.request.urlopen(f"http://{HOST}:{server.http_port}/metrics", timeout=30) as answer:  # nosec B310  # our own server
        text: str = answer.read().decode()
    return text


def value_of(page: str, name: str) -> float:
    """The sum of a metric's series."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith((name + " ", name + "{")))


def cpu_a_request(server: Running, load: Callable[[], object]) -> float:
    """Processor seconds of the replica for one of the requests that `load` sends.

    Raises BenchError if more than MOST_FAILED of them failed: what refusals cost is no cost of answers, and h2load does not see them."""
    before = page_of(server)
    load()
    after = page_of(server)
    counts, name = read_counts(after).since(read_counts(before)), "process_cpu_seconds_total"
    if counts.failed > MOST_FAILED * counts.requests:
        raise BenchError(
            f"{counts.failed:.0f} of {counts.requests:.0f} requests to {server.name} failed: nothing is known of what answers cost"
        )
    return (value_of(after, name) - value_of(before, name)) / max(counts.ok, 1.0)


def door_loads(
    up: Featured, tensors: Running, workload: Workload, duration_s: float
) -> dict[str, tuple[Running, Callable[[], object]]]:
    """How each door is asked in a closed loop."""

    def http_load(server: Running, bodies: Path) -> Callable[[], object]:
        return lambda: load_http(server.http_port, INFER_PATH, bodies, clients=CLIENTS, duration_s=duration_s)

    def grpc_load(server: Running, body: bytes) -> Callable[[], object]:
        return lambda: load_grpc(server.grpc_port, body, clients=CLIENTS, duration_s=duration_s)

    return {
        "http/features": (up.vedette, http_load(up.vedette, up.bodies)),
        "http": (tensors, http_load(tensors, workload.json_bodies)),
        "grpc/features": (up.vedette, grpc_load(up.vedette, grpc_host())),
        "grpc": (tensors, grpc_load(tensors, workload.grpc_body(0))),
    }


def grpc_host() -> bytes:
    """The message of a request for one host's decision, with its prefix."""
    tensor, contents = messages.ModelInferRequest.InferInputTensor, messages.InferTensorContents
    inputs = [
        tensor(name="host", datatype="BYTES", shape=[1], contents=contents(bytes_contents=[b"host-7"])),
        tensor(name="event_time", datatype="INT64", shape=[1], contents=contents(int64_contents=[EVENT_US])),
    ]
    message: bytes = messages.ModelInferRequest(model_name=MODEL, inputs=inputs).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


def sizes_of(server: Running, body: bytes) -> tuple[float, float]:
    """Bytes of a request over HTTP and of its answer, headers included."""
    connection = http.client.HTTPConnection(HOST, server.http_port, timeout=10)
    try:
        connection.request("POST", INFER_PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        head = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
        return float(len(http_post(server.http_port, INFER_PATH, body))), float(len(answer.read()) + head + 17)
    finally:
        connection.close()


def grpc_sizes(message: bytes, answer: float) -> tuple[float, float]:
    """Bytes of a request over gRPC, and of its answer by that over HTTP, which says the same in more."""
    return float(len(message) + _GRPC_HEADERS), answer


def redis_counts(url: str) -> tuple[float, float, float]:
    """Processor seconds of Redis so far, bytes in and out, and the memory that it has taken since it started."""
    import redis

    with redis.Redis.from_url(url) as client:
        found: Any = client.info()
    spent = float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
    moved = float(found["total_net_input_bytes"]) + float(found["total_net_output_bytes"])
    return spent, moved, float(found["used_memory"]) - float(found["used_memory_startup"])


def redis_work(up: Featured, load: Callable[[], object], *, hosts: int, rounds: int) -> RedisWork:
    """What a read takes of Redis, beside what Redis takes when nobody asks."""
    reads, moved, idle_s = list[float](), list[float](), 0.5
    for _ in range(rounds):
        first = redis_counts(up.url)
        time.sleep(idle_s)
        quiet = redis_counts(up.url)
        began_s, page = time.monotonic(), page_of(up.vedette)
        load()
        asked = value_of(page_of(up.vedette), "vedette_requests_total") - value_of(page, "vedette_requests_total")
        busy = redis_counts(up.url)
        idle = (quiet[0] - first[0]) / idle_s * (time.monotonic() - began_s)
        reads.append(max(busy[0] - quiet[0] - idle, 1e-9) / max(asked, 1.0))
        moved.append((busy[1] - quiet[1]) / max(asked, 1.0))
    entity = redis_counts(up.url)[2] / hosts
    return RedisWork(of(reads), MeasuredFigure(entity, entity, entity), of(moved))


def record_work(log: Path) -> RecordWork:
    """Bytes of a record as replicas write it, and as the archive keeps it. log: the folder of a store's prediction log.

    The load asks the same again and again, which compresses to a lower bound. The value is that of records that all differ (those of the
    benchmark `sql`), for records of this length."""

    lines = [
        line for path in sorted(log.rglob("segment-*")) if path.suffix == ".jsonl" for line in path.read_bytes().splitlines()
    ]
    differing = list(sql.differing_lines(DIFFERING))
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        one, other = (_archived(some, Path(folder) / name) for some, name in ((lines, "repeated"), (differing, "differing")))
    length = statistics.mean(map(len, lines))
    value = other / statistics.mean(map(len, differing)) * length
    everything = sum(path.stat().st_size for path in log.rglob("*") if path.is_file()) / len(lines)
    return RecordWork(
        MeasuredFigure(everything, everything, everything),
        MeasuredFigure(value, min(one, value), max(one, value)),
    )


def _archived(lines: Sequence[bytes], target: Path) -> float:
    """Bytes of a record in a segment of the archive."""
    from lifecycle.governance.archive.parquet import write_segment

    write_segment(lines, target)
    return target.stat().st_size / len(lines)


def event_work() -> EventWork:
    """A streamed event. Its processor time is what the benchmark `stream` published last; the bytes are of generated flows and of the
    verdict that the contract of streams shows."""
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.datasets.synthetic_flows import generate_flows
    from lifecycle.training.client_events import client_events
    from operators.cli.stream.asyncapi import contract
    from serving.stream.settings import StreamSettings

    published = next(f for f in ledger.read(ledger.LEDGER) if f.name == STREAM_FIGURE)
    if published.value is None or published.range is None:
        raise ValueError(f"{ledger.LEDGER}: {STREAM_FIGURE} was not measured")
    low, high = published.range
    detector, frame = read_detector("flows"), generate_flows(1).head(2000)
    events = [float(len(orjson.dumps(event.body, default=str)) + len(event.key)) for event in client_events(detector, frame)]
    described = contract(StreamSettings.model_construct(**{n: f.default for n, f in StreamSettings.model_fields.items()}))
    verdict = float(len(orjson.dumps(described["components"]["messages"]["Verdict"]["examples"][0]["payload"])))
    means = [statistics.mean(events[at::10]) for at in range(10)]
    return EventWork(
        MeasuredFigure(1 / published.value, 1 / high, 1 / low),
        of(means),
        MeasuredFigure(verdict, verdict, verdict),
    )


def row_seconds(server: Running, workload: Workload, folder: Path, *, rounds: int, duration_s: float) -> MeasuredFigure:
    """Processor time of one row of many in a request, without features."""
    import numpy as np

    rows = np.resize(workload.inputs, (BATCH_ROWS, workload.inputs.shape[1]))
    tensor = {"name": INPUT, "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel()}
    bodies = folder / "batch.jsonl"
    bodies.write_bytes(orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    found = []
    for _ in range(rounds):
        spent = cpu_a_request(
            server, lambda: load_http(server.http_port, INFER_PATH, bodies, clients=1, duration_s=max(duration_s, 1.0))
        )
        found.append(spent / BATCH_ROWS)
    return of(found)


def page_seconds(server: Running) -> MeasuredFigure:
    """Processor time that the operator takes to read one page, which it has read before."""
    from operators.backends.exposition import PageReader

    reader, page, found = PageReader(), page_of(server), []
    reader.read(page)
    for _ in range(READS):
        began_s = time.process_time()
        reader.read(page)
        found.append(time.process_time() - began_s)
    return of(found)
