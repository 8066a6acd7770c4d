"""What an answer says: the outputs asked for, the verdict, and where it came from. Core.

What of it is the same for every request that asks alike is worked out once, see serving.scoring.answer_plan."""

import json
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest, ModelFault
from serving.messages import Tensor
from serving.models.verdicts import ONE_CODE, ONE_COUNT, scores_of, verdict_codes
from serving.ports import FeatureRows
from serving.resilience.breaker import Ticket
from serving.scoring.answer_plan import MODEL, Judged, Way
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.loaded_revision import Served
from serving.scoring.variant_set import Member

MIXED: Final = "mixed"
"""Stands for a parameter in which the variants that answered differ."""
_FP32: Final = np.dtype(np.float32)
RULES: Final = "rules"
"""The source of an answer that rules gave."""
_MOST_RULES_TOLD: Final = 20
_NOTHING: Final[Mapping[str, NDArray[Any]]] = {}


def _all_false(rows: int) -> NDArray[np.bool_]:
    flags = np.zeros(rows, dtype=np.bool_)
    flags.flags.writeable = False
    return flags


_NO_ROWS, _NOT_DEGRADED = _all_false(0), _all_false(1)


class Part(msgspec.Struct):
    """What one variant makes of its rows. index: which rows of the request, None for all. None: the stage did not happen.

    source: who answered: the model, or what stood in for it."""

    member: Member
    rows: TensorRows | ColumnRows
    way: Way
    index: NDArray[np.intp] | None = None
    source: str = MODEL
    features: FeatureRows | None = None
    raw: Mapping[str, NDArray[Any]] = _NOTHING
    judged: Judged | None = None
    degraded: NDArray[np.bool_] = _NO_ROWS
    counts: tuple[int, int, int] | None = None
    """Rows that are benign, investigate, alert."""
    degraded_rows: int = 0
    feature_s: float | None = None
    model_s: float | None = None
    fallback_from: str | None = None
    """The variant that failed and whose rows these are."""
    matched: tuple[tuple[str, ...], ...] = ()
    """Where rules answered, ids of those that hold, by row."""
    ticket: Ticket | None = None
    """Of a run that refused its input: whose fault that is, only another variant can tell."""

    @property
    def point(self) -> str | None:
        """The operating point it is judged at."""
        return self.way.point

    def conclude(self) -> None:
        """From what the model gave to verdicts and counts. Raises ModelFault if it did not answer every row."""
        served, rows = self.member.served, self.rows.rows
        if rows == 1:
            self.settle(judge_one(served, self.raw, self.way))
        else:
            self.settle(judge(served, self.raw, rows, self.way.point))

    def settle(self, judged: Judged | None) -> None:
        """Take these verdicts, whoever gave them, and count."""
        self.judged, rows = judged, self.rows.rows
        if judged is not None:
            if rows == 1:
                self.counts = ONE_COUNT[int(judged.codes[0])]
            else:
                benign, investigate, alert = np.bincount(judged.codes, minlength=3).tolist()
                self.counts = (benign, investigate, alert)
        if self.source == RULES:
            self.degraded, self.degraded_rows = np.ones(rows, dtype=np.bool_), rows
        elif self.features is not None:
            self.degraded = self.features.degraded
            self.degraded_rows = int(self.degraded.item() if rows == 1 else self.degraded.sum())
        else:
            self.degraded = _NOT_DEGRADED if rows == 1 else _all_false(rows)


def judge(served: Served, raw: Mapping[str, NDArray[Any]], rows: int, point: str | None) -> Judged | None:
    """Scores and verdicts; None for a model without a score. Raises ModelFault if the score has not one number a row, or another
    output fewer entries than there are rows."""
    for name in served.row_outputs:
        _check_rows(served, name, raw.get(name), rows)
    spec = served.manifest.score
    if spec is None or point is None:
        return None
    try:
        scores = scores_of(raw, spec, rows)
    except ValueError as problem:
        raise _fault(served, problem) from problem
    return Judged(point, scores, verdict_codes(scores, served.points[point]))


