"""Which thresholds keep a floor with a stated confidence: fixed-sequence Learn-then-Test. Pure.

Every threshold in the answer keeps the floor at once, with probability 1 - delta over draws of the validation data. So any of them may be
chosen, by whatever is seen of them. Source: Angelopoulos, Bates, Candes, Jordan & Lei (2021), "Learn then Test", arXiv:2110.01052.

- recall: falls as the threshold rises, so thresholds are tested from the lowest up, until one fails. Each test has the whole of delta.
- precision and F1 depend on recall R and false-alarm rate F, and hold where F is at most a limit that rises with R. A fifth of delta
  pays for a lower band of R over all thresholds at once (Dvoretzky, Kiefer & Wolfowitz with the constant of Massart, 1990). Given the
  attacks' scores, thresholds are tested on the benign rows from the highest down. The sequence has several starts. Each has its share of
  delta, and what passed hands its share on: the fallback procedure of Wiens & Dmitrienko (2005), J. Biopharm. Stat. 15(6).

Where the unit is not the row, that is a statement about units, each of which counts the same. Reports count rows. So a threshold must also
clear the bound by rows, by a normal interval that knows of the units (`clears_by_rows`): about right for many units, and no promise."""

from dataclasses import dataclass
from math import log, sqrt
from typing import Final

import numpy as np
from scipy.special import ndtri

from lifecycle.arrays import Floats, Mask
from lifecycle.datasets.scenario import RequiredFigure
from lifecycle.training.operating_points.mean_tests import Losses, RowLosses, losses
from lifecycle.training.operating_points.validation import LEFT_OUT, ValidationRows

STARTS: Final = 8
BAND_SHARE: Final = 0.2
"""Share of delta that pays for the band of recall."""
_MOST_ROW_THRESHOLDS: Final = 2000
_MOST_UNIT_THRESHOLDS: Final = 200
_MOST_SHARES: Final = 20_000_000
"""Units times thresholds: 160 MB."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What is to hold. measure: recall, precision or f1. attack_share: the share of attacks that precision and F1 are meant at."""

    measure: RequiredFigure
    bound: float
    delta: float
    attack_share: float

    def limit(self, recall: Floats) -> Floats:
        """The largest false-alarm rate at which precision or F1 reaches the bound, given a recall; negative where none does."""
        odds = self.attack_share / (1.0 - self.attack_share)
        if self.measure == "precision":
            return np.asarray(odds * (1.0 - self.bound) / self.bound * recall)
        return np.asarray(odds * ((2.0 - self.bound) * recall / self.bound - 1.0))

    def clears_by_rows(self, missed: Losses, alarmed: Losses) -> Mask:
        """Whether the rows' own figure is over the bound by its one-sided normal interval, shape (k,)."""
        (miss, miss_variance), (alarm, alarm_variance) = missed.of_rows(), alarmed.of_rows()
        if self.measure == "recall":
            over, variance = 1.0 - miss - self.bound, miss_variance
        else:
            slope = self.limit(np.ones(1)) - self.limit(np.zeros(1))
            over, variance = self.limit(1.0 - miss) - alarm, slope**2 * miss_variance + alarm_variance
        return np.asarray(over >= ndtri(1.0 - self.delta) * np.sqrt(variance))


@dataclass(frozen=True, slots=True)
class CertifiedThresholds:
    """thresholds: tested ones, scores of attacks, falling; holds: which keep the floor. Both of shape (k,)."""

    thresholds: Floats
    holds: Mask
    missed: Losses
    alarmed: Losses


def certify(rows: ValidationRows, floor: Floor) -> CertifiedThresholds:
    """Test the scores of attacks: between two of them a lower threshold only adds false alarms."""
    thresholds = _to_test(rows)
    missed, alarmed = losses(rows, thresholds, of_attacks=True), losses(rows, thresholds, of_attacks=False)
    holds = _recall(missed, floor) if floor.measure == "recall" else _with_false_alarms(missed, alarmed, floor)
    if not isinstance(missed, RowLosses):
        holds = holds & floor.clears_by_rows(missed, alarmed)
    return CertifiedThresholds(thresholds, holds, missed, alarmed)


def band(draws: int, delta: float, *, of_rows: bool) -> float:
    """How far the mean may be over the expectation, at all thresholds at once. Units cost a factor e: their shares are averages of what
    single rows would be (Kemperman's lemma in Shorack & Wellner, 1986, A.2)."""
    return sqrt((log(1.0 / delta) + (0.0 if of_rows else 1.0)) / (2.0 * draws)) if draws else 1.0


def thresholds_for(units: int) -> int:
    """How many thresholds are tested at most: fewer where there are very many units, whose shares must fit into memory."""
    return max(20, min(_MOST_UNIT_THRESHOLDS, _MOST_SHARES // max(units, 1)))


def _to_test(rows: ValidationRows) -> Floats:
    found = np.unique(rows.scores[rows.attack & (rows.unit_of != LEFT_OUT)])[::-1]
    most = _MOST_ROW_THRESHOLDS if rows.unit == "row" else thresholds_for(len(np.unique(rows.unit_of)))
    if len(found) <= most:
        return found
    place = np.linspace(0.0, 1.0, most // 2)
    place = np.unique(np.concatenate([place, 0.9 + 0.1 * place]))  # finer where a floor of recall is met
    return np.asarray(found[np.unique(np.round(place * (len(found) - 1)).astype(np.int64))])


def _recall(missed: Losses, floor: Floor) -> Mask:
    passed = missed.p_values(np.full(len(missed.mean), 1.0 - floor.bound)) <= floor.delta
    return np.logical_and.accumulate(passed[::-1])[::-1]


def _with_false_alarms(missed: Losses, alarmed: Losses, floor: Floor) -> Mask:
    of_rows = isinstance(missed, RowLosses)
    certain = 1.0 - missed.mean - band(missed.draws, floor.delta * BAND_SHARE, of_rows=of_rows)
    limits, delta = floor.limit(certain), floor.delta * (1.0 - BAND_SHARE)
    p_values = alarmed.p_values(limits)
    budget = _starts(alarmed.without_loss().p_values(limits), 1.0 - missed.mean, delta)
    holds, carried = np.zeros(len(limits), dtype=bool), 0.0
    for i, p in enumerate(p_values):
        level = budget[i] + carried
        holds[i] = level > 0 and p <= level
        carried = level if holds[i] else 0.0
    return holds


def _starts(best: Floats, recall: Floats, delta: float) -> Floats:
    """What each threshold has of delta, shape (k,): the same at STARTS places, evenly in recall from the first that can pass; else 0.

    best: the p-values if no benign row alerted, so that no benign row is looked at here."""
    budget = np.zeros(len(best))
    for count in (STARTS, 1):
        able = np.flatnonzero(best <= delta / count)
        if len(able):
            levels = np.linspace(recall[able[0]], recall[-1], count, endpoint=False)
            places = np.searchsorted(recall, levels, side="left").clip(able[0], len(best) - 1)
            np.add.at(budget, places, delta / count)
            break
    return budget
