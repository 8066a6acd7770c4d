"""Which protocol a consumer group speaks: KIP-848 (`consumer`) where the broker has it, else the classic one, cooperatively."""

import time
from collections.abc import Callable
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource  # type: ignore[attr-defined]

from serving.stream.kafka.cluster import KafkaCluster, kafka_error, log, words

GroupProtocol = Literal["auto", "consumer", "classic"]
CHOOSING_S: Final = 10.0
"""How long the broker is asked for its protocols."""
_ASK_S: Final = 0.5
_PROTOCOLS: Final = "group.coordinator.rebalance.protocols"


def chosen_protocol(
    cluster: KafkaCluster, wish: GroupProtocol, instance_id: str | None, is_stopping: Callable[[], bool] = lambda: False
) -> Literal["consumer", "classic"]:
    """`auto` takes KIP-848 if a broker says that it has it, and the worker has no instance id.

    With an instance id the classic protocol hands the place of a killed worker to its successor at once; under KIP-848 the
    successor waits until the broker's session timeout is over (45 s by default). A broker that is away is asked no longer once
    `is_stopping`: a signal is heard only between two questions."""
    if wish != "auto":
        return wish
    if instance_id is not None:
        return "classic"
    return "consumer" if _broker_has_it(cluster, is_stopping) else "classic"


def group_properties(protocol: Literal["consumer", "classic"], session_timeout_s: float) -> dict[str, Any]:
    """Properties of the consumer. Under KIP-848 session and heartbeat are the broker's settings."""
    if protocol == "consumer":
        return {"group.protocol": "consumer"}
    return {
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(session_timeout_s * 1000),
        "heartbeat.interval.ms": min(3000, int(session_timeout_s * 1000 / 3)),
    }


def _broker_has_it(cluster: KafkaCluster, is_stopping: Callable[[], bool]) -> bool:
    try:
        admin = AdminClient(cluster.properties({}, {}))
        broker = next(iter(_metadata(admin, is_stopping).brokers))
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        (found,) = admin.describe_configs([resource], request_timeout=CHOOSING_S).values()
        entry = found.result(CHOOSING_S).get(_PROTOCOLS)
    except (KafkaException, StopIteration, TimeoutError) as problem:
        log.info("the broker does not say which group protocols it has (%s): the classic one is used", words(problem))
        return False
    return entry is not None and "consumer" in (entry.value or "").split(",")


def _metadata(admin: AdminClient, is_stopping: Callable[[], bool]) -> ClusterMetadata:
    """Raises KafkaException."""
    until = time.monotonic() + CHOOSING_S
    while True:
        try:
            return admin.list_topics(timeout=_ASK_S)
        except KafkaException as problem:
            is_away = kafka_error(problem).code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}
            if not is_away or is_stopping() or time.monotonic() > until:
                raise
