"""`vedette stream watch`: alerts as they come."""

import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json, page, plain
from operators.cli.stream.options import Servers, cluster_of, stream_settings

if TYPE_CHECKING:
    from serving.stream.contract import AlertMessage
    from serving.stream.ports import Partition, Position
    from serving.stream.settings import StreamSettings


def watch(
    servers: Servers = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="All alerts of the topic, not only new ones.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after N alerts.")] = None,
    as_json: Json = False,
) -> None:
    """Print alerts as they come, until Ctrl-C; with --json the messages themselves, one a line."""
    settings = stream_settings(servers=servers)
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    for value in islice(alert_values(settings, stopping, from_beginning=from_beginning), limit):
        print_alert(value, as_json=as_json)


def alert_values(settings: "StreamSettings", stopping: Event, *, from_beginning: bool) -> Iterator[bytes]:
    """The messages of the topic of alerts, committed ones only. Raises StreamError."""
    cluster = cluster_of(settings)
    from serving.stream.kafka.source import KafkaSource

    source = KafkaSource(
        cluster,
        [settings.alerts],
        f"vedette-watch-{secrets.token_hex(6)}",
        _Reader(),
        start="earliest" if from_beginning else "latest",
    )
    try:
        while not stopping.is_set():
            for record in source.poll(500, 0.2):
                if record.value is not None:
                    yield record.value
    finally:
        source.close()


def print_alert(value: bytes, *, as_json: bool) -> None:
    """One alert: its message, or a line for people."""
    if as_json:
        sys.stdout.buffer.write(value + b"\n")
        sys.stdout.buffer.flush()
        return
    import msgspec

    from serving.stream.contract import AlertMessage

    page().print(plain(alert_line(msgspec.json.decode(value, type=AlertMessage))), markup=False, soft_wrap=True)


def alert_line(alert: "AlertMessage") -> str:
    """The alert in one line."""
    verdict = alert.verdict
    entity = ", ".join(str(value) for value in verdict.entity.values())
    score = "" if verdict.score is None else f"  score {verdict.score:.3f}"
    rules = f"  rules {', '.join(verdict.rules)}" if verdict.rules else ""
    when = (verdict.event_time or verdict.scored_at)[:19]
    return f"{when}  {alert.severity:8}  {entity:18}  {alert.title}{score}{rules}  ({verdict.id})"


class _Reader:
    """Reads wherever the source begins."""

    def assigned(self, partitions: "Mapping[Partition, Position | None]") -> "Mapping[Partition, int | None]":
        """See Ownership."""
        return dict.fromkeys(partitions)

    def revoked(self, partitions: "Sequence[Partition]") -> None:
        """See Ownership."""

    def lost(self, partitions: "Sequence[Partition]") -> None:
        """See Ownership."""

    def renewed(self, partition: "Partition", offset: int) -> None:
        """See Ownership."""
