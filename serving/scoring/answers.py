"""What an answer says: the outputs asked for, the verdict, and where it came from. Core.

What of it is the same for every request that asks alike is worked out once, see serving.scoring.answer_plan."""

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.errors import BadRequest
from serving.messages import Tensor
from serving.scoring.row_group import RULES, RowGroup

MIXED: Final = "mixed"
"""Stands for a parameter in which the variants that answered differ."""
_MOST_RULES_TOLD: Final = 20


def output_tensor(place: int, parts: Sequence[RowGroup], rows: int) -> Tensor:
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


def answer_parameters(parts: Sequence[RowGroup], receipt: str, trace_id: str | None) -> dict[str, bool | int | float | str]:
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


def _matched(parts: Sequence[RowGroup]) -> list[list[str]]:
    """Ids of the rules that hold of each row of the request; none of rows that a model answered."""
    found: list[list[str]] = [[] for _ in range(sum(part.rows.rows for part in parts))]
    for part in parts:
        places = range(part.rows.rows) if part.index is None else part.index.tolist()
        for place, ids in zip(places, part.matched, strict=False):
            found[place] = list(ids[:_MOST_RULES_TOLD])
    return found


def _common(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 or len(set(values)) == 1 else MIXED


def _said(part: RowGroup) -> dict[str, str | int]:
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
