"""A replay of flows through a real broker and a real worker, and what came out: verdicts by row of the file, features by record.

The worker is `vedette stream`, the sender `vedette stream replay`; both are processes. Features come out of the prediction log."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.detector import Detector
from lifecycle.training.client_events import client_events
from loadtests.bench.errors import BenchError
from serving.audit.encoding import decode_array
from serving.audit.reader import read_records
from serving.stream.contract import VerdictMessage
from serving.stream.kafka.cluster import KafkaCluster
from serving.stream.kafka.source import KafkaSource
from serving.stream.ports import Partition, Position, StreamRecord
from serving.stream.settings import StreamSettings

PARTITIONS: Final = 4
_WAIT_S: Final = 180.0
_VERDICT: Final = msgspec.json.Decoder(VerdictMessage)


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """The verdict on one row of the file. seen_s: seconds from the sending of the first event until the verdict was read."""

    verdict: VerdictMessage
    seen_s: float


@dataclass(frozen=True, slots=True)
class FlowReplay:
    """The result of a replay. verdicts: row of the file -> verdict. features: shape (rows, features), as recorded; NaN if no record was
    found. repeated: verdicts beyond the first of a row."""

    verdicts: Mapping[int, RowVerdict]
    features: NDArray[np.float64]
    repeated: int
    seconds: float


class _Everything:
    """Owns every partition that it is given, from the start."""

    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        return dict.fromkeys(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None: ...

    def lost(self, partitions: Sequence[Partition]) -> None: ...

    def renewed(self, partition: Partition, offset: int) -> None: ...


@dataclass(slots=True)
class FlowStream:
    """One consumer group on topics of its own. store: holds the trained bundle."""

    servers: str
    store: Path
    name: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def replay(self, detector: Detector, frame: Any, file: Path, features: Sequence[str], *, speed: float) -> FlowReplay:
        """Send every row of the file and wait for all verdicts. features: the columns that are read from the records."""
        topics = StreamSettings.model_validate({key.lower(): value for key, value in self._topics().items()})
        with self._process("topics", "stream", "topics", "--partitions", str(PARTITIONS)) as made:
            self._wait(made, "topics")
        cluster = KafkaCluster(self.servers)
        rows = self._rows_of_keys(detector, frame)
        with self._process("worker", "stream"):
            verdicts = KafkaSource(cluster, [topics.verdicts], f"{self.name}-bench", _Everything(), start="earliest")
            events = KafkaSource(cluster, [topics.events], f"{self.name}-bench-events", _Everything(), start="earliest")
            try:
                began_s = time.monotonic()
                with self._process("replay", "stream", "replay", str(file), "--speed", f"{speed:g}"):
                    found, repeated = self._collect(verdicts, events, rows, len(frame), began_s)
                took_s = time.monotonic() - began_s
            finally:
                verdicts.close()
                events.close()
        return FlowReplay(found, self._features(found, len(frame), features), repeated, took_s)

    def _collect(
        self, verdicts: KafkaSource, events: KafkaSource, rows: dict[bytes, list[int]], total: int, began_s: float
    ) -> tuple[dict[int, RowVerdict], int]:
        """Row of the file -> verdict, and the number of repeats. The n-th event of a key is the n-th row of that key, because a
        partition keeps their order."""
        row_of: dict[str, int] = {}
        waiting: dict[str, RowVerdict] = {}
        found: dict[int, RowVerdict] = {}
        seen: dict[bytes, int] = defaultdict(int)
        repeated, last_s = 0, time.monotonic()
        while len(found) < total:
            came: Sequence[StreamRecord] = events.poll(5000, 0.02)
            for record in came:
                key = record.key or b""
                row_of[record.id] = rows[key][seen[key]]
                seen[key] += 1
            answered = verdicts.poll(5000, 0.02)
            now_s = time.monotonic()
            for record in answered:
                verdict = _VERDICT.decode(record.value or b"")
                repeated += verdict.id in waiting
                waiting[verdict.id] = RowVerdict(verdict, now_s - began_s)
            for identity in [one for one in waiting if one in row_of]:
                row = row_of[identity]
                repeated += row in found
                found.setdefault(row, waiting.pop(identity))
            if came or answered:
                last_s = now_s
            elif now_s - last_s > _WAIT_S:
                raise BenchError(f"{total - len(found)} of {total} verdicts did not come; see {self.store}/*.log")
        return found, repeated

    def _rows_of_keys(self, detector: Detector, frame: Any) -> dict[bytes, list[int]]:
        rows: dict[bytes, list[int]] = defaultdict(list)
        for event in client_events(detector, frame):
            rows[event.key.encode()].append(event.row)
        return rows

    def _features(self, found: Mapping[int, RowVerdict], total: int, names: Sequence[str]) -> NDArray[np.float64]:
        rows: dict[str, dict[int, int]] = defaultdict(dict)
        for row, one in found.items():
            rows[one.verdict.receipt][one.verdict.row] = row
        values = np.full((total, len(names)), np.nan)
        for record in read_records(self.store / "audit"):
            places = rows.get(record.receipt)
            if places is None:
                continue
            columns = np.stack([decode_array(record.features[name]).astype(np.float64) for name in names], axis=1)
            numbers = range(record.rows) if record.row_numbers is None else decode_array(record.row_numbers).tolist()
            for at, number in enumerate(numbers):
                if number in places:
                    values[places[number]] = columns[at]
        return values

    def _topics(self) -> dict[str, str]:
        kinds = ("EVENTS", "VERDICTS", "ALERTS", "DEAD_LETTERS", "STATE", "INVESTIGATE", "RISKS")
        return {kind: f"{self.name}.{kind.lower().replace('_', '-')}" for kind in kinds}

    @contextmanager
    def _process(self, what: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        own = {f"VEDETTE_STREAM_{name}": value for name, value in {**self._topics(), **self.settings}.items()}
        environment = {
            **os.environ,
            **own,
            "VEDETTE_STORE_DIR": str(self.store),
            "VEDETTE_STREAM_SERVERS": self.servers,
            "VEDETTE_STREAM_GROUP": self.name,
        }
        with (self.store / f"{self.name}-{what}.log").open("ab") as log:
            running = subprocess.Popen(
                [sys.executable, "-m", "operators.cli.main", *words],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
                try:
                    running.wait(60)
                except subprocess.TimeoutExpired:
                    running.kill()
                    running.wait()

    def _wait(self, running: subprocess.Popen[bytes], what: str) -> None:
        if running.wait(_WAIT_S):
            raise BenchError(f"vedette stream {what} ended with {running.returncode}; see {self.store}/{self.name}-{what}.log")
