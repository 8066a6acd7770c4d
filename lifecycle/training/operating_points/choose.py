"""Operating points: the threshold of each scenario, by what its requirement measures. Pure.

Among the thresholds that keep the requirement with the stated confidence: the fewest false alarms for a recall, the highest recall for a
precision, the best F1 for an F1; the least cost where the scenario declares what errors cost. If none keeps it, the nearest stands in:
the same choice among those that meet it on the validation rows as they are. The test part is never used here."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.scenario import Scenario
from lifecycle.training.operating_points.curve import ThresholdCurve
from lifecycle.training.operating_points.mean_tests import RowLosses
from lifecycle.training.operating_points.risk_control import Floor, certify
from lifecycle.training.operating_points.shortfall import shortfall
from lifecycle.training.operating_points.validation import ValidationRows
from serving.models.manifest import Expected, Guarantee, OperatingPoint

_TESTS: Final = {True: "exact binomial tests", False: "betting on the shares of units"}


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A place on the curve, and what may be said of it."""

    index: int
    holds: Guarantee | None
    shortfall: str


def choose_points(detector: Detector, rows: ValidationRows) -> dict[str, OperatingPoint]:
    """One operating point per scenario."""
    curve = ThresholdCurve.of(rows)
    scenarios = detector.operating_points
    chosen = {name: _choose(curve, rows, s, last=None) for name, s in scenarios.items() if s.rule[0] != "precision"}
    # Who asks for few false alarms is not given more of them than who asks for the balance.
    last = min((c.index for name, c in chosen.items() if scenarios[name].rule[0] == "f1"), default=None)
    chosen |= {name: _choose(curve, rows, s, last=last) for name, s in scenarios.items() if s.rule[0] == "precision"}
    thresholds = {name: curve.threshold(chosen[name].index) for name in scenarios}
    # Rows that alert in the scenario of the highest recall are at least `investigate` in every other one.
    cautious = min((t for name, t in thresholds.items() if scenarios[name].rule[0] == "recall"), default=1.0)
    return {
        name: OperatingPoint(
            threshold=thresholds[name],
            investigate=min(cautious, thresholds[name]),
            requirement=scenario.require,
            expected=_expected(curve, chosen[name].index, len(rows.scores), is_met=chosen[name].holds is not None),
            holds=chosen[name].holds,
            shortfall=chosen[name].shortfall,
        )
        for name, scenario in scenarios.items()
    }


def _choose(curve: ThresholdCurve, rows: ValidationRows, scenario: Scenario, *, last: int | None) -> _Chosen:
    """last: the lowest threshold allowed, as a place on the curve."""
    measure, least = scenario.rule
    share = curve.attack_share if scenario.attack_share is None else scenario.attack_share
    floor = Floor(measure, min(least + scenario.margin, 1.0), scenario.delta, share)
    certified = certify(rows, floor)
    places = len(curve.scores) - 1 - np.searchsorted(curve.scores[::-1], certified.thresholds[certified.holds])
    figure, worth = curve.figure(measure, share), _worth(curve, scenario, share)
    places = places[figure[places] >= floor.bound]  # units that count the same may say more than their rows
    if len(allowed := places if last is None else places[places <= last]):
        guarantee = Guarantee(
            confidence=1.0 - scenario.delta, what=measure, bound=floor.bound, unit=rows.unit, units=certified.missed.draws,
            benign_units=None if measure == "recall" else certified.alarmed.draws,
            attack_share=None if measure == "recall" else share,
            method=f"fixed-sequence Learn-then-Test, {_TESTS[isinstance(certified.missed, RowLosses)]}",
        )  # fmt: skip
        return _Chosen(_best(worth, allowed), guarantee, "")
    index = _nearest(figure, worth, floor.bound, last)
    if len(places):
        why = f"{scenario.require} holds only below the threshold of the `f1` scenario, and no lower threshold is chosen"
    else:
        why = shortfall(floor, certified, rows.unit, float(figure[index]), requirement=scenario.require)
    return _Chosen(index, None, why)


def _worth(curve: ThresholdCurve, scenario: Scenario, share: float) -> tuple[Floats, Floats]:
    """What is wanted most, and what decides between equals; more is better. Both of shape (k,)."""
    if scenario.cost is not None:
        return -curve.cost(scenario.cost.missed_attack, scenario.cost.false_alarm, share), curve.recall
    match scenario.rule[0]:
        case "recall":
            return -curve.false_alarm_rate, curve.recall
        case "precision":
            return curve.recall, -curve.false_alarm_rate
        case _:
            return curve.figure("f1", share), curve.recall


def _best(worth: tuple[Floats, Floats], places: NDArray[np.int64]) -> int:
    order = np.lexsort((worth[1][places], worth[0][places]))
    return int(places[order[-1]])


def _nearest(figure: Floats, worth: tuple[Floats, Floats], bound: float, last: int | None) -> int:
    """Of the thresholds that meet the bound on these rows, the best; if none does, the one that comes nearest."""
    allowed = np.arange(len(figure) if last is None else last + 1)
    enough = allowed[figure[allowed] >= bound]
    return _best(worth, enough) if len(enough) else int(np.argmax(figure[allowed]))


def _expected(curve: ThresholdCurve, index: int, rows: int, *, is_met: bool) -> Expected:
    return Expected(
        precision=float(curve.figure("precision")[index]),
        recall=float(curve.recall[index]),
        f1=float(curve.figure("f1")[index]),
        false_alarm_rate=float(curve.false_alarm_rate[index]),
        attack_share=curve.attack_share,
        rows=rows,
        is_met=is_met,
    )
