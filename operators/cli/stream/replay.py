"""`vedette stream replay FILE`: sends a detector's data file into the topic of events, with the real order and delays."""

import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, Json, errors, print_json, progress
from operators.cli.stream.options import Servers, cluster_of, stream_settings

if TYPE_CHECKING:
    from lifecycle.datasets.detector import Detector
    from lifecycle.training.client_events import ClientEvent

_TOGETHER: Final = 1000
_TICK_S: Final = 0.02


def replay(
    file: Annotated[Path | None, typer.Argument(help="The detector's rows (default: generated flows).")] = None,
    detector: Annotated[str, typer.Option(help="flows or a detector file; it declares the columns.")] = "flows",
    speed: Annotated[float, typer.Option(min=0, help="1: the pace of the file; 2: twice that; 0: as fast as possible.")] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Send only the first N events.")] = None,
    servers: Servers = None,
    as_json: Json = False,
) -> None:
    """Send the rows of a file as events. Events are sent at the pace of the file, with the delays recorded in it."""
    settings = stream_settings(servers=servers)
    cluster = cluster_of(settings)
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.training.client_events import client_events

    declared = read_detector(detector)
    frame = _frame(declared, file)
    began_s = time.monotonic()
    events = islice(client_events(declared, frame), limit)
    sent = _send(cluster, settings.events, events, min(len(frame), limit or len(frame)), speed)
    took_s = time.monotonic() - began_s
    if as_json:
        print_json({"events": sent, "topic": settings.events, "seconds": round(took_s, 2)})
    else:
        errors.print(f"{sent:,} events sent to {settings.events} in {took_s:.1f} s")


def _frame(detector: "Detector", file: Path | None) -> Any:
    import pandas as pd

    if file is not None:
        if not file.is_file():
            raise CommandError(f"{file}: no such file")
        return pd.read_parquet(file) if detector.source.format == "parquet" else pd.read_csv(file)
    if detector.source.generator is None:
        raise CommandError(
            f"detector {detector.name!r} needs a file of rows: vedette stream replay FILE --detector {detector.name}"
        )
    from lifecycle.datasets.synthetic_flows import generate_flows

    return generate_flows(detector.model.seed)


def _send(cluster: Any, topic: str, events: "Iterable[ClientEvent]", total: int, speed: float) -> int:
    import orjson

    from serving.stream.kafka.cluster import ToldOnce
    from serving.stream.kafka.producing import new_producer, put
    from serving.stream.ports import OutRecord

    producer = new_producer(cluster, ToldOnce(cluster), {})
    sent, began_s = 0, time.monotonic()
    waiting: list[OutRecord] = []
    with progress() as display:
        task = display.add_task(f"sending to {topic}", total=total)
        for event in events:
            due_s = began_s + event.comes_s / speed if speed else 0.0
            if waiting and (len(waiting) >= _TOGETHER or due_s > time.monotonic()):
                put(cluster, producer, waiting)
                sent += len(waiting)
                display.advance(task, len(waiting))
                waiting = []
            while (left := due_s - time.monotonic()) > 0:
                time.sleep(min(left, _TICK_S))
            waiting.append(OutRecord(topic, orjson.dumps(event.body), event.key.encode()))
        put(cluster, producer, waiting)
        sent += len(waiting)
        display.advance(task, len(waiting))
        left = producer.flush(60.0)
    if left:
        raise CommandError(f"{left} of {sent} events were not delivered to {topic} within 60 s; check the broker")
    return sent
