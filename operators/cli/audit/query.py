"""`vedette audit query`: SQL over the prediction log, live and archived, and over the log of governed acts."""

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from operators.cli.audit.archive_options import Archive, record_log
from operators.cli.audit.options import store_folder
from operators.cli.console import CommandError, Json, errors, print_json, print_table
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.governance.archive.query import QueryResult

_NUMBERS: Final = ("INT", "FLOAT", "DOUBLE", "DECIMAL", "NUMBER")


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over `records`, `rows` and `acts`.")],
    store_dir: StoreDir = None,
    archive: Archive = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of result lines.")] = 1000,
    within_s: Annotated[float, typer.Option("--within", min=0.1, help="Time limit, in seconds.")] = 300.0,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Query the prediction log in SQL (DuckDB). Tables: `records`, `rows` (one line for each row of a request) and `acts`.

    Live and archived segments are one. The query reads these and nothing else, and changes nothing."""
    from lifecycle.governance.archive.query import LogQuery
    from serving.audit.personal.redaction import reveal_json
    from serving.audit.personal.subject_keys import SubjectKeys

    if as_csv and as_json:
        raise CommandError("--csv and --json: choose one")
    log = record_log(store_dir, archive)
    store = store_folder(store_dir)
    keys = SubjectKeys(store / "keys" / "subjects")
    asked = LogQuery(log, store / "governance", decrypt=lambda body, receipt: reveal_json(body, receipt, keys))
    found = asked.run(sql, most_rows=limit, within_s=within_s)
    if as_json:
        print_json([dict(zip(found.columns, line, strict=True)) for line in found.lines])
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(found.columns)
        writer.writerows(found.lines)
    else:
        _print(found)
    if found.is_cut:
        errors.print(f"the first {limit} lines; --limit allows more")


def _print(found: "QueryResult") -> None:
    right = [name for name, kind in zip(found.columns, found.types, strict=True) if any(n in kind for n in _NUMBERS)]
    lines: list[list[Any]] = [["" if cell is None else cell for cell in line] for line in found.lines]
    print_table(f"{len(lines)} lines", found.columns, lines, right=right)
