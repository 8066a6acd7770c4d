"""The Scorer in Spark's own Python workers: a function for `DataFrame.mapInPandas`, and the schema of its output.

    bundle = "/dbfs/models/flows"        # a folder that every executor can read; SparkContext.addFile(..., recursive=True) makes one
    scored = frame.mapInPandas(map_scorer(bundle, compose), spark_schema(bundle, keep="flow_id string"))

A frame has the columns that the model takes: its request fields, and for a model with features those too, as `view__feature`, which Spark
has joined as of each event. Nothing is looked up and nothing is written: Spark commits, and tells who computed what. pyspark is not
imported: it calls this."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from serving.batch.data.columns import TypedRows, read_columns
from serving.batch.data.source import Source, SourceColumn
from serving.batch.errors import BatchError
from serving.batch.job import BatchJob
from serving.batch.scoring.composed import REQUEST_ROWS, ComposedScorer, ComposeWith
from serving.batch.scoring.given_features import GivenFeatures
from serving.batch.scoring.verdict_rows import AUDIT, outputs_of
from serving.clock import SystemClock
from serving.errors import ModelFault, ServingError
from serving.messages import DTYPES, InferAnswer, Tensor
from serving.models.assembly import assemble, plan_assembly
from serving.models.bundle import Bundle, read_bundle
from serving.models.manifest import Manifest
from serving.models.store import BundleStore
from serving.scoring.triage.outcomes import sources_by_row
from serving.spec import RevisionSpec

Frames = Iterator[Any]
"""pandas data frames, some thousand rows each."""
_DDL: Final[Mapping[Any, str]] = {
    pa.string(): "string", pa.bool_(): "boolean", pa.float32(): "float", pa.float64(): "double",
    pa.int8(): "tinyint", pa.int16(): "smallint", pa.int32(): "int", pa.int64(): "bigint",
}  # fmt: skip
_KINDS: Final = {"BYTES": "string", "BOOL": "bool"}
_NOT_HERE: Final = ("receipt",)
"""Nothing is recorded, so there is no receipt."""
_opened: dict[str, "_BundleScorer"] = {}
"""The scorer of this Python worker, by bundle and operating point: Spark calls the function once for each partition."""


def map_scorer(
    bundle: str, compose: ComposeWith, *, keep: str = "", operating_point: str | None = None
) -> Callable[[Frames], Frames]:
    """The function for `mapInPandas`. bundle: a bundle's folder. compose: serving.app.compose. keep: columns that are handed through, as
    Spark writes a schema (`flow_id string, at timestamp`)."""
    kept = [part.split()[0] for part in keep.split(",") if part.strip()]

    def score(frames: Frames) -> Frames:
        scorer = _scorer_of(bundle, compose, operating_point)
        for frame in frames:
            for first in range(0, len(frame), REQUEST_ROWS):
                part = frame.iloc[first : first + REQUEST_ROWS].reset_index(drop=True)
                yield pd.concat([part[kept], scorer.score(part)], axis=1)

    return score


def spark_schema(bundle: str, *, keep: str = "") -> str:
    """The schema of the result, as Spark writes it. Raises BundleError."""
    outputs = outputs_of(read_bundle(Path(bundle)).manifest)
    columns = {**{name: _ddl(kind) for name, kind in outputs.items()}, **dict.fromkeys(_audit(), "string"), "error": "string"}
    return ", ".join([*([keep] if keep else []), *(f"{name} {kind}" for name, kind in columns.items())])


def _audit() -> list[str]:
    return [name for name in AUDIT if name not in _NOT_HERE]


def _ddl(kind: Any) -> str:
    if pa.types.is_dictionary(kind):
        return "string"
    if pa.types.is_list(kind):
        return f"array<{_ddl(kind.value_type)}>"
    return _DDL[kind]


def _scorer_of(bundle: str, compose: ComposeWith, operating_point: str | None) -> "_BundleScorer":
    key = f"{bundle}\n{operating_point}"
    if key not in _opened:
        for former in list(_opened):
            _opened.pop(former).close()
        _opened[key] = _BundleScorer(bundle, compose, operating_point)
    return _opened[key]


class _BundleScorer:
    """Scores frames with one bundle, from a store of its own in a temporary folder."""

    def __init__(self, folder: str, compose: ComposeWith, operating_point: str | None) -> None:
        bundle = read_bundle(Path(folder))
        self._manifest = bundle.manifest
        self._scratch = tempfile.TemporaryDirectory(prefix="vedette-spark-")
        try:
            self._open(bundle, compose, operating_point)
        except BaseException:
            self._scratch.cleanup()
            raise

    def _open(self, bundle: Bundle, compose: ComposeWith, operating_point: str | None) -> None:
        store = Path(self._scratch.name) / "store"
        BundleStore(store).add(bundle)
        revision = RevisionSpec(bundle=bundle.digest, operating_point=operating_point)
        job = BatchJob(
            input=str(store),
            output=str(store),
            model=bundle.manifest.name,
            version=bundle.manifest.version,
            bundle=bundle.digest,
            revision=revision.model_dump(mode="json", exclude_defaults=True),
            revision_digest=revision.digest,
            source=Source(()),
            settings={"store_dir": str(store)},
            records="files",
        )
        self._source, self._datatypes = _columns(self._manifest)
        self._scorer = ComposedScorer(job, compose, SystemClock(), GivenFeatures(self._manifest))

    def close(self) -> None:
        """Release everything."""
        try:
            self._scorer.close()
        finally:
            self._scratch.cleanup()

    def score(self, frame: Any) -> Any:
        """The verdicts of a frame's rows (a frame), in its order. Raises BatchError for a frame without a column."""
        table = pa.Table.from_pandas(frame, preserve_index=False)
        rows = read_columns(table, self._source, allow_nonfinite=self._manifest.allow_nonfinite)
        made: list[Any] = [None] * len(frame)
        for row, why in rows.why.items():
            made[row] = {"error": why}
        good = np.array([row for row in range(len(frame)) if row not in rows.why], dtype=np.intp)
        waiting = [good] if len(good) else []
        while waiting:
            index = waiting.pop()
            try:
                for row, values in zip(index.tolist(), self._rows(self._ask(rows, index), len(index)), strict=True):
                    made[row] = values
            except ServingError as problem:
                if problem.can_retry:
                    raise BatchError(problem.message) from problem
                if len(index) == 1:
                    made[int(index[0])] = {"error": problem.message}
                else:
                    waiting += np.array_split(index, 2)
        kinds = {**outputs_of(self._manifest), **dict.fromkeys([*_audit(), "error"], pa.string())}
        columns = {name: [row.get(name) for row in made] for name in kinds}
        return pd.DataFrame({name: _series(values, kinds[name]) for name, values in columns.items()})

    def _ask(self, rows: TypedRows, index: NDArray[np.intp]) -> InferAnswer:
        columns = {
            name: rows.columns[name].values[index].astype(DTYPES[datatype], copy=False)
            for name, datatype in self._datatypes.items()
        }
        if self._manifest.feature_service is None:
            return self._scorer.ask(tuple(Tensor(n, self._datatypes[n], values) for n, values in columns.items()))
        tensors = assemble(plan_assembly(self._manifest), columns, len(index))
        types = {t.name: t.datatype for t in self._manifest.inputs}
        return self._scorer.ask(tuple(Tensor(name, types[name], values) for name, values in tensors.items()))

    def _rows(self, answer: InferAnswer, rows: int) -> list[dict[str, Any]]:
        told = {"model": answer.model, "version": answer.version, **answer.parameters}
        same = {name: told.get(name) for name in _audit()}
        columns = {tensor.name: _plain(tensor, rows) for tensor in answer.outputs}
        if (sources := sources_by_row(answer.parameters, rows)) is not None:
            columns["source"] = sources
        return [{**same, **{name: values[row] for name, values in columns.items()}} for row in range(rows)]


