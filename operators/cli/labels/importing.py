"""`vedette label import`: labels out of a file; bad rows are set aside with their reason."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operators.cli.audit.archive_options import Archive
from operators.cli.console import CommandError, Json, errors, page, plain, print_json, progress
from operators.cli.labels.options import ModelOption, Unseen, label_desk, whoever_asks
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.labels.errors import WrongLabel
    from lifecycle.labels.requests import LabelRequest

_BATCH: Final = 5000
_SHOWN: Final = 10


def import_labels(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="*.csv with a first line of names, or *.jsonl.", exists=True)],
    by: Annotated[str | None, typer.Option(help="Analyst of the rows that name none (default: the user).")] = None,
    model: ModelOption = None,
    rejects: Annotated[
        Path | None, typer.Option(help="File for rows that are not labels, with the reason (default: FILE.rejected.csv).")
    ] = None,
    is_unseen_taken: Unseen = False,
    archive: Archive = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Import the labels of a file. Repeating it is safe: known rows are skipped. Exit code 1 if rows were set aside."""
    rows = list(_rows(path, model))
    if not rows:
        raise CommandError(
            f"{path}: holds no label; a CSV file begins with column names, e.g. event,verdict,family,analyst,time,sureness,note"
        )
    counted: Counter[str] = Counter()
    aside: list[tuple[int, str, str]] = []
    with progress() as display:
        task = display.add_task("taking labels", total=len(rows))
        desk = label_desk(store_dir, archive, "file", analyst=whoever_asks(by), is_unseen_taken=is_unseen_taken)
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            taken = desk.take([request for _, _, request in batch], [_id(number, request) for number, _, request in batch])
            for (number, text, _), one in zip(batch, taken, strict=True):
                if one.problem is not None:
                    aside.append((number, text, str(one.problem)))
                else:
                    counted[one.outcome or ""] += 1
            display.advance(task, len(batch))
    place = rejects or path.with_name(f"{path.name}.rejected.csv")
    if aside:
        with place.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "reason", "row"))
            writer.writerows((number, reason, text) for number, text, reason in aside)
    if as_json:
        refused = [{"line": number, "reason": reason, "row": text} for number, text, reason in aside]
        print_json({**{name: counted[name] for name in ("given", "repeated", "corrected")}, "set_aside": refused})
    else:
        page().print(f"{counted['given']:,} given, {counted['corrected']:,} corrected, {counted['repeated']:,} known already")
        for number, _, reason in aside[:_SHOWN]:
            errors.print(f"line {number}: {plain(reason)}", markup=False, soft_wrap=True)
    if aside:
        errors.print(f"{len(aside):,} rows were set aside, with the reason of each, in {place}", markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _id(number: int, request: "LabelRequest | WrongLabel") -> str | None:
    from lifecycle.labels.desk import id_of_row
    from lifecycle.labels.requests import LabelRequest

    return id_of_row(number, request) if isinstance(request, LabelRequest) else None


def _rows(path: Path, model: str | None) -> "Iterator[tuple[int, str, LabelRequest | WrongLabel]]":
    """Line, text and request of each row; an invalid row comes with its fault."""
    import msgspec

    from lifecycle.labels.errors import WrongLabel
    from lifecycle.labels.requests import LabelRequest, decode_request, request_of_row

    def with_model(request: LabelRequest) -> LabelRequest:
        return request if model is None or request.model is not None else msgspec.structs.replace(request, model=model)

    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise CommandError(f"{path}: is not UTF-8 text ({problem}); save it as UTF-8") from problem
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                try:
                    yield number, line, with_model(decode_request(line.encode()))
                except WrongLabel as wrong:
                    yield number, line, wrong
        return
    reader = csv.DictReader(io.StringIO(content, newline=""))
    try:
        for row in reader:
            text = ",".join(str(value) for value in row.values())
            try:
                yield reader.line_num, text, with_model(request_of_row(row))
            except WrongLabel as wrong:
                yield reader.line_num, text, wrong
    except csv.Error as problem:
        raise CommandError(f"{path}, line {reader.line_num}: is not CSV ({problem}); write one label per line") from problem