def judge_one(served: Served, raw: Mapping[str, NDArray[Any]], way: Way) -> Judged | None:
    """The same for one row, without arrays for single numbers; a property test holds the two equal."""
    for name in served.row_outputs:
        _check_rows(served, name, raw.get(name), 1)
    spec, point = served.manifest.score, way.point
    if spec is None or point is None or way.thresholds is None:
        return None
    values = raw[spec.output]
    try:
        picked = values if spec.column is None else values[..., spec.column]
        if picked.size != 1 or picked.dtype is not _FP32:
            picked = scores_of(raw, spec, 1)
    except (ValueError, IndexError) as problem:
        raise _fault(served, problem) from problem
    score, table = picked.item(), served.calibration
    code, step = way.thresholds.code_of(score), -1
    if table is not None:
        step = (
            len(table.low) if isnan(score) else table.step_of(score)
        )  # of no number nothing is known: see serving.scoring.answer_plan
    return Judged(point, picked.reshape(1), ONE_CODE[code], code, step)


def _check_rows(served: Served, name: str, values: NDArray[Any] | None, rows: int) -> None:
    if values is not None and (not values.shape or values.shape[0] < rows):  # None: nobody asked for it
        raise _fault(served, f"output {name!r} has shape {list(values.shape)} for {rows} row{'s' * (rows != 1)}")


def _fault(served: Served, problem: object) -> ModelFault:
    return ModelFault(
        f"model {served.name!r} version {served.version} does not answer every row: {problem}; "
        "the request is not at fault: serve another version of the model"
    )


def output_tensor(place: int, parts: Sequence[Part], rows: int) -> Tensor:
    """One output of an answer of several parts, its rows in the request's order. place: of the output among those wanted.

    Raises BadRequest if the models cannot give it."""
    made = [part.way.makers[place](part) for part in parts]
    first = made[0]
    if any(m.datatype != first.datatype or m.shape[1:] != first.shape[1:] for m in made) or any(
        m.shape[:1] != (part.rows.rows,) for m, part in zip(made, parts, strict=True)
    ):
        raise BadRequest(
            f"output {first.name!r} does not have one entry a row, and the rows of this request meet several variants; "
            "send them one by one"
        )
    data = np.empty((rows, *first.shape[1:]), dtype=first.data.dtype)
    for tensor, part in zip(made, parts, strict=True):
        data[part.index] = tensor.data
    return Tensor(first.name, first.datatype, data)


def answer_parameters(parts: Sequence[Part], receipt: str, trace_id: str | None) -> dict[str, bool | int | float | str]:
    """The answer's parameters: revision, variant, source, receipt, operating point, degradation, feature age, trace.

    Where several variants answered, what they differ in says `mixed`, and `variants` is a JSON text with each one's own."""
    first = parts[0]
    if len(parts) == 1:
        parameters = first.way.said.copy()
        parameters["receipt"], parameters["source"] = receipt, first.source
    else:
        parameters = {
            "revision": _common([part.member.served.revision for part in parts]),
            "variant": _common([part.member.served.variant for part in parts]),
            "source": _common([part.source for part in parts]),
            "receipt": receipt,
        }
        points = [part.judged.point for part in parts if part.judged is not None]
        if points:
            parameters["operating_point"] = _common(points)
    if first.features is not None:
        parameters["degraded"] = any(part.degraded_rows for part in parts)
        ages = [part.features.oldest_age_ms for part in parts if part.features and part.features.oldest_age_ms is not None]
        if ages:
            parameters["feature_age_ms"] = max(ages)
    if any(part.source == RULES for part in parts):
        parameters["degraded"] = True
        parameters["rules"] = json.dumps(_matched(parts))
    fallen = [part.fallback_from for part in parts if part.fallback_from is not None]
    if fallen:
        parameters["fallback_from"] = _common(fallen)
    if len(parts) > 1:
        parameters["variants"] = json.dumps([_said(part) for part in parts])
    if trace_id is not None:
        parameters["trace_id"] = trace_id
    return parameters


def _matched(parts: Sequence[Part]) -> list[list[str]]:
    """Ids of the rules that hold of each row of the request; none of rows that a model answered."""
    found: list[list[str]] = [[] for _ in range(sum(part.rows.rows for part in parts))]
    for part in parts:
        places = range(part.rows.rows) if part.index is None else part.index.tolist()
        for place, ids in zip(places, part.matched, strict=False):
            found[place] = list(ids[:_MOST_RULES_TOLD])
    return found


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
