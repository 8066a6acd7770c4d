"""`vedette score FILE`: the verdicts of a file's rows, by the same Scorer that serves (the batch door), in this process.

operators.cli.models.rows reads rows into request columns; row_answers splits answers into rows. A row that cannot be scored is
rejected with its reason; none is lost."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from operators.cli.console import CommandError, Json, errors, print_json, print_table, progress
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from operators.cli.models.row_answers import ScoredRow
    from serving.settings import ServingSettings


EXPLAIN_BUDGET_S: Final = 60.0
"""For the explanations of one part of the file: nobody waits for them as a client does."""


def score(
    file: Annotated[Path, typer.Argument(help="Rows as .jsonl or .parquet, with the columns the model takes.")],
    model: Annotated[str, typer.Option(help="Model name.")] = "flows",
    version: Annotated[str | None, typer.Option(help="Model version (default: the newest).")] = None,
    operating_point: Annotated[str | None, typer.Option(help="Operating point (default: the model's own).")] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            help="Explain every row by shap, rules or counterfactual (slower); see the field `explanation` of each line."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the verdicts to this file, as JSON lines (default: stdout).")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Score the rows of a file: one JSON line per row, and a summary on stderr."""
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    parameters = {} if operating_point is None else {"operating_point": operating_point}
    if explain is not None:
        parameters["explain"] = _method(explain)
    if out is not None and out.exists() and file.exists() and out.samefile(file):
        raise CommandError(f"--out {out}: is the file of rows itself and would be overwritten; name another file")
    counts, took_s = asyncio.run(_score(settings, file, model, version, parameters, out))
    rows_per_s = round(counts.total() / took_s) if took_s else 0
    found = dict(sorted(counts.items()))
    if as_json and out is not None:
        print_json({"rows": counts.total(), **found, "rows_per_s": rows_per_s})
    elif out is not None:
        rows = [*found.items(), ("in all", counts.total())]
        print_table(f"{file} by {model}", ["", "rows"], rows, right=["rows"])
        errors.print(f"{rows_per_s:,} rows/s")
    else:
        summary = ", ".join(f"{count} {what}" for what, count in found.items())
        errors.print(f"{counts.total()} rows: {summary}; {rows_per_s:,} rows/s", markup=False)


@contextmanager
def _output(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with out.open("wb") as stream:
        yield stream


async def _score(
    settings: "ServingSettings", file: Path, model: str, version: str | None, parameters: dict[str, str], out: Path | None
) -> tuple[Counter[str], float]:
    """Numbers of rows by outcome, and the seconds it took."""
    from operators.cli.models.row_answers import answer_rows, is_by_row
    from operators.cli.models.rows import count_rows, read_chunks
    from serving.app import compose
    from serving.audit.record import NotRecorded
    from serving.models.store import open_store
    from serving.spec import ModelSpec, RevisionSpec, ServingSpec

    bundle = await asyncio.to_thread(open_store(settings).resolve, model, version)
    point = parameters.get("operating_point")
    if point is not None and point not in bundle.manifest.operating_points:
        known = sorted(bundle.manifest.operating_points)
        raise CommandError(f"--operating-point {point}: model {model!r} has {known or 'none; leave it out'}")
    if "explain" in parameters and bundle.manifest.score is None:
        raise CommandError(f"--explain: model {model!r} has no score, so there is no verdict to explain; leave it out")
    total = count_rows(file)
    # A breaker spares clients a failing model; here it would set aside the good rows that come after some bad ones.
    composition = await compose(settings.model_copy(update={"breakers": False, "explain_budget_s": EXPLAIN_BUDGET_S}))
    started, counts = time.monotonic(), Counter[str]()
    try:
        model_spec = ModelSpec(name=model, version=bundle.manifest.version, revision=RevisionSpec(bundle=bundle.digest))
        await composition.service.apply(ServingSpec(models=(model_spec,)))
        if not composition.service.is_ready():
            raise CommandError(f"model {model!r} cannot be loaded: {composition.service.why_not_ready()}")
        most_rows = _most_rows(settings, "explain" in parameters) if is_by_row(bundle.manifest) else 1
        with progress() as display, _output(out) as stream:
            task = display.add_task(f"scoring {file.name}", total=total)
            for chunk in read_chunks(file, bundle.manifest, most_rows=most_rows):
                for line in await answer_rows(composition.service, bundle.manifest, parameters, chunk):
                    _write(line, counts, stream)
                display.advance(task, chunk.size)
    except NotRecorded as problem:
        raise CommandError(
            f"{file}: stopped after {counts.total()} rows: {problem.message}; check the disk of {settings.store_dir / 'audit'}, "
            "or set VEDETTE_AUDIT=async to score without waiting for records"
        ) from problem
    finally:
        await composition.close()
    return counts, time.monotonic() - started


def _method(explain: str) -> str:
    from serving.scoring.explained import METHODS

    if explain not in METHODS:
        raise CommandError(f"--explain {explain}: expected one of {', '.join(METHODS)}")
    return explain


def _most_rows(settings: "ServingSettings", is_explained: bool) -> int:
    from serving.scoring.explained import MOST_ROWS

    return min(settings.max_rows, MOST_ROWS) if is_explained else settings.max_rows


def _write(line: "ScoredRow", counts: Counter[str], stream: IO[bytes]) -> None:
    import orjson

    if line.error is not None and not counts["rejected"]:
        errors.print(f"row {line.row} is rejected: {line.error}", markup=False)
    counts["rejected" if line.error is not None else line.verdict or "answered"] += 1
    stream.write(orjson.dumps(line.body(), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY))
