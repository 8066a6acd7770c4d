"""Options that the verbs of `vedette stream` share."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError

if TYPE_CHECKING:
    from serving.stream.kafka.cluster import KafkaCluster
    from serving.stream.settings import StreamSettings

Servers = Annotated[str | None, typer.Option(help="Servers of Kafka, HOST:PORT[,HOST:PORT] (default: VEDETTE_STREAM_SERVERS).")]


def stream_settings(**options: Any) -> "StreamSettings":
    """The settings of the environment under these options; None: not given. Raises CommandError without servers."""
    from serving.stream.settings import StreamSettings

    settings = StreamSettings(**{name: value for name, value in options.items() if value is not None})
    if not settings.servers:
        raise CommandError("no servers of Kafka: give --servers HOST:PORT, or set VEDETTE_STREAM_SERVERS")
    return settings


def cluster_of(settings: "StreamSettings") -> "KafkaCluster":
    """The brokers of these settings. Raises CommandError without the extra `kafka`, StreamError for a secret option's file."""
    try:
        from serving.stream.kafka.cluster import open_cluster
    except ImportError as problem:
        raise CommandError("Kafka needs the extra `kafka`: pip install 'vedette[operators,kafka]'") from problem
    return open_cluster(settings.servers, settings.options, settings.option_files)
