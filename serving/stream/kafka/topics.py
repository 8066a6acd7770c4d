"""Topics: made where they are missing, and their partitions counted. Nothing that exists is changed."""

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from serving.stream.kafka.cluster import KafkaCluster, ToldOnce, kafka_error, log
from serving.stream.ports import StreamError

TIMEOUT_S: Final = 60.0
_FIRST_S: Final = 0.5
"""After which it is asked whether the broker refuses this client, since waiting would not help then. Each further try is twice as long."""


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
        self._told = ToldOnce(cluster)
        try:
            self._admin = AdminClient(cluster.properties({}, {"error_cb": self._told}), logger=log)
        except (KafkaException, ValueError) as problem:
            raise cluster.error(problem, "open") from problem

    def partitions(self) -> Mapping[str, int]:
        """How many partitions each topic has that this client may see. Raises StreamError."""
        until_s, wait_s = time.monotonic() + TIMEOUT_S, _FIRST_S
        while True:
            try:
                found = self._admin.list_topics(timeout=wait_s).topics
                return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}
            except KafkaException as problem:
                wait_s = min(2 * wait_s, TIMEOUT_S)
                self._admin.poll(0)
                if self._told.refusal is not None:
                    raise self._cluster.error(KafkaException(self._told.refusal), "list topics") from problem
                if time.monotonic() > until_s:
                    raise self._cluster.error(problem, "list topics") from problem

    def create(self, plans: Sequence[TopicPlan]) -> Sequence[str]:
        """Makes those that are missing, until the broker knows them; returns their names. Raises StreamError."""
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
        self._wait_for({plan.name for plan in missing})
        return made

    def _wait_for(self, names: Set[str]) -> None:
        """A topic is made when the controller has it; the broker that is asked hears of it a moment later."""
        until_s = time.monotonic() + TIMEOUT_S
        while unknown := names - self.partitions().keys():
            if time.monotonic() > until_s:
                where = f"kafka://{self._cluster.servers}: topic {min(unknown)}"
                raise StreamError(
                    f"{where} was made, and the broker does not know it after {TIMEOUT_S:.0f} s; check its leader"
                )
            time.sleep(0.1)
