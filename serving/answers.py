"""What an answer says: the outputs asked for, the operating point, the verdict, and where it came from. Core."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.inputs import ColumnRows, TensorRows
from serving.lineup import VARIANT, Member
from serving.models.onnx import as_wire_bytes
from serving.ports import FeatureRows
from serving.protocol.messages import DATATYPES, InferRequest, Tensor
from serving.served import Served
from serving.verdicts import VERDICT_BYTES, scores_of, verdict_codes

SOURCE: Final = "model"
MIXED: Final = "mixed"
"""Stands for a parameter in which the variants that answered differ."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of a batch, and the verdicts of one operating point (codes: 0 benign, 1 investigate, 2 alert)."""

    point: str
    scores: NDArray[np.float32]
    codes: NDArray[np.intp]


@dataclass(slots=True)
class Part:
    """What one variant makes of its rows. index: which rows of the request, None for all. None: the stage did not happen."""

    member: Member
    rows: TensorRows | ColumnRows
    point: str | None
    index: NDArray[np.intp] | None = None
    features: FeatureRows | None = None
    raw: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    judged: Judged | None = None
    degraded: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    counts: tuple[int, int, int] | None = None
    """Rows that are benign, investigate, alert."""
    degraded_rows: int = 0
    feature_s: float | None = None
    model_s: float | None = None
    fallback_from: str | None = None
    """The variant that failed and whose rows these are."""


def operating_point_of(served: Served, request: InferRequest) -> str | None:
    """The operating point this request is judged at; None for a model without a score. Raises BadRequest for an unknown one."""
    parameters = request.parameters
    asked = parameters.get("operating_point", parameters.get("scenario"))
    if asked is None:
        return served.default_point
    if asked in served.points:
        return str(asked)
    known = sorted(served.points)
    if not known:
        raise BadRequest(f"parameter 'operating_point' is {asked!r}, but model {served.name!r} has none; leave it out")
    raise BadRequest(f"parameter 'operating_point' is {asked!r}; model {served.name!r} has {known}")


def wanted_outputs(served: Served, request: InferRequest) -> tuple[str, ...]:
    """Names of the outputs to answer, in order. Raises BadRequest for unknown or repeated names."""
    if not request.outputs:
        return served.verdict_outputs or tuple(o.name for o in served.manifest.outputs)
    names = tuple(o.name for o in request.outputs)
    unknown = [n for n in names if n not in served.model_outputs and n not in served.verdict_outputs and n != VARIANT]
    if unknown:
        known = [*served.verdict_outputs, *(o.name for o in served.manifest.outputs)]
        raise BadRequest(f"outputs {unknown} are unknown; model {served.name!r} has {known}")
    if len(set(names)) != len(names):
        raise BadRequest(f"outputs {sorted({n for n in names if names.count(n) > 1})} are asked for more than once; ask once")
    return names


def judge(served: Served, raw: Mapping[str, NDArray[Any]], rows: int, point: str | None) -> Judged | None:
    """Scores and verdicts; None for a model without a score."""
    spec = served.manifest.score
    if spec is None or point is None:
        return None
    try:
        scores = scores_of(raw, spec, rows)
    except ValueError as problem:
        raise BadRequest(f"model {served.name!r}: {problem}") from problem
    return Judged(point, scores, verdict_codes(scores, served.points[point]))


def output_tensor(name: str, parts: Sequence[Part], rows: int) -> Tensor:
    """One output of the answer, its rows in the request's order. Raises BadRequest if the model cannot give it."""
    if len(parts) == 1:
        return _output(name, parts[0])
    made = [_output(name, part) for part in parts]
    first = made[0]
    if any(m.datatype != first.datatype or m.shape[1:] != first.shape[1:] for m in made) or any(
        m.shape[:1] != (part.rows.rows,) for m, part in zip(made, parts, strict=True)
    ):
        raise BadRequest(
            f"output {name!r} does not have one entry a row, and the rows of this request meet several variants; send them one by one"
        )
    data = np.empty((rows, *first.shape[1:]), dtype=first.data.dtype)
    for tensor, part in zip(made, parts, strict=True):
        data[part.index] = tensor.data
    return Tensor(name, first.datatype, data)


def _output(name: str, part: Part) -> Tensor:
    served, raw, judged = part.member.served, part.raw, part.judged
    if name in raw and name not in served.verdict_outputs:
        values = raw[name]
        values = as_wire_bytes(values) if values.dtype.kind in "OUS" else values
        return Tensor(name, DATATYPES[values.dtype], values)
    if name == VARIANT:
        return Tensor(name, "BYTES", np.full(part.rows.rows, served.variant.encode(), dtype=object))
    if judged is None:
        raise BadRequest(f"output {name!r} needs a model with a score")
    if name == "verdict":
        return Tensor(name, "BYTES", VERDICT_BYTES[judged.codes])
    if name == "score":
        return Tensor(name, "FP32", judged.scores)
    if name == "degraded":
        return Tensor(name, "BOOL", part.degraded)
    table = served.calibration
    if table is None:
        raise BadRequest(f"output {name!r} needs a calibrated model")
    steps = table.look_up(judged.scores)
    chosen = {"probability": table.merged, "probability_low": table.low, "probability_high": table.high}[name]
    return Tensor(name, "FP32", chosen[steps])


def answer_parameters(parts: Sequence[Part], receipt: str, trace_id: str | None) -> dict[str, bool | int | float | str]:
    """The answer's parameters: revision, variant, source, receipt, operating point, degradation, feature age, trace.

    Where several variants answered, what they differ in says `mixed`, and `variants` is a JSON text with each one's own."""
    parameters: dict[str, bool | int | float | str] = {
        "revision": _common([part.member.served.revision for part in parts]),
        "variant": _common([part.member.served.variant for part in parts]),
        "source": SOURCE,
        "receipt": receipt,
    }
    points = [part.judged.point for part in parts if part.judged is not None]
    if points:
        parameters["operating_point"] = _common(points)
    if parts[0].features is not None:
        parameters["degraded"] = any(part.degraded_rows for part in parts)
        ages = [part.features.oldest_age_ms for part in parts if part.features and part.features.oldest_age_ms is not None]
        if ages:
            parameters["feature_age_ms"] = max(ages)
    fallen = [part.fallback_from for part in parts if part.fallback_from is not None]
    if fallen:
        parameters["fallback_from"] = _common(fallen)
    if len(parts) > 1:
        parameters["variants"] = json.dumps([_said(part) for part in parts])
    if trace_id is not None:
        parameters["trace_id"] = trace_id
    return parameters


def _common(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 or len(set(values)) == 1 else MIXED


def _said(part: Part) -> dict[str, str | int]:
    served = part.member.served
    said: dict[str, str | int] = {
        "variant": served.variant,
        "version": served.version,
        "revision": served.revision,
        "rows": part.rows.rows,
    }
    if part.judged is not None:
        said["operating_point"] = part.judged.point
    if part.fallback_from is not None:
        said["fallback_from"] = part.fallback_from
    return said
