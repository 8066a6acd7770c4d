"""`vedette audit tail`: the newest records of the prediction log, and new ones as they come."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operators.cli.audit.options import LogFolder, Tenant, log_folder
from operators.cli.console import Json, errors, page, plain_line
from operators.cli.store.store_option import AnyStoreDir, store_to_use
from operators.cli.times import iso_time

if TYPE_CHECKING:
    from lifecycle.governance.following import LogLine

LOOK_EVERY_S: Final = 0.2


def tail(
    folder: LogFolder = None,
    store_dir: AnyStoreDir = None,
    model: Annotated[str | None, typer.Option(help="Only records of this model.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only records with this verdict in some row, e.g. alert.")] = None,
    tenant: Tenant = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Start with this many existing records.")] = 10,
    is_following: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Continue until Ctrl-C, or print and stop.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Print the newest records, then new ones as they come. --json prints each as its line in the log."""
    from lifecycle.governance.following import LogFollower, Wanted

    if folder is None or store_dir is not None:  # else no store is read
        store_to_use(store_dir)
    follower = LogFollower(log_folder(folder, store_dir), Wanted(model, verdict, tenant))
    try:
        _print(follower.newest(last), as_json)
        while is_following:
            time.sleep(LOOK_EVERY_S)
            _print(follower.appended(), as_json)
    except KeyboardInterrupt:
        pass
    if follower.broken:
        errors.print(f"{follower.broken} lines are not records and were skipped; `vedette audit verify` names them")


def _print(found: "list[tuple[LogLine, bytes]]", as_json: bool) -> None:
    for record, line in found:
        if as_json:
            sys.stdout.write(line.decode(errors="backslashreplace") + "\n")
        else:
            page().print(plain_line(_words(record)), markup=False, soft_wrap=True)
    sys.stdout.flush()


def _words(record: "LogLine") -> str:
    when = iso_time(record.time_us, "milliseconds")
    counted = {verdict: record.verdicts.count(verdict) for verdict in dict.fromkeys(record.verdicts)}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted.items()) or "no verdict"
    who = f"{record.model}/{record.version} {record.variant}" + (f" for {record.tenant}" if record.tenant else "")
    return f"{when}  {who}  {verdicts}  {record.latency_us} us  {record.receipt}"
