"""Why a requirement cannot be promised, and what would be needed. Pure: words and numbers for people."""

from math import ceil, log
from typing import Final

import numpy as np

from lifecycle.arrays import Floats
from lifecycle.training.operating_points.mean_tests import Losses, RowLosses, UnitLosses
from lifecycle.training.operating_points.promise import PLURALS
from lifecycle.training.operating_points.risk_control import BAND_SHARE, STARTS, CertifiedThresholds, Floor, band
from serving.models.manifest import SamplingUnit

_BENIGN: Final[dict[SamplingUnit, str]] = {
    "row": "benign rows", "entity": "benign entities", "group": "benign groups", "attack_type": "kinds of benign rows",
}  # fmt: skip
_FACTORS: Final = np.geomspace(1.0, 1e4, 60)
_MOST: Final = 100


def shortfall(floor: Floor, certified: CertifiedThresholds, unit: SamplingUnit, nearest: float, *, requirement: str) -> str:
    """One or two sentences. nearest: what the threshold used instead reaches on the validation rows."""
    missed, alarmed = certified.missed, certified.alarmed
    known = (
        f"{missed.draws:,} attacked {PLURALS[unit]}" if unit in ("entity", "group") else f"{missed.draws:,} {_attacks(unit)}"
    )
    if floor.measure != "recall":
        known += f" and {alarmed.draws:,} {_BENIGN[unit]}"
    head = f"{requirement} cannot be promised with {1 - floor.delta:.0%} confidence from {known}"
    found = f"the threshold used instead reaches {nearest:.3f} on the validation rows"
    return f"{head}: {_needed(floor, missed, alarmed, unit)}; {found}"


def _attacks(unit: SamplingUnit) -> str:
    return "attack rows" if unit == "row" else PLURALS[unit]


def _needed(floor: Floor, missed: Losses, alarmed: Losses, unit: SamplingUnit) -> str:
    if floor.measure == "recall":
        if floor.bound >= 1:
            return "no number would be enough, as the next attack may be missed"
        needed = draws_for_recall(floor, unit)
        return f"it takes at least {needed:,}, with no attack missed"
    if not alarmed.draws:
        return f"it takes {_BENIGN[unit]}, and rows of those that are also attacked count for none"
    factor = _factor(floor, missed, alarmed)
    if factor is None:
        return "no number of rows like these would do; it takes a model that tells more of them apart"
    attacked, benign = ceil(missed.draws * factor), ceil(alarmed.draws * factor)
    return f"at the rates seen it takes about {_rounded(attacked):,} and {_rounded(benign):,}"


def draws_for_recall(floor: Floor, unit: SamplingUnit) -> int:
    """The fewest attacked units, none of which misses an attack, that show a recall below 1."""
    fewest = ceil(log(floor.delta) / log(floor.bound))
    if unit == "row":
        return fewest
    limit = np.array([1.0 - floor.bound])
    while _perfect(fewest).p_values(limit)[0] > floor.delta:
        fewest += 1
    return fewest


def _perfect(units: int) -> UnitLosses:
    return UnitLosses(np.zeros((0, 1)), np.zeros(0), np.ones(units))


def _factor(floor: Floor, missed: Losses, alarmed: Losses) -> float | None:
    """How many times as many draws, with the same rates, would do; None: no number would."""
    some = np.unique(np.linspace(0, len(missed.mean) - 1, _MOST).round().astype(np.int64))
    recall, alarms = 1.0 - missed.mean[some], alarmed.mean[some]
    for factor in _FACTORS:
        certain = recall - band(ceil(missed.draws * factor), floor.delta * BAND_SHARE, of_rows=isinstance(missed, RowLosses))
        draws = ceil(alarmed.draws * factor)
        counts: Floats = np.floor(alarms * draws)
        if (RowLosses(counts, draws).p_values(floor.limit(certain)) <= floor.delta * (1 - BAND_SHARE) / STARTS).any():
            return float(factor)
    return None


def _rounded(count: int) -> int:
    """Two figures are enough of an estimate."""
    step: int = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // step) * step
