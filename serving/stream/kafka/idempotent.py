"""Low latency: results are delivered, then positions recorded. A worker that dies in between leaves results that come once more."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from serving.stream.kafka.cluster import OWNERSHIP, KafkaCluster, ToldOnce, kafka_error, words
from serving.stream.kafka.producing import new_producer, put
from serving.stream.kafka.source import KafkaSource
from serving.stream.ports import Fenced, OutRecord, Partition, Position, StreamError

PAUSE_S: Final = 0.1
STOPPING_S: Final = 1.0
"""How long the broker is still waited for once the process is told to stop."""


class IdempotentOutputs:
    """Port StreamOutputs, at least once. The broker drops what the producer itself sends twice. patience_s: of one `commit`; once
    `is_stopping`, STOPPING_S: what is not recorded by then is read again."""

    def __init__(
        self,
        cluster: KafkaCluster,
        source: KafkaSource,
        *,
        patience_s: float = 120.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._cluster, self._source, self._patience_s = cluster, source, patience_s
        self._is_stopping = is_stopping
        self._told = ToldOnce(cluster)
        self._failures: list[str] = []
        self._producer: Producer | None = self._new_producer()

    def send(self, records: Sequence[OutRecord]) -> None:
        """See the port."""
        if self._producer is None:
            self._producer = self._new_producer()
        try:
            put(self._cluster, self._producer, records)
        except KafkaException as problem:
            raise self._cluster.error(problem, "write") from problem

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """See the port."""
        if self._producer is not None:
            left = self._flushed(self._producer)
            if left or self._failures:
                why = (
                    self._failures[0]
                    if self._failures
                    else f"{left} records were not delivered within {self._patience_s:.0f} s, or before it was stopped"
                )
                raise StreamError(f"kafka://{self._cluster.servers}: write: {why}")
        if positions:
            self._record(positions)
        self._told.works()

    def abort(self) -> None:
        """See the port. What was delivered already stays; it comes again with the same id."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)
        self._failures.clear()

    def close(self) -> None:
        """See the port."""
        self.abort()

    def _flushed(self, producer: Producer) -> int:
        """Wait for what was sent; how many records are left. In short waits: a signal is heard between them only."""
        patience = self._patience()
        while left := producer.flush(PAUSE_S):
            if patience():
                break
        return left

    def _patience(self) -> Callable[[], bool]:
        """Whether it is over: after patience_s, or STOPPING_S after the first time that it is asked while stopping."""
        until = time.monotonic() + self._patience_s
        is_stopping = False

        def is_over() -> bool:
            nonlocal until, is_stopping
            if self._is_stopping() and not is_stopping:
                is_stopping, until = True, min(until, time.monotonic() + STOPPING_S)
            return time.monotonic() > until

        return is_over

    def _record(self, positions: Mapping[Partition, Position]) -> None:
        is_over = self._patience()
        while True:
            try:
                return self._source.commit_offsets(positions)
            except KafkaException as problem:
                error = kafka_error(problem)
                if error.code() in OWNERSHIP:
                    raise self._cluster.error(problem, "commit", Fenced) from problem
                passes = error.retriable() or error.code() in {
                    KafkaError._WAIT_COORD,
                    KafkaError._TIMED_OUT,
                    KafkaError._TRANSPORT,
                }
                if not passes or is_over():
                    raise self._cluster.error(problem, "commit") from problem
                self._told(error)
                time.sleep(PAUSE_S)

    def _new_producer(self) -> Producer:
        producer_of_its_own = {"on_delivery": self._delivered, "message.timeout.ms": int(self._patience_s * 1000)}
        return new_producer(self._cluster, self._told, producer_of_its_own)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and len(self._failures) < 10:
            self._failures.append(words(error))
