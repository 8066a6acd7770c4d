"""The ways a revision is asked: what of a request's work is the same whenever the same outputs are wanted at the same operating
point. Core; worked out on the first such request and kept with the revision."""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.messages import DATATYPES, InferRequest, Tensor
from serving.models.onnx import as_wire_bytes
from serving.models.verdicts import VERDICT_BYTES, VerdictThresholds
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import MODEL, AnswerPlan, Judged, OutputMaker, RowGroup
from serving.scoring.variant_set import VARIANT

_MOST: Final = 64
"""Ways kept of one revision; a client that asks in ever new ways has the others worked out each time."""
_CALIBRATED: Final = {"probability": "merged", "probability_low": "low", "probability_high": "high"}


def answer_plan_of(served: LoadedRevision, wanted: tuple[str, ...], point: str | None) -> AnswerPlan:
    """How to answer these outputs at this operating point, both checked before."""
    way = cast(AnswerPlan | None, served.ways.get((wanted, point)))
    if way is None:
        way = _way(served, wanted, point)
        if len(served.ways) < _MOST:
            served.ways[wanted, point] = way
    return way


def operating_point_of(served: LoadedRevision, request: InferRequest) -> str | None:
    """The operating point this request is judged at; None for a model without a score. Raises BadRequest for an unknown one."""
    parameters = request.parameters
    asked = parameters.get("operating_point", parameters.get("scenario")) if parameters else None
    if asked is None:
        return served.default_point
    if asked in served.points:
        return str(asked)
    known = sorted(served.points)
    if not known:
        raise BadRequest(f"parameter 'operating_point' is {asked!r}, but model {served.name!r} has none; leave it out")
    raise BadRequest(f"parameter 'operating_point' is {asked!r}; model {served.name!r} has {known}")


def wanted_outputs(served: LoadedRevision, request: InferRequest) -> tuple[str, ...]:
    """Names of the outputs to answer, in order. Raises BadRequest for unknown or repeated names."""
    if not request.outputs:
        return served.default_outputs
    names = tuple([o.name for o in request.outputs])
    unknown = [n for n in names if n not in served.model_outputs and n not in served.verdict_outputs and n != VARIANT]
    if unknown:
        known = [*served.verdict_outputs, *(o.name for o in served.manifest.outputs)]
        raise BadRequest(f"outputs {unknown} are unknown; model {served.name!r} has {known}")
    if len(set(names)) != len(names):
        raise BadRequest(f"outputs {sorted({n for n in names if names.count(n) > 1})} are asked for more than once; ask once")
    return names


def outputs_to_run(served: LoadedRevision, wanted: tuple[str, ...]) -> list[str]:
    """The graph's outputs an answer needs."""
    needed = {name for name in wanted if name in served.model_outputs}
    if served.manifest.score is not None:
        needed.add(served.manifest.score.output)
    return [o.name for o in served.manifest.outputs if o.name in needed]


def _way(served: LoadedRevision, wanted: tuple[str, ...], point: str | None) -> AnswerPlan:
    said: dict[str, bool | int | float | str] = {
        "revision": served.revision,
        "variant": served.variant,
        "source": MODEL,
        "receipt": "",
    }
    is_judged = served.manifest.score is not None and point is not None
    if is_judged:
        said["operating_point"] = str(point)
    thresholds = VerdictThresholds.of(served.points[str(point)]) if is_judged else None
    made = cast(dict[tuple[str, bool], OutputMaker], served.makers)
    makers = tuple([made.get((n, is_judged)) or made.setdefault((n, is_judged), _maker(served, n, is_judged)) for n in wanted])
    return AnswerPlan(wanted, outputs_to_run(served, wanted), point, thresholds, makers, said)


def _maker(served: LoadedRevision, name: str, is_judged: bool) -> OutputMaker:
    if name in served.model_outputs and name not in served.verdict_outputs:
        return lambda part: _graph_output(name, part.raw[name])
    if name == VARIANT:
        own = served.variant.encode()
        return lambda part: Tensor(name, "BYTES", np.full(part.rows.rows, own, dtype=object))
    if not is_judged:
        return _refusing(f"output {name!r} needs a model with a score")
    if name == "verdict":
        return _of_table(name, "BYTES", VERDICT_BYTES, lambda judged: judged.code, lambda judged: judged.codes)
    if name == "score":
        return lambda part: Tensor(name, "FP32", _judged(part).scores)
    if name == "degraded":
        return _degraded(name)
    table = served.calibration
    if table is None:
        return _refusing(f"output {name!r} needs a calibrated model")
    values: NDArray[np.float32] = np.append(getattr(table, _CALIBRATED[name]), np.float32(np.nan))
    unknown = len(values) - 1  # of a row that no model scored, nothing is known
    return _of_table(
        name,
        "FP32",
        values,
        lambda judged: judged.step,
        lambda judged: np.where(np.isnan(judged.scores), unknown, table.look_up(judged.scores)),
    )


def _graph_output(name: str, values: NDArray[Any]) -> Tensor:
    values = as_wire_bytes(values) if values.dtype.kind in "OUS" else values
    return Tensor(name, DATATYPES[values.dtype], values)


def _refusing(message: str) -> OutputMaker:
    def refuse(_: RowGroup) -> Tensor:
        raise BadRequest(message)

    return refuse


def _of_table(
    name: str,
    datatype: str,
    table: NDArray[Any],
    place: Callable[[Judged], int],
    places: Callable[[Judged], NDArray[np.intp]],
) -> OutputMaker:
    """An output whose rows are entries of a table; of one row, an entry's tensor is made once."""
    ready: dict[int, Tensor] = {}

    def make(part: RowGroup) -> Tensor:
        judged = _judged(part)
        at = place(judged)
        if at < 0:
            return Tensor(name, datatype, table[places(judged)])
        tensor = ready.get(at)
        if tensor is None:
            tensor = ready[at] = _kept(name, datatype, table[at : at + 1].copy())
        return tensor

    return make


def _degraded(name: str) -> OutputMaker:
    ready = [_kept(name, "BOOL", np.array([flag])) for flag in (False, True)]

    def make(part: RowGroup) -> Tensor:
        return ready[part.degraded_rows] if part.rows.rows == 1 else Tensor(name, "BOOL", part.degraded)

    return make


def _kept(name: str, datatype: str, data: NDArray[Any]) -> Tensor:
    data.flags.writeable = False
    return Tensor(name, datatype, data, texts={})


def _judged(part: RowGroup) -> Judged:
    return cast(Judged, part.judged)  # asked only of revisions with a score
