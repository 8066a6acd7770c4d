"""`vedette conform`: is this server an Open Inference Protocol v2 server, over HTTP, gRPC or both?"""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from operators.conformance.checks.catalogue import ALL
from operators.conformance.discovery import DiscoveryError, model_facts, model_names, server_facts
from operators.conformance.report import as_json, show
from operators.conformance.run import broken, plan, run
from operators.conformance.transport import Transport, TransportError
from operators.conformance.values import Level, Result


class NothingToRun(Exception):
    """The choice of checks leaves none."""


def check_server(
    http: str | None,
    grpc: str | None,
    models: Sequence[str] = (),
    only: Sequence[str] = (),
    *,
    may_change: bool = False,
    timeout_s: float = 20.0,
    progress: Progress | None = None,
) -> list[Result]:
    """Run the kit against one server. Raises TransportError, DiscoveryError or NothingToRun."""
    with Transport(http, grpc, timeout_s) as transport:
        server = server_facts(transport.send, has_http=bool(http), has_grpc=bool(grpc), may_change=may_change)
        facts = [model_facts(transport.send, server, name) for name in model_names(transport.send, server, models)]
        planned = plan(ALL, server, facts, only)
        if not planned:
            raise NothingToRun(f"no check is called {', '.join(only)}; `vedette conform --list` shows them all")
        results: list[Result] = []
        task = progress.add_task("conform", total=len(planned)) if progress else None
        for result in run(planned, server, transport.send):
            results.append(result)
            if progress and task is not None:
                progress.update(task, advance=1, description=result.check.id)
        return results


def conform(
    http: Annotated[str | None, typer.Option("--http", help="HTTP address, e.g. http://127.0.0.1:8080")] = None,
    grpc: Annotated[str | None, typer.Option("--grpc", help="gRPC address, e.g. 127.0.0.1:8081 (grpcs:// for TLS)")] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Model to check; default: every ready model of the index")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this check, or group, e.g. http.binary")] = None,
    may_change: Annotated[bool, typer.Option("--may-change", help="Allow checks that unload and load the models")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=0.1, help="Seconds to wait for each reply")] = 20.0,
    is_verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every check, not only failures")] = False,
    is_list: Annotated[bool, typer.Option("--list", help="List the checks and stop")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Check a server against the Open Inference Protocol v2. Exit code 1 if a MUST fails."""
    if is_list:
        _list_checks(as_json=as_json_)
        return
    if http is None and grpc is None:
        raise typer.BadParameter("give --http URL, --grpc ADDRESS or both")
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, console=errors, transient=True) as progress:
            results = check_server(
                http, grpc, model or (), only or (), may_change=may_change, timeout_s=timeout_s, progress=progress
            )
    except (TransportError, DiscoveryError, NothingToRun) as error:
        errors.print(f"[red]conform:[/] {error}", highlight=False)
        raise typer.Exit(2 if isinstance(error, NothingToRun) else 1) from error
    if as_json_:
        typer.echo(json.dumps(as_json(results), indent=2))
    else:
        show(Console(), results, is_verbose=is_verbose)
    if broken(results, Level.MUST):
        raise typer.Exit(1)


def _list_checks(*, as_json: bool) -> None:
    rows = [{"id": c.id, "level": str(c.level), "section": c.section, "requires": c.requires} for c in ALL]
    typer.echo(
        json.dumps(rows, indent=2) if as_json else "\n".join(f"{r['level']:<7}{r['id']:<42}{r['requires']}" for r in rows)
    )
