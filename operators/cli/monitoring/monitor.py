"""`vedette monitor`: watch what models answer, and raise alarms; `vedette monitor show`: what is known now."""

from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json
from operators.cli.monitoring.monitor_view import show
from operators.cli.store.store_option import StoreDir

app = typer.Typer(invoke_without_command=True)
app.command("show")(show)


@app.callback()
def monitor(
    context: typer.Context,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Watch this model; may be repeated. Default: every model of the store.")
    ] = None,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 10.0,
    is_once: Annotated[
        bool, typer.Option("--once", help="Look at what is new, then stop; for cron. Exit code 1 if there is a new alarm.")
    ] = False,
    alpha: Annotated[
        float,
        typer.Option(
            min=0.0001, max=0.5, help="Probability of ever raising a false alarm about a revision that does not drift."
        ),
    ] = 0.05,
    run_length: Annotated[
        int | None,
        typer.Option(min=2, help="In place of --alpha: the expected number of blocks of 25 rows until a false alarm."),
    ] = None,
    baseline: Annotated[
        int | None,
        typer.Option(min=100, help="Use the first N answered rows of a revision as reference, not its training rows."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column whose values are segments; each is watched by itself too.")] = None,
    fall: Annotated[
        float,
        typer.Option(
            min=0.001, max=0.9, help="Relative fall of precision or recall from the bundle's own figures that is allowed."
        ),
    ] = 0.05,
    is_from_now: Annotated[
        bool, typer.Option("--from-now", help="On the first start, skip the records that the log already has.")
    ] = False,
    webhook: Annotated[
        str | None,
        typer.Option(
            envvar="VEDETTE_MONITOR_WEBHOOK",
            help="URL to which each alarm is sent by HTTP POST, until the receiver accepts it.",
        ),
    ] = None,
    webhook_secret: Annotated[
        Path | None,
        typer.Option(
            envvar="VEDETTE_MONITOR_WEBHOOK_SECRET",
            help="File with the secret that signs these messages (Standard Webhooks); two lines, one secret each, during a rotation.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of /metrics and /healthz; 0: any free one. Default: none.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address that --metrics-port binds to.")] = "127.0.0.1",
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Watch what models answer and raise an alarm if it drifts from their training rows. Runs until a signal.

    With --json each alarm is a JSON line."""
    if context.invoked_subcommand is not None:
        return
    from lifecycle.monitoring.watch.settings import WatchSettings
    from lifecycle.performance.watching import FallSettings
    from operators.cli.monitoring.monitor_run import MonitorRun, RunOptions
    from serving.settings import ServingSettings

    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise CommandError(f"--webhook {webhook}: expected a URL, e.g. https://soc.example.com/alarms")
    settings = ServingSettings()
    options = RunOptions(
        store=(store_dir or settings.store_dir).resolve(),
        models=tuple(models or ()),
        every_s=every,
        is_once=is_once,
        is_from_now=is_from_now,
        webhook=webhook,
        webhook_secret=webhook_secret,
        metrics=None if metrics_port is None else (metrics_host, metrics_port),
        as_json=as_json,
        watch=WatchSettings(alpha=alpha, run_length=run_length, baseline_rows=baseline, segment_column=by),
        falls=FallSettings(fall=fall, alpha=alpha),
    )
    if MonitorRun(options, settings).run() and is_once:
        raise typer.Exit(1)
