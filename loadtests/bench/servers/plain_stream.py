"""What a stream worker is compared with: the same client reads a topic and writes each value into another one, and does nothing else.

    python -m loadtests.bench.servers.plain_stream SERVERS FROM TO GROUP exactly_once|low_latency

Transactions, offsets, batches and commits are those of the worker's defaults."""

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from threading import Event

from serving.stream.contract import ID_HEADER
from serving.stream.kafka.cluster import KafkaCluster
from serving.stream.kafka.idempotent import IdempotentOutputs
from serving.stream.kafka.source import KafkaSource
from serving.stream.kafka.transactional import TransactionalOutputs
from serving.stream.ports import OutRecord, Partition, Position, StreamOutputs
from serving.stream.settings import StreamSettings


class _Owner:
    def assigned(self, partitions: Mapping[Partition, Position | None]) -> Mapping[Partition, int | None]:
        """See Ownership."""
        return dict.fromkeys(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """See Ownership."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """See Ownership."""

    def renewed(self, partition: Partition, offset: int) -> None:
        """See Ownership."""


def main(servers: str, topic: str, to: str, group: str, mode: str) -> None:
    """Copy until SIGTERM."""
    stopping, settings = Event(), StreamSettings()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    cluster = KafkaCluster(servers)
    source = KafkaSource(cluster, [topic], group, _Owner())
    is_exact = mode == "exactly_once"
    outputs: StreamOutputs = TransactionalOutputs(cluster, group, source) if is_exact else IdempotentOutputs(cluster, source)
    every_s = settings.commit_ms / 1000 if is_exact else 0.0
    positions: dict[Partition, Position] = {}
    committed_s = time.monotonic()
    while not stopping.is_set():
        records = source.poll(settings.batch_events, settings.linger_ms / 1000)
        outputs.send([OutRecord(to, r.value, r.key, ((ID_HEADER, r.id.encode()),)) for r in records])
        for record in records:
            positions[record.partition] = Position(record.offset + 1, "copied")
        if positions and time.monotonic() - committed_s >= every_s:
            outputs.commit(positions)
            positions, committed_s = {}, time.monotonic()
    outputs.close()
    source.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
