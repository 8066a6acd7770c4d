"""Topics: made where they are missing, and their partitions counted. Nothing that exists is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from serving.stream.kafka.cluster import KafkaCluster, ToldOnce, kafka_error, log

TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be made. replicas: -1 leaves it to the broker. config: e.g. `cleanup.policy`."""

    name: str
    partitions: int
    replicas: int = -1
    config: Mapping[str, str] = field(default_factory=dict)


class KafkaTopics:
    """Asks a broker for its topics, and makes topics."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        try:
            self._admin = AdminClient(cluster.properties({}, {"error_cb": ToldOnce(cluster)}), logger=log)
        except (KafkaException, ValueError) as problem:
            raise cluster.error(problem, "open") from problem

    def partitions(self) -> Mapping[str, int]:
        """How many partitions each topic has that this client may see. Raises StreamError."""
        try:
            found = self._admin.list_topics(timeout=TIMEOUT_S).topics
        except KafkaException as problem:
            raise self._cluster.error(problem, "list topics") from problem
        return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}

    def create(self, plans: Sequence[TopicPlan]) -> Sequence[str]:
        """Makes those that are missing; returns their names. Raises StreamError."""
        missing = [plan for plan in plans if plan.name not in self.partitions()]
        if not missing:
            return ()
        new = [NewTopic(plan.name, plan.partitions, plan.replicas, config=dict(plan.config)) for plan in missing]
        made = []
        for name, done in self._admin.create_topics(new, operation_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S).items():
            try:
                done.result(TIMEOUT_S * 2)
                made.append(name)
            except KafkaException as problem:
                if kafka_error(problem).code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was faster
                    raise self._cluster.error(problem, f"create topic {name}") from problem
        return made
