"""What an answer says: the outputs asked for, the operating point, the verdict, and where it came from. Core."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.models.onnx import as_wire_bytes
from serving.ports import FeatureRows
from serving.protocol.messages import DATATYPES, InferRequest, Tensor
from serving.served import Served
from serving.verdicts import VERDICT_BYTES, scores_of, verdict_codes

SOURCE: Final = "model"


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of a batch, and the verdicts of one operating point (codes: 0 benign, 1 investigate, 2 alert)."""

    point: str
    scores: NDArray[np.float32]
    codes: NDArray[np.intp]


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
    unknown = [n for n in names if n not in served.model_outputs and n not in served.verdict_outputs]
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


def output_tensor(
    name: str, served: Served, raw: Mapping[str, NDArray[Any]], judged: Judged | None, degraded: NDArray[np.bool_]
) -> Tensor:
    """One output of the answer. Raises BadRequest if the model cannot give it."""
    if name in raw and name not in served.verdict_outputs:
        values = raw[name]
        values = as_wire_bytes(values) if values.dtype.kind in "OUS" else values
        return Tensor(name, DATATYPES[values.dtype], values)
    if judged is None:
        raise BadRequest(f"output {name!r} needs a model with a score")
    if name == "verdict":
        return Tensor(name, "BYTES", VERDICT_BYTES[judged.codes])
    if name == "score":
        return Tensor(name, "FP32", judged.scores)
    if name == "degraded":
        return Tensor(name, "BOOL", degraded)
    table = served.calibration
    if table is None:
        raise BadRequest(f"output {name!r} needs a calibrated model")
    steps = table.look_up(judged.scores)
    chosen = {"probability": table.merged, "probability_low": table.low, "probability_high": table.high}[name]
    return Tensor(name, "FP32", chosen[steps])


def answer_parameters(
    served: Served, judged: Judged | None, features: FeatureRows | None, receipt: str, trace_id: str | None
) -> dict[str, bool | int | float | str]:
    """The answer\'s parameters: revision, variant, source, receipt, operating point, degradation, feature age, trace."""
    parameters: dict[str, bool | int | float | str] = {
        "revision": served.revision,
        "variant": served.variant,
        "source": SOURCE,
        "receipt": receipt,
    }
    if judged is not None:
        parameters["operating_point"] = judged.point
    if features is not None:
        parameters["degraded"] = bool(features.degraded.any())
        if features.oldest_age_ms is not None:
            parameters["feature_age_ms"] = features.oldest_age_ms
    if trace_id is not None:
        parameters["trace_id"] = trace_id
    return parameters
