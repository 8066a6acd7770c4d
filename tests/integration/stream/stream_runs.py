"""Stream workers on a real broker: in threads of the test, or as processes that can be killed; and what is read downstream."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from serving.stream.contract import VerdictMessage
from serving.stream.kafka.cluster import ToldOnce, open_cluster
from serving.stream.kafka.producing import new_producer, put
from serving.stream.kafka.state_log import KafkaStateLog
from serving.stream.kafka.topics import KafkaTopics, TopicPlan
from serving.stream.ports import OutRecord
from serving.stream.settings import StreamSettings
from serving.stream.windows.encoding import digest
from tests.waiting import until

_TOPICS = ("events", "verdicts", "alerts", "dead_letters", "state", "investigate")


class StreamRun:
    """Topics and a group of one test. settings: of its workers."""

    def __init__(self, address: str, partitions: int = 3, **settings: Any) -> None:
        name = uuid.uuid4().hex[:8]
        topics = {what: f"run-{name}-{what}" for what in _TOPICS}
        self.partitions = partitions
        self.settings = StreamSettings(servers=address, group=f"run-{name}", http_port=0, **{**topics, **settings})
        self.cluster = open_cluster(address, {"log_level": "2", **self.settings.options}, self.settings.option_files)
        compacted = {"cleanup.policy": "compact"}
        plans = [TopicPlan(t, partitions, 1, compacted if what == "state" else {}) for what, t in topics.items()]
        KafkaTopics(self.cluster).create(plans)
        self._producer = new_producer(self.cluster, ToldOnce(self.cluster), {})

    def produce(self, values: Sequence[tuple[str, bytes]]) -> None:
        """Keys and values."""
        put(self.cluster, self._producer, [OutRecord(self.settings.events, value, key.encode()) for key, value in values])
        assert self._producer.flush(120) == 0

    def values(self, topic: str) -> list[bytes]:
        """All committed values of a topic."""
        log = KafkaStateLog(self.cluster, topic)
        return [value or b"" for number in range(self.partitions) for _, value in log.read(number)]

    def verdicts(self) -> list[VerdictMessage]:
        return [msgspec.json.decode(value, type=VerdictMessage) for value in self.values(self.settings.verdicts)]

    def written(self) -> int:
        """About how many verdicts there are; none while the broker cannot say."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        consumer = Consumer(self.cluster.properties({}, {"group.id": "looking"}))
        try:
            places = [TopicPartition(self.settings.verdicts, number) for number in range(self.partitions)]
            return sum(consumer.get_watermark_offsets(place, timeout=60)[1] for place in places)
        except KafkaException:
            return 0
        finally:
            consumer.close()

    def environment(self, store: Path, name: str) -> Mapping[str, str]:
        """Of a worker's process."""
        fields = self.settings.model_dump(exclude={"options", "option_files"}, exclude_defaults=True)
        own = {f"VEDETTE_STREAM_{field.upper()}": str(value) for field, value in fields.items()}
        return {
            **os.environ, **own, "VEDETTE_STREAM_INSTANCE": name, "VEDETTE_STORE_DIR": str(store), "VEDETTE_AUDIT": "off",
            "VEDETTE_HTTP_PORT": "0", "VEDETTE_GRPC_PORT": "0", "VEDETTE_LOG_LEVEL": "warning",
        }  # fmt: skip

    def process(self, store: Path, name: str, log: Path) -> "subprocess.Popen[bytes]":
        """A worker as a process. name: of its instance; a successor of the same name goes on at once."""
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "serving.launch.stream"], env=self.environment(store, name), stdout=out, stderr=out
            )

    def window_digests(self, spec: Any) -> list[str]:
        """The states of windows in the changelog, by partition."""
        from serving.stream.partitions.changelog import read_changelog
        from serving.stream.ports import Partition
        from serving.stream.windows.kind import WindowKind

        found = []
        for number in range(self.partitions):
            place = Partition(self.settings.events, number)
            kind = WindowKind(spec, bound=self.settings.distinct_values, lateness_s=self.settings.lateness_s)
            state, log = kind.open(place), read_changelog(place, KafkaStateLog(self.cluster, self.settings.state).read(number))
            for _, part in log.parts:
                state.restore(part)
            for _, delta in log.deltas:
                state.apply(delta)
            found.append(digest(state.engine))
        return found


@contextmanager
def working(process: Any) -> Any:
    """A StreamProcess in a thread, stopped at the end. It yields when the doors are open, with the HTTP port."""
    ports: list[int] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            process.run(ports.append)
        except BaseException as problem:
            failure.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: ports or failure)
    try:
        assert not failure, failure
        yield ports[0]
    finally:
        process._stopping.set()
        thread.join(120)
