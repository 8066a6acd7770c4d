"""Which protocol a consumer group speaks: KIP-848 (`consumer`) where the broker has it, else the classic one, cooperatively."""

from typing import Any, Final, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from serving.stream.kafka.cluster import KafkaCluster, log, words

GroupProtocol = Literal["auto", "consumer", "classic"]
CHOOSING_S: Final = 10.0
"""How long the broker is asked for its protocols."""
_PROTOCOLS: Final = "group.coordinator.rebalance.protocols"


def chosen_protocol(cluster: KafkaCluster, wish: GroupProtocol, instance_id: str | None) -> Literal["consumer", "classic"]:
    """`auto` takes KIP-848 if a broker says that it has it, and the worker has no instance id.

    With an instance id the classic protocol hands the place of a killed worker to its successor at once; under KIP-848 the
    successor waits until the broker's session timeout is over (45 s by default)."""
    if wish != "auto":
        return wish
    if instance_id is not None:
        return "classic"
    return "consumer" if _broker_has_it(cluster) else "classic"


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


def _broker_has_it(cluster: KafkaCluster) -> bool:
    try:
        admin = AdminClient(cluster.properties({}, {}))
        broker = next(iter(admin.list_topics(timeout=CHOOSING_S).brokers))
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        (found,) = admin.describe_configs([resource], request_timeout=CHOOSING_S).values()
        entry = found.result(CHOOSING_S).get(_PROTOCOLS)
    except (KafkaException, StopIteration, TimeoutError) as problem:
        log.info("the broker does not say which group protocols it has (%s): the classic one is used", words(problem))
        return False
    return entry is not None and "consumer" in (entry.value or "").split(",")