def _series(values: list[Any], kind: Any) -> Any:
    """A column that Spark makes an array of, also where all of it is null."""
    return pd.Series(values, dtype="float64" if pa.types.is_floating(kind) else object)


def _plain(tensor: Tensor, rows: int) -> list[Any]:
    if tensor.shape[:1] != (rows,):
        raise ModelFault(f"the model answered {tensor.name!r} of shape {list(tensor.shape)} to {rows} row(s)")
    values = tensor.data.reshape(rows) if tensor.data.ndim == 2 and tensor.data.shape[1] == 1 else tensor.data
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values.tolist()]


def _columns(manifest: Manifest) -> tuple[Source, dict[str, str]]:
    """What a frame must have, and each column's datatype in a request."""
    if manifest.feature_service is not None:
        tensors = {t.name: t.datatype for t in manifest.inputs}
        types = {column: tensors[part.tensor] for part in manifest.assembly for column in part.columns}
    else:
        fields = (*manifest.entity_keys, *manifest.request_fields) if manifest.assembly else manifest.inputs
        types = {field.name: field.datatype for field in fields}
    columns = tuple(_column(name, datatype) for name, datatype in types.items())
    return Source(columns, fields=tuple(types)), types


def _column(name: str, datatype: str) -> SourceColumn:
    kind: Any = _KINDS.get(datatype) or ("float" if datatype.startswith("FP") else "int")
    return SourceColumn(name, kind, is_narrow=datatype == "FP32")
