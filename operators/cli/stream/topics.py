"""`vedette stream topics`: make the topics that are missing."""

from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, print_json, print_table
from operators.cli.stream.options import Servers, cluster_of, stream_settings

if TYPE_CHECKING:
    from serving.stream.settings import StreamSettings


def topics(
    servers: Servers = None,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of the topic of events; more workers than this do not help.")
    ] = 12,
    replicas: Annotated[int, typer.Option(min=-1, help="Replicas of each topic; -1: the broker's default.")] = -1,
    as_json: Json = False,
) -> None:
    """Create the topics of the events, verdicts, alerts, dead letters, closer looks, risks and state. Existing topics are not changed."""
    settings = stream_settings(servers=servers)
    rows = make_topics(settings, partitions, replicas)
    if as_json:
        print_json([{"topic": name, "partitions": n, "made": what == "made"} for name, n, what in rows])
    else:
        print_table(settings.servers, ["topic", "partitions", ""], rows, right=["partitions"])


def make_topics(settings: "StreamSettings", partitions: int, replicas: int) -> list[tuple[str, int, str]]:
    """Make the topics that are missing; of each its name, partitions, and whether it was made. Raises CommandError, StreamError."""
    cluster = cluster_of(settings)
    from serving.stream.kafka.topics import KafkaTopics, TopicPlan

    broker = KafkaTopics(cluster)
    known = broker.partitions()
    count = known.get(settings.events, partitions)
    compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2", "segment.ms": "600000"}
    plans = [
        *(
            TopicPlan(name, count, replicas)
            for name in (settings.events, settings.verdicts, settings.alerts, settings.dead_letters, settings.investigate)
            if name
        ),
        *(TopicPlan(name, count, replicas, compacted) for name in (settings.state, settings.risks) if name),
    ]
    made = set(broker.create(plans))
    known = broker.partitions()
    if known[settings.state] != known[settings.events]:
        raise CommandError(
            f"topic {settings.state} has {known[settings.state]} partitions and {settings.events} has {known[settings.events]}; "
            "delete the first one, or name another by VEDETTE_STREAM_STATE"
        )
    return [(plan.name, known[plan.name], "made" if plan.name in made else "was there") for plan in plans]
