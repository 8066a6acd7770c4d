"""`vedette sinks run | test | show`: send the alerts of a topic to SIEMs, try each sink, and see what they get."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, errors, page, print_json, print_table

if TYPE_CHECKING:
    from serving.sinks.config import SinkConfig, SinksConfig

app = typer.Typer(no_args_is_help=True, help="Send alerts to SIEMs.")
Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="File of the sinks (docs/reference/sinks.md).")]
Only = Annotated[list[str] | None, typer.Option("--sink", metavar="NAME", help="Only this sink; may be repeated.")]
USUAL = Path("sinks.yaml")


@app.command()
def run(
    config: Config = USUAL,
    only: Only = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Alerts as JSON lines instead of the topic; `-` is standard input. Ends when all are delivered.",
        ),
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address of the metrics port.")] = "127.0.0.1",
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of /metrics, /healthz and /readyz; 0 takes a free one (default: none)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send alerts until Ctrl-C. The position in the topic is recorded only after every sink's spool has the alerts."""
    from operators.cli.sinks.run import SinkRunOptions, run_sinks

    read, sinks = _chosen(config, only)
    counts = run_sinks(SinkRunOptions(read, sinks, from_file, None if metrics_port is None else (metrics_host, metrics_port)))
    if as_json:
        print_json(counts)
        return
    columns = ["sink", *next(iter(counts.values()), {})]
    print_table("Alerts", columns, [[name, *values.values()] for name, values in counts.items()], right=columns[1:])


@app.command("test")
def try_each(config: Config = USUAL, only: Only = None, as_json: Json = False) -> None:
    """Send one example alert to each sink, without its spool, and print its answer. Exit code 1 if a sink did not accept it."""
    from operators.cli.sinks.trial import tried

    records = [tried(sink) for sink in _chosen(config, only)[1]]
    if as_json:
        print_json(records)
    else:
        for found in records:
            mark = "[green]taken[/]" if found["taken"] else "[red]not taken[/]"
            page().print(f"{found['sink']:<20} {mark}  ", end="", soft_wrap=True)
            page().print(f"{found['to']}  {found['says']}", markup=False, soft_wrap=True)
    if not all(found["taken"] for found in records):
        raise typer.Exit(1)


@app.command()
def show(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORM",
            help="ocsf, ecs, cef, plain, syslog, splunk, elasticsearch, webhook; or config.",
        ),
    ],
) -> None:
    """Print an example alert in a form, or an example of sinks.yaml."""
    from operators.cli.sinks.examples import SHOWN, shown

    if form not in SHOWN:
        raise CommandError(f"{form!r} is not a form; there are {', '.join(SHOWN)}")
    typer.echo(shown(form))


def _chosen(config: Path, only: list[str] | None) -> "tuple[SinksConfig, tuple[SinkConfig, ...]]":
    from serving.sinks.config import read_config

    found = read_config(config)
    names = [sink.name for sink in found.sinks]
    if unknown := sorted(set(only or ()) - set(names)):
        raise CommandError(f"{config}: has no sink {', '.join(unknown)}; it has {', '.join(names)}")
    if only:
        errors.print(f"only {', '.join(only)}: the others get no alerts, and the place in the topic is recorded without them")
    return found, tuple(sink for sink in found.sinks if not only or sink.name in only)
