"""Exactly once: results and positions in one Kafka transaction. What readers of committed records see, they see once."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from serving.stream.kafka.cluster import OWNERSHIP, KafkaCluster, ToldOnce, kafka_error
from serving.stream.kafka.producing import new_producer, put
from serving.stream.kafka.source import KafkaSource, offsets_of
from serving.stream.ports import Fenced, OutRecord, Partition, Position, RecordTooLarge, StreamError

TRIES: Final = 5
"""Of one transaction: after an error that ends it, its records are written again in another one."""
PAUSE_S: Final = 0.2
_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class TransactionalOutputs:
    """Port StreamOutputs, transactional.

    transactional_id: this worker's own, and the same after a restart: the successor of a killed worker ends its transaction at once.
    source: whose positions are committed. transaction_s: after which the broker ends a transaction by itself; a pause of a broker that
    is shorter is waited out. patience_s: of one call.

    A transaction begins with the first record, so an idle worker holds none open. Opening fences every earlier holder of the id."""

    def __init__(
        self,
        cluster: KafkaCluster,
        transactional_id: str,
        source: KafkaSource,
        *,
        transaction_s: float = 60.0,
        patience_s: float = 120.0,
    ) -> None:
        self._cluster, self._id, self._source = cluster, transactional_id, source
        self._transaction_s, self._patience_s = transaction_s, patience_s
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
        """See the port. Records of a transaction that the broker ended are written again in another one, at most TRIES times."""
        if not positions and not self._sent:
            return
        until = time.monotonic() + self._patience_s
        for left in reversed(range(TRIES)):
            try:
                self._try_to_commit(positions, until)
            except KafkaException as problem:
                error = kafka_error(problem)
                helps = error.txn_requires_abort() and error.code() != KafkaError.MSG_SIZE_TOO_LARGE
                if not helps or not left or time.monotonic() > until:
                    raise self._error(problem, "commit") from problem
                self._told(error)
                self._end_transaction()
                time.sleep(PAUSE_S)
                self._rewrite()
            else:
                self._sent.clear()
                self._told.over()
                return

    def abort(self) -> None:
        """See the port."""
        self._sent.clear()
        try:
            self._end_transaction()
        except StreamError:
            self._producer = None  # the next one ends it: it has the same id

    def close(self) -> None:
        """See the port."""
        self.abort()
        self._producer = None

    def _try_to_commit(self, positions: Mapping[Partition, Position], until: float) -> None:
        producer = self._begun()
        if positions:
            offsets, member = offsets_of(positions), self._source.group_metadata()
            self._patiently(lambda left: producer.send_offsets_to_transaction(offsets, member, left), until)
        self._patiently(producer.commit_transaction, until)
        self._is_open = False

    def _patiently(self, act: Callable[[float], None], until: float) -> None:
        """A call that failed in passing is called again: it goes on where it was. Raises KafkaException."""
        while True:
            try:
                return act(max(1.0, until - time.monotonic()))
            except KafkaException as problem:
                error = kafka_error(problem)
                if not error.retriable() or time.monotonic() > until:
                    raise
                self._told(error)
                time.sleep(PAUSE_S)

    def _put(self, records: Sequence[OutRecord]) -> None:
        put(self._cluster, self._begun(), records)

    def _rewrite(self) -> None:
        try:
            self._put(self._sent)
        except KafkaException as problem:
            raise self._error(problem, "write again") from problem

    def _begun(self) -> Producer:
        if self._producer is None:
            self._producer = self._new_producer()
        if not self._is_open:
            self._producer.begin_transaction()
            self._is_open = True
        return self._producer

    def _end_transaction(self) -> None:
        """Aborts it; a producer that cannot is given up. Raises StreamError."""
        producer, was_open, self._is_open = self._producer, self._is_open, False
        if producer is None or not was_open:
            return
        try:
            self._patiently(producer.abort_transaction, time.monotonic() + self._patience_s)
        except KafkaException as problem:
            self._producer = None
            if not kafka_error(problem).fatal():
                raise self._error(problem, "abort") from problem

    def _new_producer(self) -> Producer:
        timeouts = {"transactional.id": self._id, "transaction.timeout.ms": int(self._transaction_s * 1000)}
        producer = new_producer(self._cluster, self._told, timeouts)
        try:
            self._patiently(producer.init_transactions, time.monotonic() + self._patience_s)
        except KafkaException as problem:
            raise self._error(problem, f"take the transactional id {self._id}") from problem
        return producer

    def _error(self, problem: KafkaException, doing: str) -> StreamError:
        error = kafka_error(problem)
        kind: type[StreamError] = StreamError
        if error.code() in _FENCED or error.code() in OWNERSHIP:
            kind = Fenced
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            kind = RecordTooLarge
        return self._cluster.error(problem, f"{doing}, transactional id {self._id}", kind)
