"""`vedette report fairness`: alert and error rates by segment in a window of the prediction log; and how a fairness report is shown."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, errors, plain, print_json, print_table
from operators.cli.store.store_option import StoreDir
from operators.cli.times import TIME_FORMATS, to_us

if TYPE_CHECKING:
    from lifecycle.evaluation.fairness.disparity import FairnessReport


def fairness(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model whose answers are judged.")],
    segments: Annotated[Path, typer.Option(help="Mapping of entities to segments, CSV or YAML.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Analysts' labels, CSV `receipt,row,label` (attack or benign): for false positives and false negatives."
        ),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=TIME_FORMATS, help="Start, UTC (default: 24 hours ago).")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=TIME_FORMATS, help="End, UTC (default: now).")] = None,
    entity: Annotated[
        str | None, typer.Option(help="The column that names the entity (default: the bundle's entity key).")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Bound on the probability of a finding when there is no disparity.")
    ] = 0.05,
    as_json: Json = False,
    store_dir: StoreDir = None,
) -> None:
    """Compare the answers in the prediction log by segment: alerts and, with labels, false positives and false negatives.

    Exit code 1 if a segment differs from the rest beyond chance."""
    from lifecycle.evaluation.fairness.disparity import judge_fairness
    from lifecycle.evaluation.fairness.section import fairness_record
    from lifecycle.evaluation.fairness.segment_rows import refuse_as_inputs
    from lifecycle.governance.archive.record_log import RecordChoice, RecordLog
    from lifecycle.governance.reports.answered_rows import answered_rows, read_labels
    from operators.cli.audit.archive_options import archive_if_there
    from serving.audit.personal.subject_keys import SubjectKeys
    from serving.models.store import BundleStore
    from serving.segments.mapping import read_segment_map
    from serving.settings import ServingSettings

    root = store_dir or ServingSettings().store_dir
    mapping = read_segment_map(segments)
    manifest = BundleStore(root).resolve(model, None).manifest
    refuse_as_inputs(mapping, manifest)
    key = entity or next((k.name for k in manifest.entity_keys), None)
    now_us = time.time_ns() // 1000
    choice = RecordChoice(model, None, to_us(since, now_us - 86_400_000_000), to_us(until, now_us + 1))
    log = RecordLog(root / "audit", archive_if_there(root, None))
    found = answered_rows(
        log.chosen(choice), key, SubjectKeys(root / "keys" / "subjects"), {} if labels is None else read_labels(labels)
    )
    if not len(found.alert):
        raise CommandError(f"the prediction log has no verdict of {model!r} in that time; widen --from and --to")
    if found.without_entity:
        errors.print(
            f"note: {found.without_entity:,} rows name no {key or 'entity'}, or it is redacted: they count with the rest",
            markup=False,
        )
    report = judge_fairness(found.segmented(mapping), alpha=alpha)
    if as_json:
        print_json(fairness_record(report))
    else:
        show_fairness(report, f"{model}, {len(found.alert):,} rows")
    if report.findings:
        raise typer.Exit(1)


def show_fairness(report: "FairnessReport", what: str) -> None:
    """For people."""
    from lifecycle.evaluation.fairness.section import COLUMNS, fairness_lines, fairness_words

    print_table(f"Fairness by segment: {what}", COLUMNS, fairness_lines(report), right=COLUMNS[2:7])
    for sentence in fairness_words(report):
        print(plain(sentence))
    print()
