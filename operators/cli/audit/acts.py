"""`vedette audit acts`: who did what, when and why, from the log of governed acts."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.audit.options import store_folder
from operators.cli.console import CommandError, Json, page, plain, print_json
from operators.cli.store.store_option import StoreDir
from operators.cli.times import time_text

if TYPE_CHECKING:
    from lifecycle.governance.acts import Act


def acts(
    subject: Annotated[str | None, typer.Option(help="Only acts on this subject, e.g. modelservice/local/flows.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, or actions with this prefix, e.g. rollout.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only acts of this person.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only refused acts.")] = False,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List governed acts, the oldest first: promotions, aborts, approvals, thresholds, stages, erasures. `verify` proves the log."""
    from lifecycle.governance.acts import ActsLog

    folder = store_folder(store_dir) / "governance"
    if not folder.is_dir():
        raise CommandError(
            f"{folder}: has no log of acts; the first rollout, key or stage creates it, or name another store with --store-dir"
        )
    log = ActsLog(folder, signer=lambda: None, now_us=lambda: 0)
    found = [
        one
        for one in log.read()
        if (subject is None or one.subject == subject)
        and (action is None or one.action.startswith(action))
        and (actor is None or one.actor == actor)
        and (not refused or one.outcome == "refused")
    ]
    if as_json:
        print_json([_record(one) for one in found])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(plain(f"governed acts in {folder}"), "table.title"), title_justify="left", header_style="bold")
    for name in ("when", "who", "action", "subject", "outcome", "why"):
        table.add_column(name, no_wrap=name == "when", overflow="fold")
    for one in found:
        style = "red" if one.outcome == "refused" else "bold yellow" if one.action == "rollout.break-glass" else ""
        table.add_row(
            _when(one), Text(plain(one.actor)), Text(plain(one.action), style=style), Text(plain(one.subject)),
            Text(plain(one.outcome), style=style), Text(plain(one.reason)),
        )  # fmt: skip
    page().print(table)


def _record(act: "Act") -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(act)
    return {"time": _when(act), **found}


def _when(act: "Act") -> str:
    return time_text(act.time_us, "%Y-%m-%d %H:%M:%SZ")
