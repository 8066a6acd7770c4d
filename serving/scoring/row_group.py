"""The rows of a request that one variant answers, with their features, outputs, verdicts and counts. Core.

serving.scoring.answers makes the answer, serving.scoring.answer_plan its plan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isnan
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.audit.record import SuppressedRow
from serving.errors import ModelFault
from serving.messages import Tensor
from serving.models.verdicts import (
    ONE_CODE,
    ONE_COUNT,
    ConformalTable,
    VerdictThresholds,
    group_names,
    scores_of,
    verdict_codes,
)
from serving.ports import FeatureRows
from serving.resilience.breaker import Ticket
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.triage.outcomes import ENDED, Outcomes, outcomes_of, source_of, with_ended
from serving.scoring.variant_set import Variant
from serving.telemetry.tracing import names
from serving.telemetry.tracing.names import Attributes
from serving.telemetry.tracing.span_bytes import KnownAttributes

MODEL: Final = "model"
"""The source of an answer that the model gave."""
RULES: Final = "rules"
"""The source of an answer that rules gave."""
_FP32: Final = np.dtype(np.float32)
_NO_OUTPUTS: Final[Mapping[str, NDArray[Any]]] = {}

OutputMaker = Callable[["RowGroup"], Tensor]
"""Makes one output tensor of a finished group. Raises BadRequest if its model cannot give it."""


class Verdicts(msgspec.Struct, frozen=True, gc=False):
    """Scores of a batch, and the verdicts of one operating point (codes: 0 benign, 1 investigate, 2 alert, 3 unknown).

    code, step: of a single row, its code and its step of the calibration; -1 if there are several rows."""

    point: str
    scores: NDArray[np.float32]
    codes: NDArray[np.intp]
    code: int = -1
    step: int = -1


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How a revision answers one list of outputs at one operating point; made by serving.scoring.answer_plan.

    wanted: outputs to answer, in order. to_run: the graph's outputs they need. point: the operating point. makers: one for each wanted
    output. parameters: the answer's parameters, without the receipt."""

    wanted: tuple[str, ...]
    to_run: list[str]
    point: str | None
    thresholds: VerdictThresholds | None
    makers: tuple[OutputMaker, ...]
    parameters: dict[str, bool | int | float | str]


def _all_false(rows: int) -> NDArray[np.bool_]:
    flags = np.zeros(rows, dtype=np.bool_)
    flags.flags.writeable = False
    return flags


_NO_ROWS, _NOT_DEGRADED = _all_false(0), _all_false(1)


class RowGroup(msgspec.Struct):
    """Rows for one variant, filled step by step; None: that step did not happen.

    index: which rows of the request, None for all. source: what answered: MODEL, RULES or the cache; see also
    serving.scoring.rules.raising."""

    variant: Variant
    rows: TensorRows | ColumnRows
    plan: AnswerPlan
    index: NDArray[np.intp] | None = None
    source: str = MODEL
    features: FeatureRows | None = None
    raw: Mapping[str, NDArray[Any]] = _NO_OUTPUTS
    verdicts: Verdicts | None = None
    degraded: NDArray[np.bool_] = _NO_ROWS
    counts: tuple[int, ...] | None = None
    """Rows that are benign, investigate, alert, and unknown if there are some."""
    degraded_rows: int = 0
    feature_s: float | None = None
    model_s: float | None = None
    fallback_from: str | None = None
    """The variant that failed and whose rows these are."""
    matched: tuple[tuple[str, ...], ...] = ()
    """Ids of the rules that match, by row, if rules answered or raised verdicts."""
    suppressed: tuple[SuppressedRow, ...] = ()
    """Rows whose verdict a suppression lowered, in order."""
    triage: Outcomes | None = None
    """What triage did with each row; None: it is off."""
    ticket: Ticket | None = None
    """The breaker's ticket of a run that refused its input; settled when stable has tried the same rows."""

    @property
    def is_ended(self) -> bool:
        """Whether triage ended every row, so that the model did not run."""
        return self.triage is not None and bool((self.triage == ENDED).all())

    @property
    def point(self) -> str | None:
        """The operating point of its verdicts."""
        return self.plan.point

    def span_attributes(self) -> Attributes:
        """What the spans of its parts say of it."""
        revision = self.variant.revision
        known = _known_attributes(
            revision.name, revision.version, revision.variant, revision.digest, self.rows.rows, self.source
        )
        if not (self.degraded_rows or self.triage is not None or self.matched or self.suppressed):
            return known
        told = dict(known)
        if self.degraded_rows:
            told[names.DEGRADED_ROWS] = self.degraded_rows
        if self.triage is not None:
            told[names.ENDED_ROWS] = int((self.triage == ENDED).sum())
        if self.matched:
            told[names.MATCHED_ROWS] = sum(1 for ids in self.matched if ids)
        if self.suppressed:
            told[names.SUPPRESSED_ROWS] = len(self.suppressed)
        return told

    def conclude(self) -> None:
        """Turn the model's outputs into verdicts and counts. Raises ModelFault if a row has no output."""
        revision, rows = self.variant.revision, self.rows.rows
        if revision.has_triage:
            self.triage = outcomes_of(self.raw)
            self.source = source_of(self.source, self.triage)
        verdicts = judge_one(revision, self.raw, self.plan) if rows == 1 else judge(revision, self.raw, rows, self.plan.point)
        self.settle(verdicts if revision.unknown is None else with_unknown(revision, verdicts, self.rows))

    def settle(self, verdicts: Verdicts | None) -> None:
        """Take these verdicts, of the model or of rules, and count them."""
        self.verdicts, rows = verdicts, self.rows.rows
        if verdicts is not None:
            if rows == 1:
                self.counts = ONE_COUNT[int(verdicts.codes[0])]
            else:
                self.counts = tuple(np.bincount(verdicts.codes, minlength=3).tolist())
        if self.source == RULES:
            self.degraded, self.degraded_rows = np.ones(rows, dtype=np.bool_), rows
        elif self.features is not None:
            self.degraded = self.features.degraded
            self.degraded_rows = int(self.degraded.item() if rows == 1 else self.degraded.sum())
        else:
            self.degraded = _NOT_DEGRADED if rows == 1 else _all_false(rows)


