"""A stream worker under failures, and one that is left in peace, on the same events: what each wrote, and the state that each kept."""

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from serving.models.store import BundleStore
from serving.stream.contract import ID_HEADER, REASON_HEADER, AlertMessage, VerdictMessage
from serving.stream.counts import StreamCounts
from serving.stream.kafka.cluster import KafkaCluster
from serving.stream.kafka.state_log import KafkaStateLog
from serving.stream.ownership import PartitionOwner
from serving.stream.ports import Partition
from serving.stream.settings import StreamSettings
from serving.stream.windows.kind import WindowKind, window_spec_of
from tests.contract.serving.stream.broker_kinds import all_ended
from tests.fakes.kafka_broker import KafkaBroker
from tests.fakes.stream.log import murmur2
from tests.waiting import until

PARTITIONS: Final = 4
POISON_EVERY: Final = 199
POISON: Final = (b"", b"{broken", b"[1, 2]", b'{"host": 7}', b"\xff\xfe", b"null", None)
SNAPSHOT_S: Final = 1.0
Place = tuple[int, int]
"""Partition and offset of an event."""


@dataclass(frozen=True)
class SentEvent:
    """partition, and what is written there. is_poison: no model can score it."""

    partition: int
    key: bytes
    value: bytes | None
    is_poison: bool


