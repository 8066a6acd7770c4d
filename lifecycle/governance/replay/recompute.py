"""Runs recorded rows through the same model again: from the records' inputs and features to scores, verdicts, rules and outputs.

Several records of one kind run as one batch. A batch may give other bits than its rows give alone. A caller that finds a difference
therefore runs the record alone before it reports the difference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.audit.encoding import decode_array, digest_of
from serving.audit.record import AuditRecord
from serving.errors import ServingError
from serving.messages import DTYPES, InferRequest, Tensor
from serving.models.errors import ModelError
from serving.models.rules_model import column_datatypes
from serving.ports import FeatureRows, RuleVerdicts
from serving.scoring.answer_plan import answer_plan_of
from serving.scoring.inputs import ColumnRows
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import RULES, RowGroup, groups_of, judge, with_unknown
from serving.scoring.rules.fallback import columns_of
from serving.scoring.rules.raising import raised
from serving.scoring.rules.suppressing import SuppressionChange, changes_of, open_rows
from serving.scoring.triage.outcomes import TRIAGE, Outcomes, is_bypassed, outcomes_of
from serving.scoring.variant_runner import runtime_feed, tensors_of
from serving.scoring.variant_set import Variant

MOST_ROWS: Final = 2**31
MODEL_WIDTHS: Final = ("FP32", "FP64")
"""Datatypes that a feature with a fraction may have had. Its record does not say which."""


class NotReplayable(Exception):
    """A record cannot be recomputed; the message says why."""


def _nothing(codes: NDArray[np.intp]) -> list[SuppressionChange]:
    return []


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What the rows of one record get now. scores: float32, shape (n,). codes: verdict codes, shape (n,). Without a score both are None.
    outputs: name -> digest."""

    scores: NDArray[np.float32] | None
    codes: NDArray[np.intp] | None
    matched: tuple[tuple[str, ...], ...] = ()
    outputs: Mapping[str, str] | None = None
    groups: Sequence[str] | None = None
    """The rows' groups, where the bundle's verdict `unknown` depends on them."""
    beside: RuleVerdicts | None = None
    """What the bundle's rules say of the rows, if they may raise the model's verdicts."""
    suppress: Callable[[NDArray[np.intp]], list[SuppressionChange]] = _nothing
    """Takes the verdict codes, and gives what the revision's suppressions change in them."""
    triage: Outcomes | None = None
    """What triage did with each row; None if it is off or did not run."""


def recompute(revision: LoadedRevision, records: Sequence[AuditRecord], width: str = "FP32") -> list[Recomputed]:
    """Recompute records of one revision, kind of input and operating point in one run: one result for each. Raises NotReplayable.

    width: datatype of the features with a fraction, FP32 or FP64. The record has their shortest digits and not their datatype, which
    matters only if the graph takes FP64."""
    first = records[0]
    try:
        group = group_of(revision, records, width)
        if first.source == RULES:
            return [_by_rules(group, first, has_features=False)]
        names = [name for name in group.plan.to_run if name != TRIAGE or not is_bypassed(first.triage)]
        raw = revision.model.run(runtime_feed(tensors_of(group)), names)
        if revision.manifest.score is None:
            return [Recomputed(None, None, outputs={name: digest_of(value) for name, value in raw.items()})]
        verdicts = with_unknown(revision, judge(revision, raw, group.rows.rows, group.plan.point), group.rows)
    except (ModelError, ServingError, KeyError, ValueError) as problem:
        reason = f"its columns lack {problem}" if isinstance(problem, KeyError) else str(problem)
        raise NotReplayable(f"the bundle does not accept the values of the record: {reason}") from problem
    if verdicts is None:
        raise NotReplayable("the record names no operating point")
    groups = None if revision.unknown is None else groups_of(revision.unknown, group.rows)
    beside, outcomes = _beside(group), outcomes_of(raw)
    parts, start = [], 0
    for record in records:
        end = start + record.rows
        own = None if groups is None else groups[start:end]
        said = None if beside is None else RuleVerdicts(beside.codes[start:end], beside.matched[start:end])
        codes = verdicts.codes[start:end] if said is None else raised(verdicts.codes[start:end], said)
        matched = said.matched if said is not None else ()
        suppress = _suppressing(group, record, start)
        triage = None if outcomes is None else outcomes[start:end]
        parts.append(Recomputed(verdicts.scores[start:end], codes, matched, None, own, said, suppress, triage))
        start = end
    return parts


def _suppressing(group: RowGroup, record: AuditRecord, start: int) -> Callable[[NDArray[np.intp]], list[SuppressionChange]]:
    """The suppressions of one record's rows, which begin at `start` of the group, as of the record's time."""
    if group.variant.revision.suppressions is None:
        return _nothing

    def changes(codes: NDArray[np.intp]) -> list[SuppressionChange]:
        of_group = np.zeros(group.rows.rows, dtype=np.intp)
        of_group[start : start + len(codes)] = codes
        found = changes_of(group, of_group, open_rows(group, of_group, record.time_us), record.time_us)
        return [(row - start, name, code) for row, name, code in found]

    return changes


