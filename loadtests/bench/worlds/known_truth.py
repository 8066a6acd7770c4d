"""Draws of validation data whose truth is known: normal log-odds, so that recall and precision of any threshold are exact.

The rule that Vedette uses is here for comparison beside the rule before it: of the thresholds that meet the requirement on the
validation rows, the one with the best F1."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from lifecycle.training.operating_points.curve import ThresholdCurve
from lifecycle.training.operating_points.risk_control import Floor, certify
from lifecycle.training.operating_points.validation import ValidationRows, independent_rows, rows_in_units

APART: Final = 3.5
"""Distance between the means of attacks and benign rows, in standard deviations."""
SHARE: Final = 0.2
FLOORS: Final = (Floor("recall", 0.98, 0.05, SHARE), Floor("precision", 0.95, 0.05, SHARE), Floor("f1", 0.85, 0.05, SHARE))


@dataclass(frozen=True, slots=True)
class KnownTruth:
    """attacked, benign: draws of each class. rows: rows of each draw, on average; 1: rows are independent.

    between: share of the variance that the rows of one draw have in common. The marginal distribution of a row is the same in every
    world."""

    name: str
    attacked: int
    benign: int
    rows: int = 1
    between: float = 0.0

    def draw(self, rng: np.random.Generator) -> ValidationRows:
        """Draw one set of validation rows."""
        sizes = np.ones(self.attacked + self.benign, dtype=np.int64)
        if self.rows > 1:
            sizes += rng.poisson((self.rows - 1) * rng.lognormal(-0.245, 0.7, len(sizes)))
        owner = np.repeat(np.arange(len(sizes)), sizes)
        attack = owner < self.attacked
        shared = rng.normal(0, np.sqrt(self.between), len(sizes))[owner]
        log_odds = APART * attack + shared + rng.normal(0, np.sqrt(1 - self.between), len(owner)) - APART / 2
        scores = 1 / (1 + np.exp(-log_odds))
        if self.rows == 1:
            return independent_rows(scores, attack)
        return rows_in_units(scores, attack, np.ones(len(owner)), "entity", owner)


INDEPENDENT: Final = KnownTruth("independent", attacked=1000, benign=4000)
CLUSTERED: Final = KnownTruth("clustered", attacked=400, benign=1600, rows=8, between=0.5)


def truth(threshold: float, floor: Floor) -> float:
    """The true value of the floor's figure at a threshold."""
    log_odds = np.log(threshold / (1 - threshold)) + APART / 2
    recall, alarms = float(ndtr(APART - log_odds)), float(ndtr(-log_odds))
    hits, wrong = floor.attack_share * recall, (1 - floor.attack_share) * alarms
    return {"recall": recall, "precision": hits / (hits + wrong), "f1": 2 * hits / (hits + wrong + floor.attack_share)}[
        floor.measure
    ]


Rule = Callable[[ValidationRows, Floor], float | None]
"""Chooses a threshold; None if it promises none."""


def with_confidence(rows: ValidationRows, floor: Floor) -> float | None:
    """The rule that is used: the highest threshold that holds for a recall, the lowest for other figures."""
    found = certify(rows, floor)
    held = found.thresholds[found.holds]
    if not len(held):
        return None
    return float(held.max() if floor.measure == "recall" else held.min())


def as_independent(rows: ValidationRows, floor: Floor) -> float | None:
    """The rule that is used, with every row taken as a draw of its own."""
    return with_confidence(independent_rows(rows.scores, rows.attack), floor)


def best_f1_of_those_that_meet_it(rows: ValidationRows, floor: Floor) -> float | None:
    """The rule that was used before."""
    curve = ThresholdCurve.of(rows)
    enough = np.flatnonzero(curve.figure(floor.measure, floor.attack_share) >= floor.bound)
    return curve.threshold(int(enough[np.argmax(curve.figure("f1")[enough])])) if len(enough) else None


def just_met(rows: ValidationRows, floor: Floor) -> float | None:
    """As `with_confidence`, but of the thresholds that meet the requirement on the validation rows."""
    curve = ThresholdCurve.of(rows)
    enough = np.flatnonzero(curve.figure(floor.measure, floor.attack_share) >= floor.bound)
    return curve.threshold(int(enough[0] if floor.measure == "recall" else enough[-1])) if len(enough) else None


RULES: Final[Mapping[str, Rule]] = {
    "with-confidence": with_confidence,
    "rows-as-independent": as_independent,
    "best-f1-before": best_f1_of_those_that_meet_it,
    "just-met": just_met,
}


@dataclass(frozen=True, slots=True)
class Promised:
    """The results of many draws. held: how often a threshold was promised. failed: how often the truth was below the bound all the same.

    false_alarm_rate: the true one of the promised thresholds, on average; it is the price of the promise."""

    held: int
    failed: int
    false_alarm_rate: float


def failures(world: KnownTruth, *, draws: int, seed: int, rule: Rule = with_confidence) -> dict[str, Promised]:
    """Floor -> results of a rule over many draws of a world."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {floor.measure: [] for floor in FLOORS}
    failed = dict.fromkeys(found, 0)
    for _ in range(draws):
        rows = world.draw(rng)
        for floor in FLOORS:
            threshold = rule(rows, floor)
            if threshold is not None:
                failed[floor.measure] += truth(threshold, floor) < floor.bound
                found[floor.measure].append(float(ndtr(-(np.log(threshold / (1 - threshold)) + APART / 2))))
    return {
        name: Promised(len(rates), failed[name], float(np.mean(rates)) if rates else float("nan"))
        for name, rates in found.items()
    }
