"""`vedette stream`: one worker; and the verbs around it, each a module of this room."""

import signal
import sys
from contextlib import redirect_stdout
from threading import Event
from typing import Annotated, Literal

import typer

from operators.cli.console import Json, errors, print_json
from operators.cli.store.store_option import StoreDir
from operators.cli.stream import contract, replay, topics, watch
from operators.cli.stream.options import Servers, cluster_of, stream_settings

app = typer.Typer(
    invoke_without_command=True, help="Score events from Kafka with one worker. Several workers share the partitions."
)


@app.callback()
def stream(
    context: typer.Context,
    servers: Servers = None,
    model: Annotated[str | None, typer.Option(help="Model that scores the events (default: flows).")] = None,
    mode: Annotated[
        Literal["exactly_once", "low_latency"] | None, typer.Option(help="Delivery guarantee (default: exactly_once).")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group (default: vedette).")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of /metrics and readiness (default: any free one).")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Score events until Ctrl-C or SIGTERM. Serves what the store's served.json says, as `vedette up` does."""
    if context.invoked_subcommand is not None:
        return
    chosen = stream_settings(servers=servers, model=model, mode=mode, group=group, http_port=http_port)
    cluster_of(chosen)
    from serving.launch.stream import StreamProcess
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with redirect_stdout(sys.stderr):
        process = StreamProcess(settings, chosen, stopping)

    def ready(port: int) -> None:
        if as_json:
            print_json(
                {"http": f"http://127.0.0.1:{port}", "events": chosen.events, "group": chosen.group, "mode": chosen.mode}
            )
            sys.stdout.flush()
        errors.print(
            f"{chosen.model} scores {chosen.events} ({chosen.mode}); metrics on http://127.0.0.1:{port}/metrics", markup=False
        )

    process.run(ready)
    counts = process.counts
    errors.print(
        f"stopped: {counts.events['scored']:,} scored, {counts.alerts:,} alerts, {counts.events['dead']:,} dead letters"
    )


app.command()(topics.topics)
app.command()(replay.replay)
app.command()(watch.watch)
app.command()(contract.contract)