def flows(count: int) -> Iterator[SentEvent]:
    """Generated flows in the order in which they come, again and again with later times, poison among them."""
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.datasets.synthetic_flows import generate_flows
    from lifecycle.training.client_events import client_events
    from lifecycle.training.example import EVENT_TIME

    detector = read_detector("flows")
    bodies = [(one.key.encode(), one.body) for one in client_events(detector, generate_flows(detector.model.seed))]
    times = np.array([body[EVENT_TIME].removesuffix("Z") for _, body in bodies], "datetime64[us]")
    span = times.max() - times.min()
    for number in range(count):
        key, body = bodies[number % len(bodies)]
        time = times[number % len(bodies)] + span * (number // len(bodies))
        partition = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
        if number % POISON_EVERY == POISON_EVERY - 1:
            yield SentEvent(partition, key, POISON[number // POISON_EVERY % len(POISON)], is_poison=True)
        else:
            yield SentEvent(partition, key, orjson.dumps({**body, EVENT_TIME: f"{time}Z"}), is_poison=False)


class StreamRun:
    """One group on topics of its own. store: with a bundle that is served. folder: for the workers' logs."""

    def __init__(self, broker: KafkaBroker, store: Path, folder: Path, name: str) -> None:
        self.broker, self._store, self._folder, self.name = broker, store, folder, name
        self.group = f"group-{name}"
        self.topics = {
            what: broker.topic(f"{name}-{what}", PARTITIONS) for what in ("events", "verdicts", "alerts", "dead_letters")
        }
        self.topics["state"] = broker.topic(
            f"{name}-state", PARTITIONS, cleanup_policy="compact", segment_ms="3000", min_cleanable_dirty_ratio="0.01"
        )
        self.sent: dict[Place, SentEvent] = {}
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._began: dict[str, int] = {}
        self._committed = 0

    def send(self, events: Sequence[SentEvent]) -> None:
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self.broker.address, "enable.idempotence": True, "linger.ms": 50, "log_level": 2}
        )
        ends: Counter[int] = Counter(partition for partition, _ in self.sent)
        for event in events:
            while True:
                try:
                    producer.produce(self.topics["events"], event.value, event.key, event.partition)
                    break
                except BufferError:
                    producer.poll(0.1)
            self.sent[event.partition, ends[event.partition]] = event
            ends[event.partition] += 1
        assert producer.flush(120) == 0

    def start(self, name: str) -> None:
        """A worker process, under the name that it keeps over restarts."""
        environment = {
            **os.environ,
            "VEDETTE_STORE_DIR": str(self._store),
            "VEDETTE_STREAM_SERVERS": self.broker.address,
            "VEDETTE_STREAM_GROUP": self.group,
            "VEDETTE_STREAM_INSTANCE": f"{self.name}-{name}",
            "VEDETTE_STREAM_BATCH_EVENTS": "500",
            "VEDETTE_STREAM_COMMIT_MS": "50",
            "VEDETTE_STREAM_SNAPSHOT_S": str(SNAPSHOT_S),
            **{f"VEDETTE_STREAM_{what.upper()}": topic for what, topic in self.topics.items()},
        }
        self._began[name] = self.log(name).stat().st_size if self.log(name).exists() else 0
        with self.log(name).open("ab") as out:
            self.workers[name] = subprocess.Popen(
                [sys.executable, "-m", "serving.launch.stream"], env=environment, cwd=self._folder, stdout=out, stderr=out
            )

    def log(self, name: str) -> Path:
        return self._folder / f"{self.name}-{name}.log"

    def kill(self, name: str) -> None:
        worker = self.workers.pop(name)
        worker.kill()
        worker.wait(60)

    def stop(self, name: str) -> None:
        worker = self.workers.pop(name)
        said = self.log(name).read_bytes()[self._began[name] :]
        worker.send_signal(signal.SIGTERM)
        expected = {0} if b"metrics and readiness" in said else {0, -signal.SIGTERM}  # it had not yet begun
        assert worker.wait(120) in expected, self.log(name).read_text(encoding="utf-8")[-2000:]

    def until_working(self, name: str) -> None:
        """Until it has restored the state of a partition that it was given."""
        until(lambda: "records of state read" in self.log(name).read_text(encoding="utf-8"), self._tails)

    def until_committed(self, count: int) -> None:
        """Until so many events are dealt with. Workers that end meanwhile fail the test."""
        until(lambda: self.committed() >= count, lambda: f"{self._committed} of {count} events are committed\n{self._tails()}")

    def committed(self) -> int:
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        for name, worker in self.workers.items():
            assert worker.poll() is None, f"worker {name} ended with {worker.returncode}\n{self._tails()}"
        watcher = Consumer({
            "bootstrap.servers": self.broker.address, "group.id": self.group, "isolation.level": "read_uncommitted", "log_level": 0,
        })  # fmt: skip
        try:
            places = [TopicPartition(self.topics["events"], number) for number in range(PARTITIONS)]
            self._committed = sum(max(0, place.offset) for place in watcher.committed(places, 2))
        except KafkaException:
            pass  # the broker is down
        finally:
            watcher.close()
        return self._committed

    def finish(self) -> None:
        """Until everything is dealt with, and the workers have ended."""
        self.until_committed(len(self.sent))
        for name in list(self.workers):
            self.stop(name)

    def end(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.wait(60)

    def _tails(self) -> str:
        logs = self._folder.glob(f"{self.name}-*.log")
        return "\n".join(f"{log.name}:\n{log.read_text(encoding='utf-8', errors='replace')[-1500:]}" for log in logs)


@dataclass(frozen=True)
class RunResults:
    """What somebody downstream reads, committed records only. verdicts: by event, as often as it is there."""

    verdicts: Mapping[Place, Sequence[VerdictMessage]]
    alerts: Mapping[Place, Sequence[AlertMessage]]
    dead: Mapping[Place, Sequence[str]]
    state: Mapping[int, str]
    """Digest of the windows of each partition, as a worker would restore them now."""
    restored_records: int

    def doubled(self) -> int:
        return sum(len(found) - 1 for kind in (self.verdicts, self.alerts, self.dead) for found in kind.values())


def results_of(run: StreamRun) -> RunResults:
    verdicts = _by_event(run, "verdicts", lambda message: msgspec.json.decode(message.value(), type=VerdictMessage))
    alerts = _by_event(run, "alerts", lambda message: msgspec.json.decode(message.value(), type=AlertMessage))
    dead = _by_event(run, "dead_letters", lambda message: dict(message.headers())[REASON_HEADER].decode())
    state, records = _state_of(run)
    return RunResults(verdicts, alerts, dead, state, records)


def essence(verdict: VerdictMessage) -> tuple[Any, ...]:
    """What must not depend on how often a worker was killed: all but when and under which receipt it was answered."""
    return (
        tuple(sorted(verdict.entity.items())), verdict.verdict, verdict.score, verdict.probability, verdict.source,
        verdict.event_time, verdict.late, verdict.sketched, verdict.degraded, verdict.rules, verdict.operating_point,
    )  # fmt: skip


def _by_event(run: StreamRun, what: str, read: Callable[[Any], Any]) -> dict[Place, list[Any]]:
    found: dict[Place, list[Any]] = {}
    for message in _committed_records(run.broker, run.topics[what]):
        topic, number, offset = dict(message.headers())[ID_HEADER].decode().rsplit("/", 2)
        assert topic == run.topics["events"]
        found.setdefault((int(number), int(offset)), []).append(read(message))
    return found


def _committed_records(broker: KafkaBroker, topic: str) -> Iterator[Any]:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": broker.address, "group.id": "downstream", "isolation.level": "read_committed", "log_level": 2,
        "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    until(lambda: all_ended(broker.address, topic), f"transactions on {topic} end")
    ended = set[int]()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(10_000, 0.2):
            if message.error() is None:
                yield message
            else:
                ended.add(message.partition())
    consumer.close()


def _state_of(run: StreamRun) -> tuple[dict[int, str], int]:
    settings, counts = StreamSettings(group=run.group), StreamCounts()
    spec = window_spec_of(BundleStore(run._store).resolve("flows").manifest)
    assert spec is not None, "the bundle of the detector says how its windows are counted"
    windows = WindowKind(spec, bound=settings.distinct_values, lateness_s=settings.lateness_s)
    owner = PartitionOwner([windows], KafkaStateLog(KafkaCluster(run.broker.address), run.topics["state"]), settings, counts)
    places = [Partition(run.topics["events"], number) for number in range(PARTITIONS)]
    for place in places:
        owner.adopt(place, None)
    digests = {
        place.number: "+".join(state.digest() for state in owner.owned[place].states.values())  # type: ignore[attr-defined]
        for place in places
    }
    return digests, counts.restored_records


def evenly(total: int, count: int) -> list[int]:
    """So many moments between the beginning and the end, in events."""
    return [total * (number + 1) // (count + 1) for number in range(count)]


def merged(*moments: tuple[Sequence[int], Callable[[int], None]]) -> list[tuple[int, Callable[[], None]]]:
    """Acts at moments, in order; each gets its own number."""
    acts = [
        (at, order, (lambda act=act, number=number: act(number)))
        for order, (times, act) in enumerate(moments)
        for number, at in enumerate(times)
    ]
    return [(at, act) for at, _, act in sorted(acts, key=lambda one: one[:2])]


def repeated(names: Sequence[str]) -> Iterator[str]:
    return itertools.cycle(names)
