"""Suppressions of a revision, after the verdict: rows with a known cause of false alarms do not alert. Core.

The row is recorded and counted as suppressed, with the verdict before. An entry whose columns are missing, or whose expression fails on a
row, does not suppress it. Features of a degraded row are not trusted: an entry that names one does not hold of it."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from serving.audit.record import SuppressedRow
from serving.models.verdicts import ONE_CODE, VERDICTS
from serving.scoring.row_group import RowGroup, Verdicts
from serving.scoring.rules.fallback import columns_of
from serving.telemetry.metrics import ServingMetrics

SuppressionChange = tuple[int, str, int]
"""Row, id of the suppression, code of the new verdict."""


async def suppress(group: RowGroup, at_us: int, metrics: ServingMetrics | None) -> None:
    """Apply the revision's suppressions to the group's verdicts. at_us: when the answer is made. metrics: None for a mirrored copy."""
    revision, verdicts = group.variant.revision, group.verdicts
    if revision.suppressions is None or verdicts is None:
        return
    rows = open_rows(group, verdicts.codes, at_us)
    changes: list[SuppressionChange] = []
    step = revision.suppressions.rows_at_once
    for start in range(0, len(rows), step):
        if start:
            await asyncio.sleep(0)
        changes += changes_of(group, verdicts.codes, rows[start : start + step], at_us)
    if not changes:
        return
    codes = changed(verdicts.codes, changes)
    group.suppressed = tuple([SuppressedRow(row, name, VERDICTS[verdicts.codes[row]]) for row, name, _ in changes])
    is_one = group.rows.rows == 1 and verdicts.code >= 0
    code = int(codes[0])
    group.settle(
        Verdicts(verdicts.point, verdicts.scores, ONE_CODE[code] if is_one else codes, code if is_one else -1, verdicts.step)
    )
    if metrics is not None:
        metrics.suppressed(revision.name, [name for _, name, _ in changes])


def open_rows(group: RowGroup, codes: NDArray[np.intp], at_us: int) -> NDArray[np.intp]:
    """The rows whose verdicts some entry may change."""
    found = group.variant.revision.suppressions
    if found is None:
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(np.isin(codes, [code for code in (1, 2) if found.lowers(code, at_us)]))


def changes_of(group: RowGroup, codes: NDArray[np.intp], rows: NDArray[np.intp], at_us: int) -> list[SuppressionChange]:
    """What suppressions change of these rows of the group. codes: the verdicts before, of all rows."""
    found = group.variant.revision.suppressions
    if found is None or not len(rows):
        return []
    is_degraded = group.degraded[rows] if len(group.degraded) else np.zeros(len(rows), dtype=np.bool_)
    changes: list[SuppressionChange] = []
    for part, has_features in ((rows[~is_degraded], True), (rows[is_degraded], False)):
        if len(part):
            columns = columns_of(group, with_features=has_features)
            named = {name: columns[name][part] for name in found.columns if name in columns}
            held = found.judge(named, codes[part].tolist(), at_us)
            changes += [(row, *hit) for row, hit in zip(part.tolist(), held, strict=True) if hit is not None]
    return sorted(changes)


def changed(codes: NDArray[np.intp], changes: list[SuppressionChange]) -> NDArray[np.intp]:
    """The verdicts' codes with these changes."""
    after = codes.copy()
    for row, _, code in changes:
        after[row] = code
    return after
