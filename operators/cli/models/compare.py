"""`vedette compare`: two bundles on the same rows that neither was trained on, with paired tests."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, print_json, progress
from operators.cli.document_view import HtmlFile, MarkdownFile, show, write_files
from operators.cli.models.bundle import find_bundle
from operators.cli.models.evaluate import TestFile, scratch_store
from operators.cli.models.train import DataDir, DataFile, load
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.datasets.detector import Detector
    from lifecycle.evaluation.held_out import HeldOutRows
    from lifecycle.evaluation.pages.comparison_page import Comparison
    from lifecycle.training.train import Progress
    from serving.models.bundle import Bundle

FirstBundle = Annotated[
    str, typer.Argument(metavar="FIRST", help="The bundle to compare with: NAME or NAME/VERSION of the store, or a folder.")
]
SecondBundle = Annotated[str, typer.Argument(metavar="SECOND", help="The bundle that may be better, in the same form.")]


def compare(
    first: FirstBundle,
    second: SecondBundle,
    data: DataFile = None,
    data_dir: DataDir = None,
    test: TestFile = None,
    detector: Annotated[
        str | None,
        typer.Option(help="Detector that describes the rows (default: the detector of the first bundle)."),
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(help="Compare also at this alert budget, a share of the rows, e.g. 0.001; repeat."),
    ] = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: Json = False,
    store_dir: StoreDir = None,
) -> None:
    """Compare two bundles on the same test rows: every figure, the difference with bounds, and whether it is significant."""
    from lifecycle.evaluation.pages.comparison_page import comparison_page

    if any(not 0 < share <= 1 for share in budget or ()):
        raise CommandError(f"--budget is {budget}, expected shares over 0 and at most 1, e.g. 0.001 for one row in a thousand")
    bundles = find_bundle(first, store_dir), find_bundle(second, store_dir)
    declared = detector_of(bundles[0], detector)
    with progress() as display, TemporaryDirectory(prefix="vedette-") as scratch:
        task = display.add_task("reading", total=100)

        def tell(what: str, share: float) -> None:
            display.update(task, description=what, completed=round(share * 100))

        rows = _rows(declared, data, data_dir, test, Path(scratch), tell)
        tell("scoring and comparing", 0.5)
        document = comparison_page(_compared(bundles, declared, rows, budget or []))
    write_files(document, markdown, html)
    if as_json:
        print_json(document.record)
    else:
        show(document)


def detector_of(bundle: "Bundle", given: str | None) -> "Detector":
    """The detector that is named, else the one that the bundle was trained by. Raises CommandError, DetectorError."""
    from lifecycle.datasets.declarations import parse_detector, read_detector

    if given is not None:
        return read_detector(given)
    lineage = bundle.manifest.lineage
    if lineage is None or not lineage.detector:
        raise CommandError(
            f"model {bundle.manifest.name!r} was made elsewhere, so its bundle does not say what its rows are; give --detector FILE"
        )
    return parse_detector(dict(lineage.detector), where=f"bundle {bundle.manifest.name}")


def _rows(
    detector: "Detector", data: Path | None, data_dir: Path | None, test: Path | None, scratch: Path, tell: "Progress"
) -> "HeldOutRows":
    """The detector's test file where there is one; else the test part of its split."""
    from lifecycle.datasets.data import find_file, read_data
    from lifecycle.evaluation.held_out import held_out

    if test is None and detector.source.test is not None and data_dir is not None:
        test = find_file(detector, data_dir, "test")
    judged = None if test is None else read_data(detector, test)
    rows = None if judged is not None else load(detector, data, data_dir, tell)
    return held_out(detector, rows, judged, scratch_store(detector, scratch))


def _compared(
    bundles: "tuple[Bundle, Bundle]", detector: "Detector", rows: "HeldOutRows", budgets: list[float]
) -> "Comparison":
    from lifecycle.evaluation.compare.compare import compare as run
    from lifecycle.evaluation.pages.comparison_page import ComparedBundle, Comparison
    from lifecycle.evaluation.report import drawn_curve
    from lifecycle.evaluation.scoring import score_rows

    scored = [score_rows(bundle, detector, rows.rows, rows.frame) for bundle in bundles]
    one, other = (bundle.manifest.operating_points for bundle in bundles)
    thresholds = {name: (point.threshold, other[name].threshold) for name, point in one.items() if name in other}
    try:
        units = run(scored[0], scored[1], thresholds, window_s=detector.evaluation.window_s, budgets=budgets)
    except ValueError as problem:
        raise CommandError(f"{rows.source}: {problem}") from problem
    named = [
        ComparedBundle(b.manifest.name, b.manifest.version, b.digest, drawn_curve(s))
        for b, s in zip(bundles, scored, strict=True)
    ]
    return Comparison(
        named[0], named[1], detector.name, f"{rows.source}, {len(rows.rows):,} rows", units, tuple(_notes(bundles, rows))
    )


def _notes(bundles: "tuple[Bundle, Bundle]", rows: "HeldOutRows") -> list[str]:
    """What to know before the figures are believed."""
    notes = []
    for which, bundle in zip(("first", "second"), bundles, strict=True):
        lineage = bundle.manifest.lineage
        trained_on = None if lineage is None else lineage.data_digest
        if trained_on is None:
            notes.append(f"the {which} was made elsewhere: whether it was trained on these rows is not known")
        elif rows.data_digest is not None and trained_on != rows.data_digest:
            notes.append(
                f"the {which} was trained on other data ({trained_on[:19]}…): whether it has seen these rows is not known"
            )
    if bundles[0].digest == bundles[1].digest:
        notes.append("both are the same bundle")
    return notes
