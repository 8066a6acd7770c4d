"""`vedette performance`: precision, recall and F1 over time, from labels that come late and are not drawn at random."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.audit.archive_options import Archive, archive_if_there
from operators.cli.console import CommandError, Json, errors, print_json
from operators.cli.document_view import show
from operators.cli.labels.options import labels_there, moment_us, now_us
from operators.cli.store.store_option import StoreDir
from operators.values import parse_duration

if TYPE_CHECKING:
    from lifecycle.performance.windows import PerformanceReport


def performance(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model whose answers are judged.")],
    since: Annotated[
        str | None, typer.Option(help="Start of the rows: a time (UTC), or an age such as 30d (default: everything).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End of the rows, exclusive (default: now).")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Use only labels received by this time, as a report at that time would (default: now).")
    ] = None,
    window: Annotated[str, typer.Option(help="Length of a window, e.g. 1h, 1d, 7d.")] = "1d",
    segment: Annotated[str | None, typer.Option(help="Column whose values are segments; each gets its own figures.")] = None,
    label_noise: Annotated[
        float,
        typer.Option(
            min=0, max=0.49, help="Known share of wrong labels, in both directions. The figures are corrected for it."
        ),
    ] = 0.0,
    attack_share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of attacks at this site. The bundle's precision is converted to it before the comparison."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report with its plots to this file (HTML, needs no network).")
    ] = None,
    archive: Archive = None,
    as_json: Json = False,
    store_dir: StoreDir = None,
) -> None:
    """Show precision, recall and F1 by window with 95 % bounds, from the labels received so far.

    Alerts are labelled more often than other rows, and labels come late: both is corrected. A figure that cannot be estimated says why."""
    from lifecycle.documents.document import write
    from lifecycle.performance.pages.performance_page import performance_document
    from lifecycle.performance.pages.record import performance_record

    found = _report(model, since, until, as_of, window, segment, label_noise, attack_share, archive, store_dir)
    document = performance_document(found)
    if report is not None:
        report.write_text(write(document, "html"), encoding="utf-8")
        errors.print(f"written: {report}", markup=False)
    if as_json:
        print_json(performance_record(found))
    else:
        show(document)


def _report(
    model: str,
    since: str | None,
    until: str | None,
    as_of: str | None,
    window: str,
    segment: str | None,
    label_noise: float,
    attack_share: float | None,
    archive: str | None,
    store_dir: Path | None,
) -> "PerformanceReport":
    from lifecycle.performance.baseline import baseline_of
    from lifecycle.performance.estimates import Assumed
    from lifecycle.performance.reading import HISTORY_US, PerformanceReader
    from lifecycle.performance.windows import Asked, TooManyWindows, performance_report
    from serving.models.store import BundleStore
    from serving.models.verdicts import CalibrationTable
    from serving.settings import ServingSettings

    root = store_dir or ServingSettings().store_dir
    length_us, real_now = _length_us(window), now_us()
    now = moment_us(as_of, real_now) or real_now
    first, last = moment_us(since, now), min(moment_us(until, now) or now, now)
    labels = labels_there(store_dir).read()
    reader = PerformanceReader(
        root / "audit", model, labels, archive=archive_if_there(store_dir, archive), until_us=now + 1, segment=segment
    )
    with errors.status(f"reading the answers of {model}"):
        rows = reader.read(first, last)
    if not len(rows):
        raise CommandError(f"the prediction log has no verdict of {model!r} in that time; widen --since and --until")
    if segment is not None and not any(rows.segments):
        raise CommandError(f"no answer of {model!r} has the column {segment!r}; `vedette bundle show {model}` lists them")
    version = str(rows.versions[-1])
    manifest = BundleStore(root).resolve(model, version).manifest
    base = baseline_of(manifest)
    if base is not None and attack_share is not None:
        base = base.at_share(attack_share)
    begins = int(rows.rows.times_us[0]) if first is None else first
    history = reader.read(begins - HISTORY_US, last, only_labelled=True)
    try:
        return performance_report(
            Asked(model, version, begins, last, length_us, now),
            rows.rows,
            segments=[] if segment is None else rows.segments.tolist(),
            history=history.rows,
            baseline=base,
            table=CalibrationTable.of(manifest.calibration),
            has_table=rows.versions == version,
            assumed=Assumed(label_noise=label_noise),
        )
    except TooManyWindows as problem:
        raise CommandError(f"--window {window}: {problem}") from problem


def _length_us(window: str) -> int:
    try:
        length = parse_duration(window) // timedelta(microseconds=1)
    except ValueError as problem:
        raise CommandError(f"--window {problem}") from problem
    if length < 1_000_000:
        raise CommandError(f"--window {window}: a window must be at least 1s; write e.g. 1h or 1d")
    return length
