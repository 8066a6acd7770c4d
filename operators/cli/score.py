"""`vedette score FILE`: the verdicts of a file's rows, by the same Scorer that serves (the batch door), in this process.

Reading rows into request columns is operators.cli.rows'. A row that cannot be scored is answered with its reason; none is lost."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, print_json, print_table, progress

if TYPE_CHECKING:
    from operators.cli.rows import Chunk
    from serving.protocol.messages import InferAnswer
    from serving.service import Inference
    from serving.settings import ServingSettings


def score(
    file: Annotated[Path, typer.Argument(help="Rows as .jsonl or .parquet, with the columns the model takes.")],
    model: Annotated[str, typer.Option(help="Model name.")] = "flows",
    version: Annotated[str | None, typer.Option(help="Model version [default: the newest].")] = None,
    operating_point: Annotated[str | None, typer.Option(help="Scenario [default: the model's own].")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the verdicts go, as JSON lines [default: stdout].")] = None,
    store_dir: Annotated[Path | None, typer.Option(help="Store folder [default: .vedette].")] = None,
    as_json: Json = False,
) -> None:
    """Score the rows of a file; one JSON line a row, and a summary on stderr."""
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    parameters = {} if operating_point is None else {"operating_point": operating_point}
    with _output(out) as stream:
        summary = asyncio.run(_score(settings, file, model, version, parameters, stream))
    if as_json and out is not None:
        print_json(summary)
    elif out is not None:
        print_table(f"{file} by {model}", ["", "rows"], [[k, v] for k, v in summary.items()], right=["rows"])
    else:
        errors.print(", ".join(f"{k} {v}" for k, v in summary.items()))


@contextmanager
def _output(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with out.open("wb") as stream:
        yield stream


async def _score(
    settings: "ServingSettings", file: Path, model: str, version: str | None, parameters: dict[str, str], stream: IO[bytes]
) -> dict[str, object]:
    import orjson

    from operators.cli.rows import count_rows, read_chunks
    from serving.app import compose
    from serving.models.store import BundleStore
    from serving.spec import ModelSpec, RevisionSpec, ServingSpec

    bundle = await asyncio.to_thread(BundleStore(settings.store_dir).resolve, model, version)
    total = count_rows(file)
    composition = await compose(settings)
    started, counts = time.monotonic(), Counter[str]()
    try:
        wanted = ModelSpec(name=model, version=bundle.manifest.version, revision=RevisionSpec(bundle=bundle.digest))
        await composition.service.apply(ServingSpec(models=(wanted,)))
        if not composition.service.is_ready():
            raise CommandError(f"model {model!r} cannot be loaded: {composition.service.why_not_ready()}")
        with progress() as display:
            task = display.add_task(f"scoring {file.name}", total=total)
            for chunk in read_chunks(file, bundle.manifest):
                for line in await _lines(composition.service, model, parameters, chunk):
                    if "error" in line and not counts["rejected"]:
                        errors.print(f"row {line['row']} is rejected: {line['error']}", markup=False)
                    counts["rejected" if "error" in line else str(line.get("verdict", "answered"))] += 1
                    stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY))
                display.advance(task, chunk.size)
    finally:
        await composition.close()
    took_s = time.monotonic() - started
    return {**dict(sorted(counts.items())), "rows_per_s": round(total / took_s) if took_s else 0}


async def _lines(service: "Inference", model: str, parameters: dict[str, str], chunk: "Chunk") -> list[dict[str, Any]]:
    from serving.protocol.messages import InferRequest

    lines: list[dict[str, Any]] = [{"row": row, "error": why} for row, why in chunk.rejected]
    if chunk.rows:
        request = InferRequest(model, None, chunk.inputs, parameters=parameters, door="batch", deadline_s=600.0)
        lines += _answers(chunk, await service.infer(request))
    return sorted(lines, key=lambda line: int(line["row"]))


def _answers(chunk: "Chunk", answer: "InferAnswer") -> list[dict[str, Any]]:
    columns = {
        t.name: [v.decode() for v in t.data.tolist()] if t.datatype == "BYTES" else t.data.tolist() for t in answer.outputs
    }
    columns["receipt"] = [answer.parameters.get("receipt")] * len(chunk.rows)
    named = {**chunk.keys, **columns}
    return [{"row": row, **{name: values[i] for name, values in named.items()}} for i, row in enumerate(chunk.rows)]
