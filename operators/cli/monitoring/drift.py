"""`vedette drift`: one report on whether recent rows are like the rows of training. Exit code 1 if they are not."""

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, print_json, progress
from operators.cli.document_view import HtmlFile, MarkdownFile, show, write_files
from operators.cli.models.bundle import find_bundle
from operators.cli.models.compare import detector_of
from operators.cli.models.evaluate import scratch_store
from operators.cli.store.store_option import StoreDir
from operators.cli.times import TIME_FORMATS, to_us

if TYPE_CHECKING:
    from lifecycle.datasets.detector import Detector
    from lifecycle.monitoring.drift.sample import DriftSample
    from serving.models.bundle import Bundle


def drift(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="NAME or NAME/VERSION of the store, or a bundle's folder.", show_default=False),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=TIME_FORMATS, help="First moment of the window, UTC (default: 24 hours ago)."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=TIME_FORMATS, help="Last moment of the window, UTC (default: now).")
    ] = None,
    current: Annotated[
        Path | None, typer.Option(help="File whose rows are the window, in place of the prediction log.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="File to compare with, in place of the bundle's training rows.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Detector that declares the columns of the files (default: the bundle's own).")
    ] = None,
    by: Annotated[str | None, typer.Option(help="A column whose values are judged as segments too.")] = None,
    level: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Highest probability that a report on unchanged data has a finding.")
    ] = 0.05,
    variant: Annotated[str | None, typer.Option(help="Only what this variant answered.")] = None,
    most_rows: Annotated[
        int,
        typer.Option(
            min=1000, help="Maximum rows compared. From a larger log a random sample is drawn. All labelled rows are used."
        ),
    ] = 200_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the tests.")] = 0,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: Json = False,
    store_dir: StoreDir = None,
) -> None:
    """Compare recent rows with the rows of training: columns, dependence, scores, verdicts and, with labels, attacks at equal score.

    Exit code 1 if anything drifted, or if nothing could be judged."""
    from lifecycle.monitoring.drift.drift_page import drift_page
    from lifecycle.monitoring.drift.judge import judge_drift
    from lifecycle.monitoring.drift.samples import bundle_reference
    from lifecycle.monitoring.drift.settings import DriftSettings

    bundle = None if model is None else find_bundle(model, store_dir)
    if bundle is None and (detector is None or reference is None or current is None):
        raise CommandError("name a MODEL; without one give --detector, --reference and --current")
    with TemporaryDirectory(prefix="vedette-") as scratch:
        declared = None if current is None and reference is None else _declared(bundle, detector)
        old = (
            bundle_reference(bundle)
            if reference is None and bundle is not None
            else _of_file(bundle, declared, reference, scratch)
        )
        if current is None and bundle is not None:
            new = _answered(bundle, since, until, variant, most_rows, store_dir)
        else:
            new = _of_file(bundle, declared, current, scratch)
    if by is not None and not (by in old.columns and by in new.columns):
        both = sorted(old.columns.keys() & new.columns.keys())
        raise CommandError(f"--by {by}: no such column in both samples; they have {', '.join(both) or 'none in common'}")
    report = judge_drift(old, new, DriftSettings(level=level), by=by, seed=seed)
    document = drift_page(report, f"Drift of {model or detector}")
    write_files(document, markdown, html)
    if as_json:
        print_json(document.record)
    else:
        show(document)
    if report.findings or not report.checks:
        raise typer.Exit(1)


def _declared(bundle: "Bundle | None", named: str | None) -> "Detector":
    from lifecycle.datasets.declarations import read_detector

    if bundle is not None:
        return detector_of(bundle, named)
    return read_detector(str(named))


def _of_file(bundle: "Bundle | None", detector: "Detector | None", path: Path | None, scratch: str) -> "DriftSample":
    """The rows of a file; with a bundle the columns of its model, features joined; else the declared columns of the file."""
    from lifecycle.datasets.data import read_data
    from lifecycle.evaluation.scoring import score_rows
    from lifecycle.monitoring.drift.samples import file_sample, model_columns, scored_sample
    from lifecycle.training.features import with_features

    if detector is None or path is None:
        raise CommandError("give both files, or neither")
    data = read_data(detector, path)
    if bundle is None:
        return file_sample(data, data.frame, tuple(detector.request_fields), path.name)
    frame, _ = with_features(detector, data, scratch_store(detector, Path(scratch)))
    sample = file_sample(data, frame, model_columns(bundle.manifest), path.name)
    return sample if bundle.manifest.score is None else scored_sample(sample, bundle, score_rows(bundle, detector, data, frame))


def _answered(
    bundle: "Bundle",
    since: datetime | None,
    until: datetime | None,
    variant: str | None,
    most_rows: int,
    store_dir: Path | None,
) -> "DriftSample":
    from lifecycle.labels.label_log import LabelLog
    from lifecycle.monitoring.drift.samples import answered_window
    from lifecycle.monitoring.windows.answered import sample_answers
    from operators.cli.audit.archive_options import archive_if_there
    from serving.settings import ServingSettings

    root = store_dir or ServingSettings().store_dir
    now_us = time.time_ns() // 1000
    first_us, last_us = to_us(since, now_us - 86_400_000_000), to_us(until, now_us + 1)
    name = bundle.manifest.name
    if first_us >= last_us:
        raise CommandError("the window ends before it begins: --from must be before --to, and --to is now if it is not given")
    given = LabelLog(root / "labels").current(name) if (root / "labels").is_dir() else {}
    labels = {event: label.verdict == "attack" for event, label in given.items() if label.verdict != "unsure"}
    with progress() as display:
        task = display.add_task("reading the prediction log: answers", total=None)
        found = sample_answers(
            root / "audit", name, most_rows, receipts={event.partition("#")[0] for event in labels}, since_us=first_us,
            until_us=last_us, variant=variant, archive=archive_if_there(root, None),
            tell=lambda answers: display.update(task, completed=answers),
        )  # fmt: skip
    if not len(found.rows):
        raise CommandError(f"the prediction log of {root} has no answer of {name!r} in that time; widen --from and --to")
    if found.drawn == found.answers:
        return answered_window(bundle, found.rows, labels)
    window = answered_window(bundle, found.rows)
    note = f"the window has {found.answers:,} answers, of which {found.drawn:,} were drawn (--most-rows)"
    return replace(
        window, labelled=answered_window(bundle, found.named, labels), words=f"{len(found.rows):,} drawn of the answered rows",
        notes=(*window.notes, note),
    )  # fmt: skip
