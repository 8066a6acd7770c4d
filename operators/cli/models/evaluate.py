"""`vedette evaluate`: the quality of a detector's alerts on unseen rows, over seeds, and what false alarms would cost."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, print_json, progress
from operators.cli.document_view import HtmlFile, MarkdownFile, show, write_files
from operators.cli.models.train import DataDir, DataFile, DetectorArgument, feature_store, load
from operators.cli.store.store_option import store_to_use

if TYPE_CHECKING:
    from lifecycle.datasets.detector import Detector
    from lifecycle.evaluation.costs import Site
    from lifecycle.evaluation.evaluate import EvaluationResult
    from lifecycle.training.feast_store import FeastStore

TestFile = Annotated[
    Path | None, typer.Option("--test", help="File with test rows (default: the detector's test file, or a split).")
]


def evaluate(
    detector: DetectorArgument,
    data: DataFile = None,
    data_dir: DataDir = None,
    test: TestFile = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="How many seeds (default: the detector's).")] = None,
    segments: Annotated[
        Path | None,
        typer.Option(
            help="Mapping of entities to segments (CSV or YAML); adds rates by segment, and tests of their differences."
        ),
    ] = None,
    events_per_day: Annotated[
        float | None,
        typer.Option(help="Events a day at your site (default: as in the judged rows, if they have times)."),
    ] = None,
    attack_share: Annotated[
        float | None,
        typer.Option(help="Share of attacks among the events at your site, e.g. 0.001 (default: as in the judged rows)."),
    ] = None,
    minutes: Annotated[
        tuple[float, float], typer.Option(metavar="FROM TO", help="Minutes that an analyst needs for one false alarm.")
    ] = (5.0, 10.0),
    analysts: Annotated[float | None, typer.Option(help="Number of analysts who look at alerts each day.")] = None,
    hours: Annotated[float, typer.Option(help="Hours a day that each analyst has for alerts.")] = 8.0,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: Json = False,
) -> None:
    """Train with several seeds, and judge each bundle on rows that were not used for training."""
    from lifecycle.datasets.data import find_file, read_data
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.evaluation.evaluate import evaluate as run
    from lifecycle.evaluation.pages.evaluation_page import evaluation_page
    from serving.segments.mapping import read_segment_map

    declared = read_detector(detector)
    mapping = None if segments is None else read_segment_map(segments)
    with progress() as display, TemporaryDirectory(prefix="vedette-") as scratch:
        task = display.add_task("reading", total=100)

        def tell(what: str, share: float) -> None:
            display.update(task, description=what, completed=round(share * 100))

        rows = load(declared, data, data_dir, tell)
        if test is None and declared.source.test is not None and data_dir is not None:
            test = find_file(declared, data_dir, "test")
        judged = None if test is None else read_data(declared, test)
        store = scratch_store(declared, Path(scratch))
        times = seeds or declared.evaluation.seeds
        result = run(declared, rows, judged, store, seeds=times, progress=tell, mapping=mapping)
    site = _site(result, events_per_day, attack_share, minutes, analysts, hours)
    document = evaluation_page(result, site)
    write_files(document, markdown, html)
    if as_json:
        print_json(document.record)
    else:
        show(document)


def scratch_store(detector: "Detector", scratch: Path) -> "FeastStore":
    """A store of its own, so that judging changes nothing; the machine's where the features are filled elsewhere."""
    from lifecycle.training.feast_store import FeastStore
    from serving.settings import ServingSettings

    settings = ServingSettings(store_dir=store_to_use(None))
    if detector.features is not None and detector.features.service is not None:
        return feature_store(settings)
    return FeastStore(scratch)


def _site(
    result: "EvaluationResult",
    events_per_day: float | None,
    attack_share: float | None,
    minutes: tuple[float, float],
    analysts: float | None,
    hours: float,
) -> "Site | None":
    """Where alerts would arrive; None if nobody says how many events there are. Raises CommandError."""
    from lifecycle.evaluation.costs import Site

    unit = result.seeds[0].units[0]
    events = unit.rows_per_day if events_per_day is None else events_per_day
    if events is None:
        if attack_share is not None or analysts is not None:
            raise CommandError("the judged rows have no times: say with --events-per-day how many events the site has")
        return None
    share = unit.points[0].rates.attack_share if attack_share is None else attack_share
    try:
        return Site(events, share or 0.0, minutes, analysts, hours)
    except ValueError as problem:
        raise CommandError(f"{problem}") from problem
