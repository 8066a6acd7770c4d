"""`vedette data check`: the rows of a file against a detector's declaration, before anything is trained on them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json, errors, print_json
from operators.cli.document_view import HtmlFile, MarkdownFile, show, write_files, write_report
from operators.cli.models.train import DetectorArgument

if TYPE_CHECKING:
    from lifecycle.datasets.checks.check import CheckedRows

app = typer.Typer(no_args_is_help=True, help="Files of rows: what of them a detector can be trained on.")


@app.callback()
def data() -> None:
    """Files of rows: what of them a detector can be trained on."""


@app.command()
def check(
    detector: DetectorArgument,
    file: Annotated[Path, typer.Argument(help="File with the rows; format and columns are the detector's.")],
    max_bad: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Largest share of bad rows (default: the detector's checks.max_bad).")
    ] = None,
    bad_rows: Annotated[
        Path | None,
        typer.Option(help="Write the bad rows to this file, one JSON object a line, with their reasons and values."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the result to this file as JSON; nothing if the file is refused.")
    ] = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: Json = False,
) -> None:
    """Check the rows of a file. Ends with 1 if the file is refused: it cannot be read, or too many of its rows are bad."""
    from lifecycle.datasets.checks.check import is_refused, judge_file
    from lifecycle.datasets.checks.check_page import check_page
    from lifecycle.datasets.declarations import read_detector

    if out is not None and out.is_file():
        out.unlink()  # of an earlier file: the next step may not go on with it where this one is refused
    declared = read_detector(detector)
    limit = declared.checks.max_bad if max_bad is None else max_bad
    checked = judge_file(declared, file)
    document = check_page(declared.name, str(file), checked.quality, limit)
    if bad_rows is not None:
        _write_bad(checked, bad_rows)
    write_files(document, markdown, html)
    refused = is_refused(checked.quality, limit)
    if out is not None and not refused:
        write_report(out, json.dumps(document.record, indent=2) + "\n")
    if as_json:
        print_json(document.record)
    else:
        show(document)
    if refused:
        errors.print(f"vedette: {file} is refused: {checked.quality.share:.2%} of its rows are bad", markup=False)
        raise typer.Exit(1)


def _write_bad(checked: "CheckedRows", path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for record in checked.set_aside():
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    errors.print(f"written: {path}", markup=False)
