"""Events from a real broker through windows and model to committed verdicts, beside a loop that only reads and writes with the same client.

rate: records a second of one process, from the first tenth to the last record of a topic that was filled before; cpu: the same for each
processor second of that process. The broker shares the machine, so the rate says what the machine gives, and cpu what the worker costs.
two: two workers on the same topic. one event: time in the worker for a batch of one event, with state in process. latency: from when an
event was to be produced (an open loop) to when its verdict could be read, committed, at 10, 50 and 80 % of the worker's rate."""

import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.targets import Target, ratio, value
from loadtests.bench.worlds.stream_load import StreamLoad, trained_store
from operators.control.local_kafka import LocalKafka, LocalKafkaError
from serving.stream.ports import OutRecord, Ownership, Partition, Position, StreamRecord

IS_LONG: Final = True
MODES: Final = ("exactly_once", "low_latency")
LOADS: Final = (10, 50, 80)
RATE_TARGET: Final = ratio(">=", 0.3)
CPU_TARGET: Final = value(">=", 15_000)
ONE_TARGET: Final = value("<", 1.0)
Found = dict[str, list[float]]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure every alternative in turn."""
    data = os.environ.get("VEDETTE_DATA_DIR")
    with TemporaryDirectory(prefix="vedette-bench-stream-") as folder, ExitStack() as stack:
        try:
            kafka = stack.enter_context(LocalKafka())
        except LocalKafkaError as problem:
            raise BenchError(str(problem)) from problem
        store = Path(folder) / "store"
        bodies = trained_store(store, Path(data) if data else None)
        load = StreamLoad(kafka.address, store, bodies[:5000] if quick else bodies)
        stack.callback(load.close)
        total = load.fill(20 if quick else 4)
        found: Found = {}
        for _ in range(rounds):
            _rates(load, total, found)
            _latencies(load, found, 2.0 if quick else 10.0)
        for _ in range(rounds):
            found.setdefault("stream/worker/one event/p50", []).append(_one_event_ms(store, bodies, 100 if quick else 1000))
    return list(rows(found))


def _rates(load: StreamLoad, total: int, found: Found) -> None:
    for mode in MODES:
        for who, workers in (("plain", 1), ("worker", 1), ("worker", 2)):
            to, group, state = (
                load.topic("verdicts"),
                f"bench-{uuid.uuid4().hex[:8]}",
                load.topic("state", cleanup_policy="compact"),
            )
            with ExitStack() as stack:
                started = [
                    stack.enter_context(
                        load.plain(mode, to, load.events, group)
                        if who == "plain"
                        else load.worker(mode, to, load.events, group, state)
                    )
                    for _ in range(workers)
                ]
                rate, cpu_s = load.follow(to, total, started)
            name = f"stream/{who}/{mode}/" + ("two/" if workers == 2 else "")
            found.setdefault(f"{name}rate", []).append(rate)
            found.setdefault(f"{name}cpu", []).append(1 / cpu_s)


def _latencies(load: StreamLoad, found: Found, seconds: float) -> None:
    for mode in MODES:
        peak = found[f"stream/worker/{mode}/rate"][-1]
        events, to, state = load.topic("events"), load.topic("verdicts"), load.topic("state", cleanup_policy="compact")
        with load.worker(mode, to, events, f"bench-{uuid.uuid4().hex[:8]}", state):
            load.latencies_ms(100, 2.0, events, to)  # until the worker has joined
            for percent in LOADS:
                late = load.latencies_ms(peak * percent / 100, seconds, events, to)
                for name, quantile in (("p50", 0.5), ("p99", 0.99)):
                    found.setdefault(f"stream/worker/{mode}/at {percent} %/{name}", []).append(
                        float(np.quantile(late, quantile))
                    )


def _one_event_ms(store: Path, bodies: Sequence[tuple[bytes, Mapping[str, object]]], n: int) -> float:
    """Median milliseconds that a worker takes for a batch of one event, after other events were counted; without a broker."""
    from serving.launch.stream import StreamProcess
    from serving.settings import ServingSettings
    from serving.stream.settings import StreamSettings

    stopping = threading.Event()
    place = Partition("events", 0)
    records = [StreamRecord(place, at, orjson.dumps(body), key) for at, (key, body) in enumerate(bodies[: 5000 + n])]
    source = _OneByOne(records, n, stopping)
    settings = ServingSettings(store_dir=store, http_port=0, grpc_port=0)
    process = StreamProcess(settings, StreamSettings(), stopping, connect=source.connect)
    process.run()
    return float(np.median(source.took_s)) * 1000


class _OneByOne:
    """Implements the ports StreamSource and StreamOutputs: many records at first, then single ones. What is written is discarded."""

    def __init__(self, records: Sequence[StreamRecord], singly: int, stopping: threading.Event) -> None:
        self._records, self._single, self._stopping = list(records), len(records) - singly, stopping
        self._given_s: float | None = None
        self._ownership: Ownership | None = None
        self._next = -1
        self.took_s: list[float] = []

    def connect(self, ownership: Ownership) -> "tuple[_OneByOne, _OneByOne]":
        """See Connect."""
        self._ownership = ownership
        return self, self

    def poll(self, most: int, wait_s: float) -> Sequence[StreamRecord]:
        """The next records. The time since the last ones is what the worker took for them."""
        if self._given_s is not None:
            self.took_s.append(time.perf_counter() - self._given_s)
        if self._ownership is not None and self._next < 0:
            self._ownership.assigned({self._records[0].partition: None})
            self._next = 0
        at = self._next
        self._next = min(at + most, self._single) if at < self._single else at + 1
        if at >= len(self._records):
            self._stopping.set()
        self._given_s = time.perf_counter() if at >= self._single else None
        return self._records[at : self._next]

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See StreamSource."""

    resume = pause

    def behind(self) -> Mapping[Partition, int]:
        """See StreamSource."""
        return {}

    def send(self, records: Sequence[OutRecord]) -> None:
        """See StreamOutputs."""

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """See StreamOutputs."""

    def abort(self) -> None:
        """See StreamOutputs."""

    close = abort


def rows(found: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """The figures: the worker beside the plain loop, two workers beside one."""
    for name, values in found.items():
        against, target = _compared(name)
        unit = "ms" if name.endswith(("p50", "p99")) else "1/s" if name.endswith("rate") else "1/cpu s"
        yield row(name, values, unit, against=None if against is None else (against, found[against]), target=target)


def _compared(name: str) -> tuple[str | None, Target | None]:
    if name.endswith("one event/p50"):
        return None, ONE_TARGET
    if "/two/" in name:
        return name.replace("/two/", "/"), None
    if name.startswith("stream/worker/") and name.endswith("/rate"):
        return name.replace("/worker/", "/plain/"), RATE_TARGET
    if name.startswith("stream/worker/") and name.endswith("/cpu"):
        return None, CPU_TARGET
    return None, None
