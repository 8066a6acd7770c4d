"""`vedette risk follow` and `vedette risk enrich`: processes that keep risks up to date while a stream is scored."""

import signal
import sys
from collections import Counter
from contextlib import redirect_stdout
from threading import Event
from typing import Annotated

import typer

from operators.cli.console import Json, errors, print_json
from operators.cli.store.store_option import StoreDir
from operators.cli.stream.options import Servers, cluster_of, stream_settings

GroupPrefix = Annotated[str | None, typer.Option(help="Prefix of the consumer group (default: vedette).")]


def follow(servers: Servers = None, group: GroupPrefix = None, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Read the verdicts of stream workers into the ledger of risks until Ctrl-C or SIGTERM. Notable changes go to the topic of risks."""
    from serving.settings import ServingSettings

    chosen = stream_settings(servers=servers, group=group)
    cluster_of(chosen)
    from serving.launch.hybrid import follow as run

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    errors.print(f"risks follow {chosen.verdicts}; Ctrl-C stops", markup=False)
    _show(run(settings, chosen, _stopping()).counts, as_json=as_json)


def enrich(
    servers: Servers = None,
    model: Annotated[
        str | None, typer.Option(help="Model that looks again (default: flows, with the features known by then).")
    ] = None,
    group: GroupPrefix = None,
    http_port: Annotated[int | None, typer.Option(help="Port of /metrics and readiness (default: any free one).")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Take a closer look at events with the verdict `investigate` until Ctrl-C or SIGTERM; results update the risks."""
    from serving.settings import ServingSettings

    chosen = stream_settings(servers=servers, group=group, model=model, http_port=http_port)
    cluster_of(chosen)
    from serving.launch.hybrid import enrich as run

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)

    def ready(port: int) -> None:
        errors.print(f"{chosen.model} looks at {chosen.investigate}; metrics on http://127.0.0.1:{port}/metrics", markup=False)

    with redirect_stdout(sys.stderr):
        counts = run(settings, chosen, _stopping(), ready).counts
    _show(counts, as_json=as_json)


def _stopping() -> Event:
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _show(counts: Counter[str], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(sorted(counts.items())))
    else:
        errors.print(
            "stopped: " + (", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())) or "nothing was read")
        )
