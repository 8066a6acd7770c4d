"""Rules as a fallback: verdicts of a group whose features or model are out. Core.

Rules give verdicts only. A request for an output of the graph is not answered by rules. serving.scoring.variant_runner and
serving.scoring.scorer decide when to use them."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from serving.ports import ReadOutcome, RuleVerdicts
from serving.scoring.inputs import TensorRows
from serving.scoring.row_group import RULES, RowGroup, Verdicts
from serving.telemetry.metrics import ServingMetrics

Why = Literal["features", "model"]
CHUNK_ROWS: Final = 64
"""Rows judged before the loop may turn to others: a few milliseconds."""
_log = logging.getLogger("vedette.rules")


async def settle_by_rules(group: RowGroup, why: Why, metrics: ServingMetrics) -> bool:
    """Let the bundle's rules give the group its verdicts; False if no rule can be evaluated. why: what is out."""
    revision, point = group.variant.revision, group.plan.point
    rules, rows = revision.rules, group.rows.rows
    if rules is None or point is None or not revision.model_outputs.isdisjoint(group.plan.wanted):
        return False
    columns = columns_of(group, with_features=why == "model")
    if not rules.applies(frozenset(columns)):
        return False
    found: list[RuleVerdicts] = []
    for start in range(0, rows, CHUNK_ROWS):
        if start:
            await asyncio.sleep(0)
        end = min(start + CHUNK_ROWS, rows)
        found.append(rules.judge({name: column[start:end] for name, column in columns.items()}, end - start))
    group.source, group.raw = RULES, {}
    group.matched = tuple(row for verdicts in found for row in verdicts.matched)
    codes = np.concatenate([verdicts.codes for verdicts in found])
    group.settle(Verdicts(point, np.full(rows, np.nan, dtype=np.float32), codes))
    if metrics.ruled(revision.name, revision.version, revision.variant, why, group.matched):
        _log.warning(
            "the %s of %s %s unavailable: its rules answer (logged once)",
            why,
            revision.name,
            "are" if why == "features" else "is",
        )
    return True


def columns_of(group: RowGroup, *, with_features: bool) -> Mapping[str, NDArray[Any]]:
    """The columns that rules may read: keys and fields as sent, features if they were read; for tensors, their columns."""
    rows = group.rows
    if isinstance(rows, TensorRows):
        columns: dict[str, NDArray[Any]] = {}
        for plan in group.variant.revision.assembly:
            tensor = rows.tensors[plan.name]
            for place, name in enumerate(plan.columns):
                columns[name] = tensor[:, place] if tensor.ndim > 1 else tensor
        return columns
    sent = {**rows.keys, **rows.fields}
    if with_features and group.features is not None and group.features.outcome is ReadOutcome.OK:
        return {**group.features.columns, **sent}
    return sent
