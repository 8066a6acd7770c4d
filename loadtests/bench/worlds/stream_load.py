"""A broker, a trained store and stream workers as processes, for the benchmark of streams."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from numpy.typing import NDArray

from loadtests.bench.errors import BenchError
from loadtests.bench.process import LOGS, python
from serving.stream.kafka.cluster import KafkaCluster, ToldOnce
from serving.stream.kafka.producing import new_producer, put
from serving.stream.kafka.topics import KafkaTopics, TopicPlan
from serving.stream.ports import OutRecord

PARTITIONS: Final = 4
WAIT_S: Final = 180.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class StreamLoad:
    """One topic of events, which is produced once. Each run reads it with its own group and topics. bodies: the events, in their order."""

    def __init__(self, address: str, store: Path, bodies: Sequence[tuple[bytes, dict[str, Any]]]) -> None:
        self.address, self.store, self._bodies = address, store, bodies
        self._cluster = KafkaCluster(address, {"log_level": "2"})
        self._topics = KafkaTopics(self._cluster)
        self._producer = new_producer(self._cluster, ToldOnce(self._cluster), {})
        self._coming: dict[str, Iterator[LoadEvent]] = {}
        self._look = Consumer({"bootstrap.servers": address, "group.id": "bench-look", "isolation.level": "read_committed"})
        self.events = self.topic("events")

    def topic(self, what: str, **config: str) -> str:
        """Make a new topic and return its name."""
        name = f"bench-{what}-{uuid.uuid4().hex[:8]}"
        self._topics.create([TopicPlan(name, PARTITIONS, 1, {key.replace("_", "."): value for key, value in config.items()})])
        return name

    def close(self) -> None:
        """Close the clients of the broker."""
        self._look.close()

    def fill(self, copies: int) -> int:
        """Produce all events `copies` times, each copy later in event time; returns how many."""
        for copy in range(copies):
            records = [OutRecord(self.events, json.dumps(body).encode(), key) for key, body in shifted(self._bodies, copy)]
            for at in range(0, len(records), 10_000):
                put(self._cluster, self._producer, records[at : at + 10_000])
        if self._producer.flush(WAIT_S):
            raise BenchError("the broker did not take the events in time")
        return copies * len(self._bodies)

    def written(self, topic: str) -> int:
        """The number of records that readers of committed records can reach. It includes the markers of transactions, one for each
        commit."""
        return sum(self._end(topic, number) for number in range(PARTITIONS))

    @contextmanager
    def worker(self, mode: str, verdicts: str, events: str, group: str, state: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Run a worker as a process until the block ends."""
        more = {what: self.topic(what.replace("_", "-")) for what in ("alerts", "dead_letters", "investigate")}
        stream = {
            "servers": self.address,
            "events": events,
            "verdicts": verdicts,
            "state": state,
            "group": group,
            "mode": mode,
            **more,
        }
        environment = {
            **os.environ,
            **{f"VEDETTE_STREAM_{name.upper()}": value for name, value in stream.items()},
            "VEDETTE_STORE_DIR": str(self.store),
            "VEDETTE_LOG_LEVEL": "warning",
        }
        with _program(python("serving.launch.stream"), environment) as process:
            yield process

    @contextmanager
    def plain(self, mode: str, to: str, events: str, group: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Run the plain loop as a process until the block ends."""
        command = python("loadtests.bench.servers.plain_stream", self.address, events, to, group, mode)
        with _program(command, dict(os.environ)) as process:
            yield process

    def follow(self, topic: str, goal: int, processes: Sequence["subprocess.Popen[bytes]"]) -> tuple[float, float]:
        """Records per second and processor seconds per record, from when a tenth of `goal` is written to when all of it is. Raises
        BenchError."""
        began = self._reach(topic, goal // 10, processes)
        ended = self._reach(topic, goal, processes)
        records = ended[1] - began[1]
        if not records or ended[2] == began[2]:
            raise BenchError(f"{goal} records were written before they could be measured; produce more")
        return records / (ended[0] - began[0]), (ended[2] - began[2]) / records

    def latencies_ms(self, rate: float, seconds: float, events: str, verdicts: str) -> NDArray[np.float64]:
        """Produce at this rate, and return how long after each event its verdict could be read, in milliseconds. The first second is
        left out. Events go on in event time where the last call for the topic ended: a worker finds older ones late, and does
        not count them."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
            }
        )
        consumer.assign([TopicPartition(verdicts, n, self._end(verdicts, n)) for n in range(PARTITIONS)])
        sent, found = 0, list[tuple[float, float]]()
        began = time.time()
        total = int(rate * seconds)
        body = islice(self._coming.setdefault(events, endless(self._bodies)), total)
        while len(found) < total:
            now = time.time()
            due = min(total, int((now - began) * rate) + 1)
            records = [
                OutRecord(events, json.dumps({**one, "event_id": str(began + (sent + i) / rate)}).encode(), key)
                for i, (key, one) in enumerate(islice(body, due - sent))
            ]
            sent += len(records)
            put(self._cluster, self._producer, records)
            for message in consumer.consume(2000, 0.002):
                if message.error() is None:
                    at = float(json.loads(message.value() or b"{}")["event_id"])
                    found.append((at - began, time.time() - at))
            if now - began > seconds + WAIT_S:
                raise BenchError(f"of {total} events at {rate:.0f} a second, {len(found)} had a verdict after {WAIT_S:.0f} s")
        consumer.close()
        return np.array([late for at, late in found if at > 1.0]) * 1000

    def _reach(self, topic: str, goal: int, processes: Sequence["subprocess.Popen[bytes]"]) -> tuple[float, int, float]:
        """Wait for this many records; returns the time, how many there are, and the processor seconds of the processes."""
        until = time.monotonic() + WAIT_S
        while (n := self.written(topic)) < goal:
            if time.monotonic() > until or any(p.poll() is not None for p in processes):
                raise BenchError(f"{n} of {goal} records after {WAIT_S:.0f} s, or a worker ended; see {LOGS}")
            time.sleep(0.02)
        return time.monotonic(), n, sum(_cpu_s(p.pid) for p in processes)

    def _end(self, topic: str, number: int) -> int:
        until = time.monotonic() + WAIT_S
        while True:
            try:
                return int(self._look.get_watermark_offsets(TopicPartition(topic, number), timeout=60)[1])
            except KafkaException as problem:  # a topic that was just made has no leader yet
                if time.monotonic() > until:
                    raise BenchError(f"the end of {topic}/{number} is not known: {problem}") from problem
                time.sleep(0.1)


