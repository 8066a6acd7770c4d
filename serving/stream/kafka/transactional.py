"""Exactly once: results and positions in one Kafka transaction. What readers of committed records see, they see once."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from serving.stream.kafka.cluster import OWNERSHIP, KafkaCluster, ToldOnce, kafka_error, log
from serving.stream.kafka.producing import new_producer, put
from serving.stream.kafka.source import KafkaSource, offsets_of
from serving.stream.ports import Fenced, OutRecord, Partition, Position, RecordTooLarge, StreamError

TRIES: Final = 5
"""Of one transaction: after an error that ends it, its records are written again in another one."""
PAUSE_S: Final = 0.2
GRACE_S: Final = 5.0
"""Past its own time limit no transaction is waited for longer: the broker has ended it."""
ABORT_S: Final = 5.0
OPENING_S: Final = 60.0
"""How long a broker is waited for that is away while a worker starts."""
BACKOFF_MS: Final = 5
"""The broker refuses a transaction for some milliseconds after the one before. librdkafka's own pause of 100 ms
would be most of a commit."""
_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class TransactionalOutputs:
    """Port StreamOutputs, transactional.

    transactional_id: this worker's own, and the same after a restart: the successor of a killed worker ends its transaction at once.
    source: whose positions are committed. transaction_s: after which the broker ends a transaction by itself; a broker that is away for
    less is waited for.

    A transaction begins with the first record, so an idle worker holds none open. Opening fences every earlier holder of the id."""

    def __init__(
        self,
        cluster: KafkaCluster,
        transactional_id: str,
        source: KafkaSource,
        *,
        transaction_s: float = 15.0,
    ) -> None:
        self._cluster, self._id, self._source = cluster, transactional_id, source
        self._transaction_s, self._patience_s = transaction_s, transaction_s + GRACE_S
        self._told = ToldOnce(cluster)
        self._sent: list[OutRecord] = []
        self._is_open = False
        self._producer: Producer | None = self._new_producer()

    def send(self, records: Sequence[OutRecord]) -> None:
        """See the port."""
        if not records:
            return
        self._sent.extend(records)
        try:
            self._put(records)
        except KafkaException as problem:
            if not kafka_error(problem).txn_requires_abort():
                raise self._error(problem, "write") from problem  # `commit` writes them again otherwise

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """See the port. Records of a transaction that failed before its end was asked for are written again in another one, at most
        TRIES times. Once the end was asked for the broker may have committed it, whatever the client is told: the worker reads anew."""
        if not positions and not self._sent:
            return
        until = time.monotonic() + self._patience_s
        try:
            self._prepare(positions, until)
            self._patiently(self._begun().commit_transaction, until)
        except KafkaException as problem:
            raise self._error(problem, "commit") from problem
        self._is_open = False
        self._sent.clear()
        self._told.works()

    def abort(self) -> None:
        """See the port."""
        self._sent.clear()
        self._end_transaction()

    def close(self) -> None:
        """See the port."""
        self.abort()
        self._producer = None

    def _prepare(self, positions: Mapping[Partition, Position], until: float) -> None:
        """Puts the positions into the transaction, a new one if need be. Raises KafkaException, StreamError."""
        for left in reversed(range(TRIES)):
            producer = self._begun()
            try:
                if positions:
                    offsets, member = offsets_of(positions), self._source.group_metadata()
                    self._patiently(partial(producer.send_offsets_to_transaction, offsets, member), until)
                return
            except KafkaException as problem:
                error = kafka_error(problem)
                helps = error.txn_requires_abort() and error.code() != KafkaError.MSG_SIZE_TOO_LARGE
                if not helps or not left or time.monotonic() > until:
                    raise
                self._told(error)
                self._end_transaction()
                time.sleep(PAUSE_S)
                self._put(self._sent)

    def _patiently(self, act: Callable[[float], None], until: float) -> None:
        """A call that failed in passing is called again: it goes on where it was. Raises KafkaException."""
        while True:
            try:
                return act(max(0.1, until - time.monotonic()))
            except KafkaException as problem:
                error = kafka_error(problem)
                if not error.retriable() or time.monotonic() > until:
                    raise
                self._told(error)
                time.sleep(PAUSE_S)

    def _put(self, records: Sequence[OutRecord]) -> None:
        put(self._cluster, self._begun(), records)

    def _begun(self) -> Producer:
        if self._producer is None:
            self._producer = self._new_producer()
        if not self._is_open:
            self._producer.begin_transaction()
            self._is_open = True
        return self._producer

    def _end_transaction(self) -> None:
        """Aborts it; a producer that cannot is given up."""
        producer, was_open, self._is_open = self._producer, self._is_open, False
        if producer is None or not was_open:
            return
        try:
            self._patiently(producer.abort_transaction, time.monotonic() + ABORT_S)
        except KafkaException as problem:
            self._producer = None  # the next one ends it: it has the same id
            log.info("%s", self._error(problem, "abort"))

    def _new_producer(self) -> Producer:
        timeouts = {
            "transactional.id": self._id,
            "transaction.timeout.ms": int(self._transaction_s * 1000),
            "retry.backoff.ms": BACKOFF_MS,
        }
        producer = new_producer(self._cluster, self._told, timeouts)
        try:
            self._patiently(producer.init_transactions, time.monotonic() + OPENING_S)
        except KafkaException as problem:
            raise self._error(problem, f"take the transactional id {self._id}") from problem
        return producer

    def _error(self, problem: KafkaException, doing: str) -> StreamError:
        error = kafka_error(problem)
        if error.fatal():
            self._producer, self._is_open = None, False
        kind: type[StreamError] = StreamError
        if error.code() in _FENCED or error.code() in OWNERSHIP:
            kind = Fenced
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            kind = RecordTooLarge
        return self._cluster.error(problem, f"{doing}, transactional id {self._id}", kind)
