"""How brokers are reached, and what their errors mean: properties of librdkafka, passing errors, the way out of the others."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from serving.files.option_files import OptionFileError, with_option_files
from serving.stream.ports import StreamError

log = logging.getLogger("vedette.stream")

AGAIN_S: Final = 60.0
QUIET_S: Final = 5.0
"""An error that was not heard for so long, while calls succeed, is over. librdkafka tries again each second."""
OURS: Final = frozenset(
    {
        "bootstrap.servers",
        "group.id",
        "group.protocol",
        "group.instance.id",
        "transactional.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "isolation.level",
        "auto.offset.reset",
        "partitioner",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "acks",
    }
)
"""Properties that the guarantees rest on; options may not name them."""

PASSING: Final = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""Errors after which librdkafka goes on by itself."""

REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})
"""The broker or the client refuses the other one: the password or the certificate is wrong. librdkafka goes on trying all the same."""

OWNERSHIP: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""The group has moved on since this member last heard of it."""

_FENCED_BY: Final = (
    "another worker has the same transactional id, so give each worker one of its own; "
    "or the transaction took longer than its time limit"
)
_UNREACHED: Final = (
    "check that the broker runs, that its address is right, and that security.protocol in the Kafka options is that of this listener "
    "(PLAINTEXT unless it is set): a broker hangs up on another one without a word"
)
_WAYS_OUT: Final[Mapping[int, str]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this client READ or WRITE, and DESCRIBE, on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this client READ on the consumer group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "grant this client WRITE and DESCRIBE on its transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant this client IDEMPOTENT_WRITE on the cluster",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.mechanism, the user name and the password or token in the Kafka options",
    KafkaError._AUTHENTICATION: "check sasl.mechanism, the user name and the password or token in the Kafka options",
    KafkaError._SSL: "check security.protocol and ssl.ca.location in the Kafka options",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create the topic, or check its name",
    KafkaError._UNKNOWN_TOPIC: "create the topic, or check its name",
    KafkaError._UNKNOWN_PARTITION: "the topic has fewer partitions than its input: create it with as many",
    KafkaError.MSG_SIZE_TOO_LARGE: "raise max.message.bytes of the topic and message.max.bytes in the Kafka options",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: "the broker's transaction.max.timeout.ms is smaller than the transaction timeout",
    KafkaError.INVALID_SESSION_TIMEOUT: "the broker's group.min.session.timeout.ms is larger than the session timeout",
    KafkaError.FENCED_INSTANCE_ID: "another worker has the same instance id; give each worker one of its own",
    KafkaError._FATAL: "if it says `fenced`, another worker has the same instance id; give each worker one of its own",
    KafkaError._FENCED: _FENCED_BY,
    KafkaError.PRODUCER_FENCED: _FENCED_BY,
    KafkaError.UNSUPPORTED_VERSION: "the broker is too old for this; with the group protocol `classic` 2.5 or newer will do",
    KafkaError._UNSUPPORTED_FEATURE: "the broker is too old for this; with the group protocol `classic` 2.5 or newer will do",
    KafkaError._TRANSPORT: _UNREACHED,
    KafkaError._ALL_BROKERS_DOWN: _UNREACHED,
    KafkaError._TIMED_OUT: "check that the broker runs and is not overloaded",
    KafkaError._MAX_POLL_EXCEEDED: "raise max.poll.interval.ms in the Kafka options, or make batches smaller",
}


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """The brokers. servers: `HOST:PORT[,HOST:PORT]`. options: properties of librdkafka, e.g. `security.protocol`,
    `sasl.password`; they may be secret, so they are neither logged nor shown. Raises StreamError if an option is not the user's."""

    servers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    client_id: str = "vedette"

    def __post_init__(self) -> None:
        if taken := sorted(OURS & self.options.keys()):
            raise StreamError(
                f"Kafka option {', '.join(taken)}: the guarantees of a stream rest on it, so it cannot be set here; "
                "leave it out, and see the settings of streams for what can be chosen"
            )

    def properties(self, defaults: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """Properties of one client: `defaults` may be changed by options, `fixed` may not."""
        common = {
            "log.connection.close": False,
            "log_level": 2,  # errors come by error_cb, each once; the log of librdkafka has one for each try
            "reconnect.backoff.max.ms": 1000,
            "client.id": self.client_id,
        }
        return {**common, **defaults, **self.options, **fixed, "bootstrap.servers": self.servers}

    def error(self, problem: Exception, doing: str, kind: type[StreamError] = StreamError) -> StreamError:
        """What happened, where, and the way out."""
        return kind(f"kafka://{self.servers}: {doing}: {words(problem)}")


def open_cluster(servers: str, options: Mapping[str, str], option_files: Mapping[str, Path]) -> KafkaCluster:
    """The brokers, with the secret options that are in files. Raises StreamError."""
    try:
        return KafkaCluster(servers, with_option_files(options, option_files))
    except OptionFileError as problem:
        raise StreamError(str(problem)) from problem


def words(problem: Exception | KafkaError) -> str:
    """An error of librdkafka for people, with the way out where one is known."""
    if isinstance(problem, KafkaException) and isinstance(problem.args[0], KafkaError):
        problem = problem.args[0]
    if not isinstance(problem, KafkaError):
        return str(problem)
    way_out = _WAYS_OUT.get(problem.code())
    return f"{problem.str()} ({problem.name()})" + (f"; {way_out}" if way_out else "")


def kafka_error(problem: KafkaException) -> KafkaError:
    """The error within; one of unknown kind if there is none."""
    found = problem.args[0] if problem.args else None
    return found if isinstance(found, KafkaError) else KafkaError(KafkaError._FAIL, str(problem))


def is_passing(error: KafkaError) -> bool:
    """Whether librdkafka goes on by itself."""
    return not error.fatal() and (error.retriable() or error.code() in PASSING)


class ToldOnce:
    """Logs a passing error when it begins, each minute that it lasts, and when it is over. Errors are told apart by their code."""

    def __init__(self, cluster: KafkaCluster, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._where, self._clock_s = f"kafka://{cluster.servers}", clock_s
        self._told_s: dict[int, float] = {}
        self._heard_s = 0.0
        self.refusal: KafkaError | None = None
        """The last error of REFUSED; trying again helps only after somebody has changed something."""

    def __call__(self, error: KafkaError) -> None:
        """Also librdkafka's error_cb."""
        if error.code() in REFUSED:
            self.refusal = error
        now_s = self._heard_s = self._clock_s()
        if now_s - self._told_s.get(error.code(), -AGAIN_S) >= AGAIN_S:
            self._told_s[error.code()] = now_s
            log.warning("%s: %s; the client goes on trying", self._where, words(error))

    def works(self) -> None:
        """A call succeeded. With several brokers one may be away all the same, so the error is over if it was not heard for a while."""
        if self._told_s and self._clock_s() - self._heard_s >= QUIET_S:
            self.over()

    def over(self) -> None:
        """It works again: the next error is logged."""
        self.refusal = None
        if self._told_s:
            log.info("%s: it works again", self._where)
        self._told_s.clear()
