"""Contents of an answer: the requested outputs, the verdict, and where it came from. Core. The AnswerPlan holds the parts that are the same
for all requests with the same outputs and operating point."""

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.errors import BadRequest
from serving.messages import Tensor
from serving.scoring.row_group import MODEL, RULES, RowGroup
from serving.scoring.triage.outcomes import ENDED

MIXED: Final = "mixed"
"""Stands for a parameter in which the variants that answered differ."""
_MAX_RULE_IDS: Final = 20


def output_tensor(position: int, groups: Sequence[RowGroup], rows: int) -> Tensor:
    """One output of an answer of several groups, its rows in the request's order. position: of the output among those wanted.

    Raises BadRequest if the models cannot give it."""
    made = [group.plan.makers[position](group) for group in groups]
    first = made[0]
    if any(m.datatype != first.datatype or m.shape[1:] != first.shape[1:] for m in made) or any(
        m.shape[:1] != (group.rows.rows,) for m, group in zip(made, groups, strict=True)
    ):
        raise BadRequest(
            f"output {first.name!r} does not have one entry per row, and the rows of this request go to several variants; "
            "send the rows one by one"
        )
    data = np.empty((rows, *first.shape[1:]), dtype=first.data.dtype)
    for tensor, group in zip(made, groups, strict=True):
        data[group.index] = tensor.data
    return Tensor(first.name, first.datatype, data)


def answer_parameters(groups: Sequence[RowGroup], receipt: str, trace_id: str | None) -> dict[str, bool | int | float | str]:
    """The answer's parameters: revision, variant, source, receipt, operating point, degradation, feature age, trace.

    Where several variants answered, what they differ in says `mixed`, and `variants` is a JSON text with each one's own."""
    first = groups[0]
    if len(groups) == 1:
        parameters = first.plan.parameters.copy()
        parameters["receipt"], parameters["source"] = receipt, first.source
    else:
        parameters = {
            "revision": _common([group.variant.revision.digest for group in groups]),
            "variant": _common([group.variant.revision.variant for group in groups]),
            "source": _common([group.source for group in groups]),
            "receipt": receipt,
        }
        points = [group.verdicts.point for group in groups if group.verdicts is not None]
        if points:
            parameters["operating_point"] = _common(points)
    if first.features is not None and len(groups) == 1:  # the usual answer, without a loop
        parameters["degraded"] = first.degraded_rows > 0
        if (age_ms := first.features.oldest_age_ms) is not None:
            parameters["feature_age_ms"] = age_ms
    elif first.features is not None:
        parameters["degraded"] = any(group.degraded_rows for group in groups)
        ages = [group.features.oldest_age_ms for group in groups if group.features and group.features.oldest_age_ms is not None]
        if ages:
            parameters["feature_age_ms"] = max(ages)
    if len(groups) > 1 or _is_special(first):  # nearly every answer has nothing of this, so it is asked once
        _add_special(parameters, groups)
    if len(groups) > 1:
        parameters["variants"] = json.dumps([_variant_entry(group) for group in groups])
    if trace_id is not None:
        parameters["trace_id"] = trace_id
    return parameters


def _is_special(group: RowGroup) -> bool:
    return (
        group.source != MODEL
        or bool(group.matched or group.suppressed)
        or group.triage is not None
        or group.fallback_from is not None
    )


def _add_special(parameters: dict[str, bool | int | float | str], groups: Sequence[RowGroup]) -> None:
    if any(group.source == RULES for group in groups):
        parameters["degraded"] = True
    if any(group.matched or group.source == RULES for group in groups):
        parameters["rules"] = json.dumps(_matched(groups))
    if any(group.suppressed for group in groups):
        parameters["suppressed_by"] = json.dumps(_suppressed_by(groups))
    parameters.update(_triaged(groups))
    fallen = [group.fallback_from for group in groups if group.fallback_from is not None]
    if fallen:
        parameters["fallback_from"] = _common(fallen)


def _matched(groups: Sequence[RowGroup]) -> list[list[str]]:
    """Ids of the rules that match each row of the request; none for rows where no rules were asked."""
    found: list[list[str]] = [[] for _ in range(sum(group.rows.rows for group in groups))]
    for group in groups:
        positions = range(group.rows.rows) if group.index is None else group.index.tolist()
        for position, ids in zip(positions, group.matched, strict=False):
            found[position] = list(ids[:_MAX_RULE_IDS])
    return found


def _suppressed_by(groups: Sequence[RowGroup]) -> list[str | None]:
    """Of each row of the request the suppression that lowered its verdict."""
    found: list[str | None] = [None] * sum(group.rows.rows for group in groups)
    for group in groups:
        for entry in group.suppressed:
            found[entry.row if group.index is None else int(group.index[entry.row])] = entry.id
    return found


def _triaged(groups: Sequence[RowGroup]) -> dict[str, str]:
    """The rows of the request that triage ended, if there are any."""
    ended: list[int] = []
    for group in groups:
        if group.triage is not None:
            rows = np.flatnonzero(group.triage == ENDED)
            ended += (rows if group.index is None else group.index[rows]).tolist()
    return {"triaged": json.dumps(sorted(ended))} if ended else {}


def _common(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 or len(set(values)) == 1 else MIXED


def _variant_entry(group: RowGroup) -> dict[str, str | int]:
    revision = group.variant.revision
    entry: dict[str, str | int] = {
        "variant": revision.variant,
        "version": revision.version,
        "revision": revision.digest,
        "rows": group.rows.rows,
    }
    if group.verdicts is not None:
        entry["operating_point"] = group.verdicts.point
    if group.fallback_from is not None:
        entry["fallback_from"] = group.fallback_from
    return entry
