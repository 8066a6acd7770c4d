"""`vedette batch INPUT OUTPUT`: score a folder of Parquet files, partition by partition. A stopped job continues where it stopped.

The work is serving.batch's; what the model's columns are called in the data comes from its detector (lifecycle.training.batch.source)."""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.batch.file_acts import file_acts
from operators.cli.batch.to_risk import to_risk
from operators.cli.console import CommandError, Json, errors, print_json, print_table, progress
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from serving.batch.job import BatchJob
    from serving.batch.run import Summary, Workers
    from serving.settings import ServingSettings


class Records(StrEnum):
    """What the prediction log keeps."""

    ROWS = "rows"
    FILES = "files"


class Partition(StrEnum):
    """Length of the output's partitions."""

    HOUR = "hour"
    DAY = "day"


def batch(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A Parquet file, a folder of them, or an fsspec URL (s3://...).")
    ],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder or fsspec URL of the verdicts.")],
    model: Annotated[str, typer.Option(help="Model name.")] = "flows",
    version: Annotated[str | None, typer.Option(help="Model version (default: the newest).")] = None,
    operating_point: Annotated[str | None, typer.Option(help="Operating point (default: the model's own).")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Ray actors; 0: this process, without Ray. Default: 0 for one file of verdicts, else one for each core."
        ),
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster (default: RAY_ADDRESS, else one is started here).")] = None,
    partition: Annotated[Partition, typer.Option(help="Length of the output's partitions.")] = Partition.HOUR,
    max_rows_per_partition: Annotated[
        int,
        typer.Option(
            min=1,
            help="Maximum rows of one output file; a larger partition gets several files. A worker holds one file's rows in memory.",
        ),
    ] = 500_000,
    since: Annotated[str | None, typer.Option(help="Only partitions that begin at this time or later (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Only partitions that begin before this time.")] = None,
    records: Annotated[
        Records, typer.Option(help="Prediction log: each answer (rows), or one act with the digest of each file (files).")
    ] = Records.ROWS,
    replace: Annotated[bool, typer.Option(help="Replace partitions made from files that INPUT no longer has.")] = False,
    into_risk: Annotated[
        bool, typer.Option("--to-risk", help="Add the risks of a behavioural model to the ledger of risks (`vedette risk`).")
    ] = False,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Score Parquet files. Partitions already done for the same input and revision are skipped."""
    from serving.batch.run import BatchCut, Progress, as_plain, run_job
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    settings = settings.model_copy(update={"store_dir": settings.store_dir.absolute()})
    job = job_of(settings, _full(source), _full(output), model, version, operating_point, records.value)
    wanted = BatchCut(max_rows_per_partition, partition.value, _moment("--since", since), _moment("--until", until), replace)
    with progress() as display:
        task = display.add_task("scanning", total=None)

        def tell(told: Progress) -> None:
            display.update(task, description=f"{told.phase} {told.unit}".strip(), completed=told.done, total=told.total)

        owner = f"{socket.gethostname()}, process {os.getpid()}"
        with ExitStack() as stack:
            after = [file_acts(settings, job)] if records is Records.FILES else []
            if into_risk:
                after.append(stack.enter_context(to_risk(settings, job)))
            summary = run_job(job, wanted, _workers(workers, address), owner, tell, after)
    if as_json:
        print_json(as_plain(summary))
    else:
        _show(job, summary)


def job_of(
    settings: "ServingSettings",
    source: str,
    output: str,
    model: str,
    version: str | None = None,
    operating_point: str | None = None,
    records: str = "rows",
) -> "BatchJob":
    """The job for these settings. Raises CommandError, NoSuchModel."""
    from lifecycle.training.batch.offline import stored_views
    from lifecycle.training.batch.source import source_of
    from operators.cli.models.train import feature_store
    from serving.batch.behaviour.risk_scorer import behaviour_of
    from serving.batch.job import BatchJob, BehaviourWindows
    from serving.models.store import open_store
    from serving.spec import RevisionSpec

    bundle = open_store(settings).resolve(model, version)
    if operating_point is not None and operating_point not in bundle.manifest.operating_points:
        known = sorted(bundle.manifest.operating_points)
        raise CommandError(f"--operating-point {operating_point}: model {model!r} has {known or 'none; leave it out'}")
    behaviour = behaviour_of(bundle)
    columns = source_of(bundle.manifest) if behaviour is None else behaviour.source
    service = bundle.manifest.feature_service
    revision = RevisionSpec(bundle=bundle.digest, operating_point=operating_point)
    return BatchJob(
        input=source,
        output=output,
        model=model,
        version=bundle.manifest.version,
        bundle=bundle.digest,
        revision=revision.model_dump(mode="json", exclude_defaults=True),
        revision_digest=revision.digest,
        source=columns,
        offline=stored_views(feature_store(settings), service) if service is not None and columns.windows is None else {},
        behaviour=None if behaviour is None else BehaviourWindows(behaviour.window_s, behaviour.history_s),
        settings=_set(settings),
        records=records,
    )


def _set(settings: "ServingSettings") -> Mapping[str, Any]:
    return settings.model_dump(mode="json", exclude_defaults=True)


def _full(place: str) -> str:
    """A path that another process finds too."""
    return place if "://" in place else str(Path(place).absolute())


def _workers(count: int | None, address: str | None) -> "Workers":
    from serving.app import compose
    from serving.batch.run import here

    if count == 0:
        return here(compose)
    from serving.batch.ray_data import on_ray

    cores = len(os.sched_getaffinity(0))
    elsewhere = address or os.environ.get("RAY_ADDRESS")

    def score(job: Any, units: Any) -> Any:
        if count is None and len(units) == 1 and not elsewhere:
            return here(compose)(job, units)
        return on_ray(compose, count or cores, elsewhere)(job, units)

    return score


def _moment(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text}: expected a time in RFC 3339, e.g. 2011-08-18T13:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _show(job: "BatchJob", summary: "Summary") -> None:
    rows = [*summary.counts.items(), ("in all", summary.rows)]
    print_table(f"{job.input} by {job.model}", ["", "rows"], rows, right=["rows"])
    errors.print(
        f"{summary.scored_units} of {summary.units} files written, the others were done; {summary.rows_per_s:,} rows/s; {job.output}",
        markup=False,
    )
