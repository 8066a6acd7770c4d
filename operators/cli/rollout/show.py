"""`vedette rollout get | status | history`: show rollouts (once or live), wait for the end of one, list its moves with their evidence."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.console import CommandError, Json, errors, page, plain_line, print_json
from operators.cli.control_plane import ControlPlaneChoice, Name, WatchOption, with_control_plane

if TYPE_CHECKING:
    from operators.control.port import Control, Record

EXIT_ABORTED: Final = 1
EXIT_UNDER_WAY: Final = 3
EXIT_PAUSED: Final = 4
_REFRESH_S: Final = 0.5


@with_control_plane
def get(
    choice: ControlPlaneChoice,
    name: Annotated[str | None, typer.Argument(help="Name of the service (default: all services).")] = None,
    watch: WatchOption = False,
    as_json: Json = False,
) -> None:
    """Show rollouts: steps, split, evidence, and what each waits for."""
    show_services(choice.open(), name, watch=watch, as_json=as_json)


def show_services(control: "Control", name: str | None, *, watch: bool, as_json: bool) -> None:
    """Show one service, or all of them. Raises ControlError."""
    if not as_json:
        _draw(control, name, watch=watch)
    elif name is not None:
        print_json(_plain(control.read(name)))
    else:
        records, unread = _all(control)
        found = [*(_plain(record) for record in records), *({"name": n, "problem": why} for n, why in unread.items())]
        print_json(sorted(found, key=lambda service: str(service["name"])))


@with_control_plane
def status(
    choice: ControlPlaneChoice,
    name: Name,
    timeout: Annotated[str, typer.Option(help="How long to wait for the end, e.g. 90s or 1h; 0s: do not wait.")] = "0s",
    as_json: Json = False,
) -> None:
    """Wait for a rollout to end. Exit code: 0 the wanted revision serves, 1 aborted, 3 under way, 4 paused."""
    from operators.values import parse_duration

    try:
        allowed_s = parse_duration(timeout).total_seconds()
    except ValueError as problem:
        raise CommandError(f"--timeout {problem}") from problem
    control = choice.open()
    until = time.monotonic() + allowed_s
    record = control.read(name)
    while exit_code(record) in (EXIT_UNDER_WAY, EXIT_PAUSED) and time.monotonic() < until:
        time.sleep(_REFRESH_S)
        record = control.read(name)
    code = exit_code(record)
    if as_json:
        print_json({**_plain(record), "exitCode": code})
    else:
        state = record.status
        detail = state.message or state.waiting_for or control.caution() or ""
        print(plain_line(f"{name}: {state.phase}{': ' if detail else ''}{detail}"))
    raise typer.Exit(code)


@with_control_plane
def history(
    choice: ControlPlaneChoice,
    name: Name,
    html: Annotated[Path | None, typer.Option(help="Write the evidence over time as a page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """List the moves of a rollout: when, by whom, why, and on what evidence."""
    control = choice.open()
    record = control.read(name)
    if html is not None:
        from operators.cli.rollout.evidence_page import write_page

        write_page(html, record, control.looks(name))
        errors.print(f"wrote {html}", markup=False)
        return
    if as_json:
        print_json(_history(record))
        return
    from operators.cli.rollout.history_view import history_view

    page().print(history_view(record, datetime.now(UTC)))


def exit_code(record: "Record") -> int:
    """How `status` ends for this record."""
    from operators.rollout.status import Phase

    state = record.status
    wanted = record.service.spec.revision.digest
    if state.phase is Phase.PAUSED:
        return EXIT_PAUSED
    if state.phase is Phase.ABORTED or state.aborted_revision == wanted:
        return EXIT_ABORTED
    is_served = state.stable is not None and state.stable.digest == wanted
    if state.phase is Phase.HEALTHY and record.is_observed and is_served:
        return 0
    return EXIT_UNDER_WAY


def _draw(control: "Control", name: str | None, *, watch: bool) -> None:
    from rich.console import RenderableType
    from rich.live import Live

    from operators.cli.rollout.view import overview, rollout_panel

    def picture() -> "RenderableType":
        now = datetime.now(UTC)
        if name is not None:
            return rollout_panel(control.read(name), now)
        return overview(*_all(control), now)

    console = page()
    if name is None and not control.names():
        errors.print(f"no services in {control.where}; `vedette rollout start NAME` makes one", markup=False)
        return
    if not watch:
        console.print(picture())
        return
    with Live(picture(), console=console, refresh_per_second=4, screen=console.is_terminal) as live:
        try:
            while True:
                time.sleep(_REFRESH_S)
                live.update(picture())
        except KeyboardInterrupt:
            pass
    console.print(picture())


def _all(control: "Control") -> "tuple[list[Record], dict[str, str]]":
    """Every service that can be read; and for each of the others, by name, why it cannot."""
    from operators.control.port import DamagedState, NoSuchService

    found, unread = list["Record"](), dict[str, str]()
    for name in control.names():
        try:
            found.append(control.read(name))
        except DamagedState as problem:
            unread[name] = str(problem)
        except NoSuchService:
            continue  # deleted meanwhile
    return found, unread


def _plain(record: "Record") -> dict[str, Any]:
    state = record.status.model_dump(mode="json", by_alias=True, exclude={"ledger", "history"})
    return {
        "name": record.ref.name,
        "namespace": record.ref.namespace,
        "model": record.ref.model,
        "revision": record.service.spec.revision.model_dump(mode="json", by_alias=True),
        "steps": [s.model_dump(mode="json", by_alias=True, exclude_none=True) for s in record.rollout.steps],
        "status": state,
        "waiting": [r.model_dump(mode="json", by_alias=True) for r in record.waiting],
        "problem": record.problem,
    }


def _history(record: "Record") -> dict[str, Any]:
    state = record.status
    return {
        "name": record.ref.name,
        "current": [m.model_dump(mode="json", by_alias=True) for m in state.moves],
        "finished": [f.model_dump(mode="json", by_alias=True) for f in state.history],
    }
