"""The rows of a risk file: one for each entity and window, with its parts (docs/reference/batch.md)."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.batch.behaviour.features import FEATURES
from serving.batch.behaviour.spec import BehaviourSpec, share_below
from serving.messages import InferAnswer

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
_TIME: Final = pa.timestamp("us", "UTC")
PART: Final = pa.struct({"feature": pa.string(), "value": pa.float64(), "percentile": pa.float64()})
UNUSUAL: Final = 0.975
"""A feature's value is unusual above this share of the reference, or below its complement."""
_ALL: Final = 0.9995
_MOST_REASONS: Final = 5


def risk_schema(spec: BehaviourSpec) -> Any:
    """The schema (a pyarrow Schema)."""
    fields: dict[str, Any] = {spec.roles.entity: pa.string(), "window_start": _TIME, "window_end": _TIME, "events": pa.int64()}
    fields |= {"risk": pa.float64(), "score": pa.float32(), "percentile": pa.float64(), "verdict": _WORD}
    fields |= {"parts": pa.list_(PART), "reasons": pa.list_(pa.string()), "history_known": pa.bool_()}
    audit = ("model", "version", "revision", "variant", "source", "operating_point", "receipt")
    return pa.schema({**fields, **dict.fromkeys(audit, _WORD), "receipt_row": pa.int32(), "error": pa.string()})


def risk_table(
    spec: BehaviourSpec,
    keys: NDArray[Any],
    window_us: tuple[int, int],
    events: NDArray[np.int64],
    features: Mapping[str, NDArray[np.float64]],
    answer: InferAnswer,
    *,
    is_history_known: bool,
) -> Any:
    """The rows (a Table) of the entities of one answer. keys: of them, text as bytes."""
    outputs = {tensor.name: tensor.data for tensor in answer.outputs}
    score = outputs["score"].astype(np.float64)
    percentile = share_below(score, spec.reference.score)
    shares = {name: share_below(values, spec.reference.features[name]) for name, values in features.items()}
    rows = len(keys)
    order = np.argsort([-np.abs(2 * shares[name] - 1) for name in features], axis=0, kind="stable")
    names = list(features)
    parts, reasons = [], []
    for row in range(rows):
        ranked = [names[at] for at in order[:, row]]
        parts.append([{"feature": n, "value": float(features[n][row]), "percentile": float(shares[n][row])} for n in ranked])
        unusual = [n for n in ranked if not 1 - UNUSUAL <= shares[n][row] <= UNUSUAL][:_MOST_REASONS]
        reasons.append([reason(spec, n, float(features[n][row]), float(shares[n][row])) for n in unusual])
    told = {"model": answer.model, "version": answer.version, **answer.parameters}
    columns: dict[str, Any] = {
        spec.roles.entity: [k.decode(errors="replace") if isinstance(k, bytes) else str(k) for k in keys.tolist()],
        "window_start": pa.array(np.full(rows, window_us[0])).cast(_TIME),
        "window_end": pa.array(np.full(rows, window_us[1])).cast(_TIME),
        "events": events,
        "risk": percentile,
        "score": outputs["score"],
        "percentile": percentile,
        "verdict": pa.array([v.decode() for v in outputs["verdict"].tolist()]).cast(_WORD),
        "parts": parts,
        "reasons": reasons,
        "history_known": np.full(rows, is_history_known),
        "receipt_row": np.arange(rows, dtype=np.int32),
        "error": [None] * rows,
    }
    schema = risk_schema(spec)
    made = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            values = pa.array([told.get(field.name)] * rows, pa.string()).cast(field.type)
        made.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
    return pa.Table.from_arrays(made, schema=schema)


def reason(spec: BehaviourSpec, feature: str, value: float, share: float) -> str:
    """A sentence about an unusual value."""
    text = spec.texts.get(feature, f"{FEATURES[feature]}: {{value}}")
    above = max(share, 1 - share)
    rank = "all" if above > _ALL else f"{above:.1%}"
    return f"{text.format(value=f'{value:.3g}')}; {'more' if share > 0.5 else 'less'} than in {rank} of the reference"
