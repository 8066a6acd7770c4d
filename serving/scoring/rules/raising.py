"""Rules beside the model (`use: verdict`): a rule that matches raises the verdict of its row to what its severity says. Core.

It never lowers one. Rows that match no rule keep the model's verdict, and so do all rows where no rule can be evaluated."""

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.models.verdicts import ONE_CODE
from serving.ports import RuleVerdicts
from serving.scoring.row_group import RULES, RowGroup, Verdicts
from serving.scoring.rules.fallback import CHUNK_ROWS, columns_of
from serving.telemetry.metrics import ServingMetrics

AND_RULES: Final = f"+{RULES}"
"""Ends the source of an answer of which a rule matches a row, as in `model+rules`."""
_RANKS: Final[NDArray[np.intp]] = np.array([0, 2, 3, 1], dtype=np.intp)
"""By verdict code: benign, investigate, alert, unknown. A verdict is raised to a higher rank only."""


def raised(codes: NDArray[np.intp], found: RuleVerdicts) -> NDArray[np.intp]:
    """Verdict codes with those of the rules where they rank higher. codes: shape (n,)."""
    is_matched = np.array([bool(ids) for ids in found.matched], dtype=np.bool_)
    return np.where(is_matched & (_RANKS[found.codes] > _RANKS[codes]), found.codes, codes)


async def raise_by_rules(group: RowGroup, metrics: ServingMetrics | None) -> None:
    """Let the rules of the group's bundle raise the verdicts that its model gave. metrics: None for a mirrored copy."""
    revision, verdicts, rows = group.variant.revision, group.verdicts, group.rows.rows
    rules = revision.rules
    if rules is None or rules.use != "verdict" or verdicts is None or group.source == RULES:
        return
    columns = columns_of(group, with_features=True)
    if not rules.applies(frozenset(columns)):
        return
    found: list[RuleVerdicts] = []
    for start in range(0, rows, CHUNK_ROWS):
        if start:
            await asyncio.sleep(0)
        end = min(start + CHUNK_ROWS, rows)
        found.append(rules.judge({name: column[start:end] for name, column in columns.items()}, end - start))
    whole = joined(found)
    matched = [ids for ids in whole.matched if ids]
    if not matched:
        return
    group.source, group.matched = f"{group.source}{AND_RULES}", whole.matched
    codes = raised(verdicts.codes, whole)
    code = int(codes[0])
    one = rows == 1 and verdicts.code >= 0
    group.settle(
        Verdicts(verdicts.point, verdicts.scores, ONE_CODE[code] if one else codes, code if one else -1, verdicts.step)
    )
    if metrics is not None:
        metrics.ruled(revision.name, revision.version, revision.variant, "verdict", matched)


def joined(parts: Sequence[RuleVerdicts]) -> RuleVerdicts:
    """What rules say of the rows of several parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return RuleVerdicts(np.concatenate([part.codes for part in parts]), tuple(row for part in parts for row in part.matched))
