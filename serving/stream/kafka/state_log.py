"""Reads a changelog: one partition of a compacted topic, from its beginning to its end, committed records only."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from serving.stream.kafka.cluster import KafkaCluster, ToldOnce, is_passing, log
from serving.stream.ports import StreamError

PATIENCE_S: Final = 60.0
"""How long the broker may say nothing."""
TOGETHER: Final = 10_000
_WAIT_S: Final = 0.05


class KafkaStateLog:
    """Port StateLog. Each read has a consumer of its own, in no group."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        self._cluster, self.topic = cluster, topic

    def read(self, number: int, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[bytes, bytes | None]]:
        """See the port.

        It ends at the last stable offset: what lies behind belongs to open transactions. The group's committed positions were read before,
        and Kafka shows those only when no transaction that holds positions is open; so what is open now can no longer be committed."""
        fixed = {
            "group.id": f"{self.topic}-readers",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "max.poll.interval.ms": 86_400_000,  # it is in no group
            "fetch.wait.max.ms": 20,  # the end is known when a fetch comes back empty
            "error_cb": ToldOnce(self._cluster),
        }
        doing = f"read {self.topic}/{number}"
        try:
            consumer = Consumer(self._cluster.properties({}, fixed), logger=log)
            try:
                place = TopicPartition(self.topic, number, OFFSET_BEGINNING)
                end = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)[1]
                consumer.assign([place])
                yield from self._read(consumer, doing, end, progress)
            finally:
                consumer.close()
        except KafkaException as problem:
            raise self._cluster.error(problem, doing) from problem

    def _read(
        self, consumer: Consumer, doing: str, end: int, progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[bytes, bytes | None]]:
        heard = time.monotonic()
        while True:
            found = consumer.consume(TOGETHER, _WAIT_S)
            if not found and time.monotonic() - heard > PATIENCE_S:
                raise StreamError(
                    f"kafka://{self._cluster.servers}: {doing}: no answer within {PATIENCE_S:.0f} s; check the broker"
                )
            for message in found:
                error = message.error()
                if error is None:
                    heard = time.monotonic()
                    yield message.key() or b"", message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    if progress is not None:
                        progress(message.offset() or 0, max(end, message.offset() or 0))
                    return
                elif not is_passing(error):
                    raise KafkaException(error)
            if progress is not None and found:
                progress((found[-1].offset() or 0) + 1, end)
