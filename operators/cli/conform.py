"""`vedette conform`: is this server an Open Inference Protocol v2 server, over HTTP, gRPC or both?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json, finite_option, plain, print_json, print_table, progress

if TYPE_CHECKING:
    from operators.conformance.transport import Transport
    from operators.conformance.values import Result


def conform(
    http: Annotated[str | None, typer.Option("--http", help="HTTP address, e.g. http://127.0.0.1:8080.")] = None,
    grpc: Annotated[str | None, typer.Option("--grpc", help="gRPC address, e.g. 127.0.0.1:8081 (grpcs:// for TLS).")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="PEM file of the CA to trust, for https:// and grpcs://.")] = None,
    cert: Annotated[Path | None, typer.Option("--cert", help="PEM file of a client certificate to show.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="PEM file of its key (default: in the same file).")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model to check; repeat (default: every ready one of the index).")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this check or group, e.g. http.binary; repeat.")] = None,
    may_change: Annotated[bool, typer.Option("--may-change", help="Allow the check that unloads and loads the model.")] = False,
    timeout_s: Annotated[float, typer.Option(min=0.1, callback=finite_option, help="Seconds to wait for each reply.")] = 20.0,
    is_verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every check, not only failures.")] = False,
    is_list: Annotated[bool, typer.Option("--list", help="List the checks and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Check a server against the Open Inference Protocol v2; exit code 1 if a MUST fails."""
    if is_list:
        _list_checks(as_json=as_json)
        return
    if http is None and grpc is None:
        raise typer.BadParameter("give --http URL, --grpc ADDRESS or both")
    from operators.conformance import report
    from operators.conformance.run import broken
    from operators.conformance.transport import Transport, Trust
    from operators.conformance.values import Level
    from serving.access.client_credentials import DoorCredentials

    with Transport(http, grpc, timeout_s, DoorCredentials().headers(), Trust(ca, cert, key)) as transport:
        results = _run(transport, model or (), only or (), may_change=may_change)
    if as_json:
        print_json(report.as_json(results))
    else:
        shown = report.rows(results, is_verbose=is_verbose)
        if shown:
            print_table("conformance", report.COLUMNS, shown)
        print(plain(report.in_words(results)))
    if broken(results, Level.MUST):
        raise typer.Exit(1)


def _run(transport: "Transport", models: Sequence[str], only: Sequence[str], *, may_change: bool) -> "list[Result]":
    """Find out what there is, and check it."""
    from operators.conformance.checks.catalogue import ALL
    from operators.conformance.discovery import model_facts, model_names, server_facts
    from operators.conformance.run import plan, run

    server = server_facts(transport.send, has_http=transport.has_http, has_grpc=transport.has_grpc, may_change=may_change)
    facts = [model_facts(transport.send, server, name) for name in model_names(transport.send, server, models)]
    planned = plan(ALL, server, facts, only)
    if not planned:
        raise typer.BadParameter(f"no check is called {', '.join(only)}; `vedette conform --list` shows them all")
    results = []
    with progress() as display:
        task = display.add_task("conform", total=len(planned))
        for result in run(planned, server, transport.exchange):
            results.append(result)
            display.update(task, advance=1, description=result.check.id)
    return results


def _list_checks(*, as_json: bool) -> None:
    from operators.conformance.checks.catalogue import ALL

    if as_json:
        print_json([{"id": c.id, "level": str(c.level), "section": c.section, "requires": c.requires} for c in ALL])
        return
    print("\n".join(f"{c.level:<7}{c.id:<42}{c.requires}" for c in ALL))
