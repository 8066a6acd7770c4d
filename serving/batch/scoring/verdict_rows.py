"""The output's rows: one for each row of the input, with the fields that account for its verdict (docs/reference/batch.md)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.errors import ModelFault
from serving.messages import InferAnswer, Tensor
from serving.models.manifest import Manifest, TensorSpec
from serving.scoring.triage.outcomes import sources_by_row

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
_TYPES: Final[Mapping[str, Any]] = {
    "BOOL": pa.bool_(), "FP32": pa.float32(), "FP64": pa.float64(), "FP16": pa.float32(), "BYTES": pa.string(),
    **{f"{sign}INT{bits}": getattr(pa, f"{sign.lower()}int{bits}")() for sign in ("", "U") for bits in (8, 16, 32, 64)},
}  # fmt: skip
AUDIT: Final[Mapping[str, Any]] = {
    "model": _WORD, "version": _WORD, "revision": _WORD, "variant": _WORD, "source": _WORD, "operating_point": _WORD,
    "receipt": _WORD,
}  # fmt: skip


def schema_of(manifest: Manifest) -> Any:
    """The output's schema (a pyarrow Schema) for this bundle."""
    fields = {"source_file": _WORD, "source_row": pa.int64(), "event_time": pa.timestamp("us", "UTC")}
    fields |= {key.name: _TYPES[key.datatype] for key in manifest.entity_keys if key.name not in fields}
    fields |= outputs_of(manifest)
    fields |= {name: kind for name, kind in AUDIT.items() if name not in fields}
    return pa.schema(
        {**fields, "receipt_row": pa.int32(), "rules": pa.list_(pa.string()), "suppressed_by": _WORD, "error": pa.string()}
    )


def outputs_of(manifest: Manifest) -> dict[str, Any]:
    """The outputs of an answer and their types in the file."""
    if manifest.score is None:
        return {t.name: _type_of(t) for t in manifest.outputs}
    calibrated = {"probability": pa.float32()} if manifest.calibration else {}
    return {"verdict": _WORD, "score": pa.float32(), **calibrated, "degraded": pa.bool_()}


def answered(answer: InferAnswer, manifest: Manifest, place: Mapping[str, Any]) -> Any:
    """Rows (a Table) of an answer. place: columns that say which rows they are (schema's first ones). Raises ModelFault."""
    rows = len(place["source_row"])
    columns = dict(place)
    for tensor in answer.outputs:
        columns[tensor.name] = _values(tensor, rows)
    told = {"model": answer.model, "version": answer.version, **answer.parameters}
    for name in AUDIT:
        columns[name] = _same(told.get(name), rows)
    if (sources := sources_by_row(answer.parameters, rows)) is not None:
        columns["source"] = sources
    columns["receipt_row"] = np.arange(rows, dtype=np.int32)
    columns["rules"] = json.loads(str(told["rules"])) if "rules" in told else None
    columns["suppressed_by"] = json.loads(str(told["suppressed_by"])) if "suppressed_by" in told else None
    return _table(columns, schema_of(manifest), rows)


def rejected(why: Sequence[str], manifest: Manifest, place: Mapping[str, Any]) -> Any:
    """Rows (a Table) that were not scored, with the reason of each."""
    return _table({**place, "error": list(why)}, schema_of(manifest), len(why))


def _table(columns: Mapping[str, Any], schema: Any, rows: int) -> Any:
    made = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            made.append(pa.nulls(rows, field.type))
        elif isinstance(values, pa.Array):
            made.append(values if values.type == field.type else values.cast(field.type))
        elif pa.types.is_timestamp(field.type):
            made.append(pa.array(values, pa.int64(), mask=values < -(2**62)).cast(field.type))
        elif pa.types.is_dictionary(field.type):
            made.append(_words(values).cast(field.type))
        else:
            made.append(pa.array(_texts(values) if field.type == pa.string() else values, field.type))
    return pa.Table.from_arrays(made, schema=schema)


def _words(values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.dtype == object:  # few words, as shared objects
        codes = {word: code for code, word in enumerate(dict.fromkeys(values.tolist()))}
        numbers = np.fromiter((codes[value] for value in values.tolist()), np.int32, len(values))
        words = [word.decode(errors="replace") if isinstance(word, bytes) else word for word in codes]
        return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(words, pa.string()))
    return pa.array(_texts(values), pa.string()).dictionary_encode()


def _texts(values: Any) -> Any:
    """Bytes as text, whatever they hold."""
    if isinstance(values, np.ndarray) and values.dtype == object:
        try:
            return pa.array(values, pa.binary()).cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values.tolist()]
    return values


def _same(value: object, rows: int) -> Any:
    if value is None:
        return pa.nulls(rows, _WORD)
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([str(value)]))


def _values(tensor: Tensor, rows: int) -> Any:
    data: NDArray[Any] = tensor.data
    if data.shape[:1] != (rows,):
        raise ModelFault(f"the model answered {tensor.name!r} of shape {list(data.shape)} to {rows} row(s)")
    if data.ndim == 2 and data.shape[1] == 1:
        data = data.reshape(rows)
    return data if data.ndim == 1 else data.tolist()


def _type_of(spec: TensorSpec) -> Any:
    kind = _TYPES[spec.datatype]
    for size in spec.shape[1:]:
        kind = kind if size == 1 and len(spec.shape) == 2 else pa.list_(kind)
    return kind
