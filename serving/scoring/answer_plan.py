"""Answer plans: everything about an answer that depends only on the outputs wanted and the operating point. Core.

A plan is made at the first request of its kind and kept with the revision."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.messages import DATATYPES, EXPLAIN, EXPLANATION, InferRequest, Tensor
from serving.models.assembly import as_wire_bytes
from serving.models.verdicts import VERDICT_BYTES, ConformalTable, VerdictThresholds
from serving.scoring.inputs import repeated
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import MODEL, AnswerPlan, OutputMaker, RowGroup, Verdicts, groups_of
from serving.scoring.triage.outcomes import TRIAGE
from serving.scoring.variant_set import VARIANT

_MAX_PLANS: Final = 64
"""Plans kept with one revision. A plan beyond that is made for each request anew."""
CONFORMAL_SET: Final = "conformal_set"
"""Output, on request, of a bundle with conformal sets: the classes that a row may be of."""
_SET_BYTES: Final[NDArray[np.object_]] = np.array([b"", b"benign", b"attack", b"benign,attack"], dtype=object)
_CALIBRATED: Final = {"probability": "merged", "probability_low": "low", "probability_high": "high"}


def answer_plan_of(revision: LoadedRevision, wanted: tuple[str, ...], point: str | None) -> AnswerPlan:
    """The plan for these outputs at this operating point; both are checked before."""
    plan: AnswerPlan | None = revision.plans.get((wanted, point))  # type: ignore[assignment]  # it holds nothing else
    if plan is None:
        plan = _new_plan(revision, wanted, point)
        if len(revision.plans) < _MAX_PLANS:
            revision.plans[wanted, point] = plan
    return plan


def operating_point_of(revision: LoadedRevision, request: InferRequest) -> str | None:
    """The operating point this request asks for, or the default; None for a model without a score. Raises BadRequest for an unknown one."""
    parameters = request.parameters
    asked = parameters.get("operating_point", parameters.get("scenario")) if parameters else None
    if asked is None:
        return revision.default_point
    if asked in revision.points:
        return str(asked)
    known = sorted(revision.points)
    if not known:
        raise BadRequest(f"parameter 'operating_point' is {asked!r:.60}, but model {revision.name!r} has none; leave it out")
    raise BadRequest(f"parameter 'operating_point' is {asked!r:.60}; model {revision.name!r} has {known}")


def wanted_outputs(revision: LoadedRevision, request: InferRequest) -> tuple[str, ...]:
    """Names of the outputs to answer, in order. Raises BadRequest for unknown or repeated names.

    A request that asks for an explanation may name its output too, to say how it is encoded; it comes last and is not among these."""
    if not request.outputs:
        return revision.default_outputs
    names = tuple([o.name for o in request.outputs])
    unknown = [n for n in names if n not in revision.model_outputs and n not in revision.verdict_outputs and n != VARIANT]
    if revision.conformal is not None:
        unknown = [n for n in unknown if n != CONFORMAL_SET]
    if EXPLANATION in unknown and EXPLAIN in request.parameters and names.count(EXPLANATION) == 1:
        unknown.remove(EXPLANATION)
        names = tuple([n for n in names if n != EXPLANATION])
    if unknown:
        known = [*revision.verdict_outputs, *(o.name for o in revision.manifest.outputs)]
        raise BadRequest(f"outputs {unknown} are unknown; model {revision.name!r} has {known}")
    if len(set(names)) != len(names):
        raise BadRequest(f"outputs {repeated(names)} are asked for more than once; ask once")
    return names


def outputs_to_run(revision: LoadedRevision, wanted: tuple[str, ...]) -> list[str]:
    """The outputs of a run that an answer needs."""
    needed = {name for name in wanted if name in revision.model_outputs}
    if revision.manifest.score is not None:
        needed.add(revision.manifest.score.output)
    names = [o.name for o in revision.manifest.outputs if o.name in needed]
    return [*names, TRIAGE] if revision.has_triage else names


def _new_plan(revision: LoadedRevision, wanted: tuple[str, ...], point: str | None) -> AnswerPlan:
    parameters: dict[str, bool | int | float | str] = {
        "revision": revision.digest,
        "variant": revision.variant,
        "source": MODEL,
        "receipt": "",
    }
    has_score = revision.manifest.score is not None and point is not None
    if has_score:
        parameters["operating_point"] = str(point)
    thresholds = VerdictThresholds.of(revision.points[str(point)]) if has_score else None
    known_makers = cast(dict[tuple[str, bool], OutputMaker], revision.makers)
    for name in wanted:
        if (name, has_score) not in known_makers:
            known_makers[name, has_score] = _output_maker(revision, name, has_score)
    makers = tuple([known_makers[name, has_score] for name in wanted])
    return AnswerPlan(wanted, outputs_to_run(revision, wanted), point, thresholds, makers, parameters)


def _output_maker(revision: LoadedRevision, name: str, has_score: bool) -> OutputMaker:
    if name in revision.model_outputs and name not in revision.verdict_outputs:
        return lambda group: _graph_output(name, group.raw[name])
    if name == VARIANT:
        own = revision.variant.encode()
        return lambda group: Tensor(name, "BYTES", np.full(group.rows.rows, own, dtype=object))
    if not has_score:
        return _refusal(f"output {name!r} needs a model with a score")
    if name == "verdict":
        return _table_output(name, "BYTES", VERDICT_BYTES, "code", lambda verdicts: verdicts.codes)
    if name == "score":
        return lambda group: Tensor(name, "FP32", _verdicts(group).scores)
    if name == "degraded":
        return _degraded_output(name)
    if name == CONFORMAL_SET and revision.conformal is not None:
        return _conformal_output(revision.conformal)
    table = revision.calibration
    if table is None:
        return _refusal(f"output {name!r} needs a calibrated model")
    values: NDArray[np.float32] = np.append(getattr(table, _CALIBRATED[name]), np.float32(np.nan))
    unknown = len(values) - 1  # nothing is known of a row without a model's score
    return _table_output(
        name,
        "FP32",
        values,
        "step",
        lambda verdicts: np.where(np.isnan(verdicts.scores), unknown, table.look_up(verdicts.scores)),
    )


def _graph_output(name: str, values: NDArray[Any]) -> Tensor:
    values = as_wire_bytes(values) if values.dtype.kind in "OUS" else values
    return Tensor(name, DATATYPES[values.dtype], values)


def _refusal(message: str) -> OutputMaker:
    def refuse(_: RowGroup) -> Tensor:
        raise BadRequest(message)

    return refuse


def _table_output(
    name: str,
    datatype: str,
    table: NDArray[Any],
    by: Literal["code", "step"],
    indices_of: Callable[[Verdicts], NDArray[np.intp]],
) -> OutputMaker:
    """An output whose rows are entries of a table; of one row, an entry's tensor is made once. by: what of a single row is its place."""
    ready: dict[int, Tensor] = {}
    index_of: Callable[[Verdicts], int] = attrgetter(by)

    def make(group: RowGroup) -> Tensor:
        at = index_of(group.verdicts)  # type: ignore[arg-type]  # asked only of revisions with a score
        tensor = ready.get(at)
        if tensor is None:
            if at < 0:
                return Tensor(name, datatype, table[indices_of(_verdicts(group))])
            tensor = ready[at] = _frozen_tensor(name, datatype, table[at : at + 1].copy())
        return tensor

    return make


def _degraded_output(name: str) -> OutputMaker:
    ready = [_frozen_tensor(name, "BOOL", np.array([flag])) for flag in (False, True)]

    def make(group: RowGroup) -> Tensor:
        return ready[group.degraded_rows] if group.rows.rows == 1 else Tensor(name, "BOOL", group.degraded)

    return make


def _conformal_output(sets: ConformalTable) -> OutputMaker:
    def make(group: RowGroup) -> Tensor:
        benign, attack = sets.sets(_verdicts(group).scores, groups_of(sets, group.rows))
        return Tensor(CONFORMAL_SET, "BYTES", _SET_BYTES[benign + 2 * attack])

    return make


def _frozen_tensor(name: str, datatype: str, data: NDArray[Any]) -> Tensor:
    data.flags.writeable = False
    return Tensor(name, datatype, data, texts={})


def _verdicts(group: RowGroup) -> Verdicts:
    return cast(Verdicts, group.verdicts)  # asked only of revisions with a score