LoadEvent = tuple[bytes, dict[str, Any]]
"""Key and body."""


def shifted(bodies: Sequence[LoadEvent], copy: int) -> Iterator[LoadEvent]:
    """The events, so many times their whole span later in event time."""
    span = int(bodies[-1][1]["event_time"]) - int(bodies[0][1]["event_time"]) + 1_000_000
    for key, body in bodies:
        yield key, {**body, "event_time": int(body["event_time"]) + copy * span}


def endless(bodies: Sequence[LoadEvent]) -> Iterator[LoadEvent]:
    """The events again and again, each time later in event time."""
    for copy in count():
        yield from shifted(bodies, copy)


@contextmanager
def _program(command: Sequence[str], environment: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "stream-workers.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def trained_store(folder: Path, data_dir: Path | None) -> list[tuple[bytes, dict[str, Any]]]:
    """Train `flows` into a store of its own. Returns its events, in the order in which they come, with times as whole microseconds."""
    import pandas as pd

    from lifecycle.datasets.data import find_file
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.datasets.synthetic_flows import generate_flows
    from lifecycle.training.client_events import client_events

    command = [sys.executable, "-m", "operators.cli.main", "train", "flows", "--store-dir", str(folder), "--json"]
    made = subprocess.run([*command, *(["--data-dir", str(data_dir)] if data_dir else [])], capture_output=True, check=False)
    if made.returncode:
        raise BenchError(f"vedette train flows: {made.stderr.decode(errors='replace')[-500:]}")
    detector = read_detector("flows")
    frame = generate_flows(1) if data_dir is None else pd.read_parquet(find_file(detector, data_dir))
    found = []
    for event in client_events(detector, frame):
        moment = np.datetime64(event.body["event_time"].rstrip("Z"), "us").astype(np.int64)
        found.append((event.key.encode(), {**event.body, "event_time": int(moment)}))
    return found