def _beside(group: RowGroup) -> RuleVerdicts | None:
    """What the bundle's rules say of rows that the model judged, if they may raise its verdicts; else None."""
    rules = group.variant.revision.rules
    if rules is None or rules.use != "verdict":
        return None
    columns = columns_of(group, with_features=True)
    return rules.judge(columns, group.rows.rows) if rules.applies(frozenset(columns)) else None


def recompute_by_rules(revision: LoadedRevision, record: AuditRecord, width: str, *, has_features: bool) -> Recomputed:
    """What the bundle's rules say of a record. Raises NotReplayable.

    has_features: whether the rules saw the record's features. They do not see them while the feature store is unavailable, and the
    record does not say whether it was."""
    if revision.rules is None:
        raise NotReplayable("rules answered, and the bundle has none")
    try:
        return _by_rules(group_of(revision, [record], width), record, has_features=has_features)
    except (ServingError, KeyError, ValueError) as problem:
        raise NotReplayable(f"the bundle's rules do not accept the values of the record: {problem}") from problem


def batch_key(record: AuditRecord) -> tuple[object, ...]:
    """A key that is equal for records that may run as one batch."""
    shapes = tuple((name, tuple(value["shape"][1:])) for name, value in record.inputs.items())
    how = (record.source == RULES, is_bypassed(record.triage))
    return record.revision, record.operating_point, how, shapes, tuple(record.features)


def is_by_row(revision: LoadedRevision) -> bool:
    """Whether rows of several records may run as one batch: the model gives scores, and each input has a free first dimension that
    counts rows."""
    inputs = revision.manifest.inputs
    are_free = all(spec.shape and spec.shape[0] == -1 and -1 not in spec.shape[1:] for spec in inputs)
    return are_free and revision.manifest.score is not None and not revision.inputs.non_row_inputs


def group_of(revision: LoadedRevision, records: Sequence[AuditRecord], width: str) -> RowGroup:
    """The rows of some records as the Scorer had them before the model ran. width: see `recompute`.

    Raises NotReplayable, BadRequest, KeyError, ValueError."""
    first = records[0]
    tensors = tuple(_tensor(name, [record.inputs[name] for record in records]) for name in first.inputs)
    request = InferRequest(first.model, first.version, tensors)
    rows = revision.inputs.read(request, first.time_us, MOST_ROWS)
    if rows.rows != sum(record.rows for record in records):
        raise NotReplayable(f"the record says {first.rows} rows, its inputs have {rows.rows}")
    point = first.operating_point
    if point is not None and point not in revision.points:
        raise NotReplayable(f"operating point {point!r} is not one of the revision's")
    wanted = revision.default_outputs if revision.manifest.score is not None else tuple(first.outputs)
    group = RowGroup(Variant(revision), rows, answer_plan_of(revision, wanted, point))
    group.degraded = np.concatenate([decode_array(record.degraded).astype(np.bool_) for record in records])
    if isinstance(rows, ColumnRows) and first.features:
        columns = {name: _column(revision, name, [r.features[name] for r in records], width) for name in first.features}
        degraded = np.zeros(rows.rows, dtype=np.bool_)
        group.features = FeatureRows(columns, {}, degraded, {}, None)
    return group


def _by_rules(group: RowGroup, record: AuditRecord, *, has_features: bool) -> Recomputed:
    rules = group.variant.revision.rules
    if rules is None:
        raise NotReplayable("rules answered, and the bundle has none")
    found = rules.judge(columns_of(group, with_features=has_features), group.rows.rows)
    suppress = _suppressing(group, record, 0)
    return Recomputed(np.full(group.rows.rows, np.nan, np.float32), found.codes, found.matched, suppress=suppress)


def _tensor(name: str, values: Sequence[Mapping[str, Any]]) -> Tensor:
    datatype, shape = values[0]["datatype"], tuple(values[0]["shape"])
    if len(values) > 1 and all("data" in value for value in values) and not DTYPES[datatype].hasobject:
        flat = np.array([number for value in values for number in value["data"]], DTYPES[datatype])
        return Tensor(name, datatype, flat.reshape(-1, *shape[1:]))
    arrays = [decode_array(value) for value in values]
    return Tensor(name, datatype, arrays[0] if len(arrays) == 1 else np.concatenate(arrays))


def _column(revision: LoadedRevision, name: str, values: Sequence[Any], width: str) -> NDArray[Any]:
    """One feature of all rows. A feature with a fraction becomes `width` wide before the graph's own datatype."""
    if not all(isinstance(value, list) for value in values):
        return np.concatenate([decode_array(value) for value in values])
    column = decode_array([element for value in values for element in value])
    if column.dtype.kind == "f":
        return column.astype(DTYPES[width])
    wanted = column_datatypes(revision.manifest).get(name)
    return column.astype(DTYPES[wanted]) if wanted in ("FP32", "FP64") and column.dtype.kind in "iu" else column