@lru_cache(maxsize=1024)  # revisions and sources are the same in most spans
def _known_attributes(name: str, version: str, variant: str, digest: str, rows: int, source: str) -> Attributes:
    return KnownAttributes(
        {
            names.MODEL_NAME: name,
            names.VERSION: version,
            names.VARIANT: variant,
            names.REVISION: digest,
            names.ROWS: rows,
            names.SOURCE: source,
        }
    )


def judge(revision: LoadedRevision, raw: Mapping[str, NDArray[Any]], rows: int, point: str | None) -> Verdicts | None:
    """Scores and verdicts; None for a model without a score. Raises ModelFault if the score has not one number a row, or another
    output fewer entries than there are rows."""
    for name in revision.row_outputs:
        _check_rows(revision, name, raw.get(name), rows)
    spec = revision.manifest.score
    if spec is None or point is None:
        return None
    try:
        scores = scores_of(raw, spec, rows)
    except ValueError as problem:
        raise _model_fault(revision, problem) from problem
    codes = verdict_codes(scores, revision.points[point])
    return Verdicts(point, scores, with_ended(codes, outcomes_of(raw)) if revision.has_triage else codes)


def groups_of(table: ConformalTable, rows: TensorRows | ColumnRows) -> list[str] | None:
    """The group of each row, by the column that names it; None where there are no groups, or rows have no columns."""
    column = rows.fields.get(table.group) if table.group is not None and isinstance(rows, ColumnRows) else None
    return None if column is None else group_names(column)


def with_unknown(revision: LoadedRevision, verdicts: Verdicts | None, rows: TensorRows | ColumnRows) -> Verdicts | None:
    """The verdicts with `unknown` where the revision's bundle asks for it; the same where it does not."""
    table = revision.unknown
    if table is None or verdicts is None:
        return verdicts
    groups = groups_of(table, rows)
    if rows.rows == 1:
        before = int(verdicts.codes[0])
        code = table.code(before, float(verdicts.scores[0]), None if groups is None else groups[0])
        if code == before:
            return verdicts
        return Verdicts(verdicts.point, verdicts.scores, ONE_CODE[code], code if verdicts.code >= 0 else -1, verdicts.step)
    return Verdicts(verdicts.point, verdicts.scores, table.codes(verdicts.codes, verdicts.scores, groups))


def judge_one(revision: LoadedRevision, raw: Mapping[str, NDArray[Any]], plan: AnswerPlan) -> Verdicts | None:
    """The same for one row without array operations: about 10 us less. A property test holds the two equal."""
    for name in revision.row_outputs:
        _check_rows(revision, name, raw.get(name), 1)
    spec, point = revision.manifest.score, plan.point
    if spec is None or point is None or plan.thresholds is None:
        return None
    values = raw[spec.output]
    try:
        picked = values if spec.column is None else values[..., spec.column]
        if picked.size != 1 or picked.dtype is not _FP32:
            picked = scores_of(raw, spec, 1)
    except (ValueError, IndexError) as problem:
        raise _model_fault(revision, problem) from problem
    score, table = picked.item(), revision.calibration
    code, step = plan.thresholds.code_of(score), -1
    if revision.has_triage and (outcomes := outcomes_of(raw)) is not None and outcomes[0] == ENDED:
        code = 0
    if table is not None:
        step = len(table.low) if isnan(score) else table.step_of(score)  # NaN: the entry after the last, which is NaN
    return Verdicts(point, picked.reshape(1), ONE_CODE[code], code, step)


def _check_rows(revision: LoadedRevision, name: str, values: NDArray[Any] | None, rows: int) -> None:
    if values is not None and (not values.shape or values.shape[0] < rows):  # None: nobody asked for it
        raise _model_fault(revision, f"output {name!r} has shape {list(values.shape)} for {rows} row{'s' * (rows != 1)}")


def _model_fault(revision: LoadedRevision, problem: object) -> ModelFault:
    return ModelFault(
        f"model {revision.name!r} version {revision.version} does not answer every row: {problem}; "
        "the request is not at fault: serve another version of the model"
    )
