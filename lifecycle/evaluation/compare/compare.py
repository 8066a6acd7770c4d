"""Two models on the same rows: every figure of both, their difference with bounds, and whether it is more than chance. Pure.

Differences are second less first. Where rows are independent, McNemar's exact test judges recall and false alarms, and DeLong's the
ROC-AUC; everything else, and everything where rows of one entity are alike, is judged from the same draws of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from lifecycle.arrays import Floats, Mask
from lifecycle.evaluation.bootstrap import COUNTED, LEVELS, Clusters, Statistic, bootstrap, counted, draws_for
from lifecycle.evaluation.compare.budget import BUDGETED, at_budgets
from lifecycle.evaluation.compare.paired_tests import Discordant, delong_difference, drawn_difference, holm, mcnemar
from lifecycle.evaluation.estimates import clusters_of
from lifecycle.evaluation.report import Benign
from lifecycle.evaluation.scored import Scored, by_window
from lifecycle.metrics.calibration import CALIBRATED, calibration_figures
from lifecycle.metrics.intervals import Interval
from lifecycle.metrics.ranking import RANKED, RankedRows

ALPHA: Final = 0.05
LOWER_IS_BETTER: Final = frozenset({*CALIBRATED, "false_alarm_rate"})
PairedTest = Literal["mcnemar", "delong", "bootstrap"]
Preference = Literal["first", "second", "undecided"]


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """One figure of both. where: an operating point, an alert budget, or "" (over all thresholds).

    p: two-sided; adjusted: corrected (Holm) for all figures of this way of counting. better: which is, at 5 % after correction."""

    figure: str
    where: str
    first: float | None
    second: float | None
    difference: Interval
    test: PairedTest
    p: float | None
    adjusted: float | None = None

    @property
    def better(self) -> Preference:
        """The model that is better beyond chance."""
        if self.adjusted is None or self.adjusted > ALPHA or not self.difference.value:
            return "undecided"
        return "second" if (self.difference.value > 0) != (self.figure in LOWER_IS_BETTER) else "first"


@dataclass(frozen=True, slots=True)
class DiscordantRows:
    """Rows that one model judges right and the other wrong, at one operating point: attacks that alert, benign rows that do not."""

    scenario: str
    attacks: Discordant
    benign: Discordant


@dataclass(frozen=True, slots=True)
class ComparedUnit:
    """One way of counting. is_by_entity: entities were drawn. budgets: share of the rows that may alert -> its name."""

    unit: str
    benign: Benign
    rows: int
    attacks: int
    attacked_entities: int | None
    is_by_entity: bool
    draws: int
    figures: tuple[PairedFigure, ...]
    discordant: tuple[DiscordantRows, ...]


def compare(
    first: Scored, second: Scored, thresholds: Mapping[str, tuple[float, float]], *, window_s: int,
    budgets: Sequence[float] = (), draws: int | None = None, seed: int = 0,
) -> tuple[ComparedUnit, ...]:  # fmt: skip
    """Compare on every way of counting. first, second: the same rows in the same order, with both classes.

    thresholds: scenario -> (first's, second's). budgets: shares of the rows that may alert, beside those that the first uses at its
    own thresholds. Raises ValueError if the rows are not the same, one class is missing, or a model has no score that is a number."""
    if not (np.array_equal(first.attack, second.attack) and first.attack.any() and not first.attack.all()):
        raise ValueError("both models must be judged on the same rows, with attacks and benign rows among them")
    for which, scored in (("first", first), ("second", second)):
        if np.isnan(scored.score).all():
            raise ValueError(
                f"every score of the {which} model is NaN, so nothing can be compared; check what its graph computes for these rows"
            )
    ways: list[tuple[str, Benign, Scored, Scored]] = [("row", "all", first, second)]
    if first.entity is not None and first.at_us is not None:
        ways.append(("entity_window", "all", by_window(first, window_s), by_window(second, window_s)))
    for unit, _, one, other in tuple(ways):
        known = one.verified
        if not known.all() and (known & ~one.attack).any():
            ways.append((unit, "verified", one.take(known), other.take(known)))
    return tuple(
        _Pair(one, other, thresholds, budgets).compared(unit, benign, draws, seed) for unit, benign, one, other in ways
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same rows with the scores of both."""

    first: Scored
    second: Scored
    thresholds: Mapping[str, tuple[float, float]]
    budgets: Sequence[float]

    def compared(self, unit: str, benign: Benign, draws: int | None, seed: int) -> ComparedUnit:
        rows, attack = self.first, self.first.attack
        clusters = clusters_of(rows)
        times = draws or 2 * draws_for(len(attack))
        shares = self._shares()
        statistics = [self._statistic(one, i, tuple(shares.values())) for i, one in enumerate((self.first, self.second))]
        drawn = bootstrap(clusters, statistics, draws=times, seed=seed)
        whole = [s(np.ones((1, len(attack))))[0] for s in statistics]
        names = self._names(tuple(shares))
        found = [
            self._figure(name, where, clusters, (whole[0][i], whole[1][i]), drawn[1][:, i] - drawn[0][:, i])
            for i, (name, where) in enumerate(names)
        ]
        corrected = holm([f.p for f in found])
        return ComparedUnit(
            unit, benign, len(attack), int(attack.sum()),
            None if rows.entity is None else len(set(rows.entity[attack].tolist())), rows.entity is not None, times,
            tuple(replace(f, adjusted=p) for f, p in zip(found, corrected, strict=True)), self._discordant(),
        )  # fmt: skip

    def _shares(self) -> dict[str, float]:
        """Name -> share of the rows that may alert: what the first model uses at each of its points, then those asked for."""
        own = {
            f"as many as the first at {name}": float(self.first.alerts(t).mean()) for name, (t, _) in self.thresholds.items()
        }
        asked = {f"{share:.4%} of the rows".replace("%", " %"): share for share in self.budgets}
        return {name: share for name, share in (own | asked).items() if share > 0}

    def _names(self, budgets: Sequence[str]) -> list[tuple[str, str]]:
        """(figure, where) of each column of a statistic."""
        calibrated = CALIBRATED if self._has_probabilities else ()
        return [
            *((name, "") for name in (*RANKED, *calibrated)), *((name, point) for point in self.thresholds for name in COUNTED),
            *((name, budget) for budget in budgets for name in BUDGETED),
        ]  # fmt: skip

    @property
    def _has_probabilities(self) -> bool:
        return self.first.probability is not None and self.second.probability is not None

    def _statistic(self, scored: Scored, which: int, shares: Sequence[float]) -> Statistic:
        keep = [pair[which] for pair in self.thresholds.values()]
        ranked = RankedRows(scored.score, scored.attack, most=LEVELS, keep=keep)
        places = [ranked.place_of(pair[which]) for pair in self.thresholds.values()]
        probability = scored.probability if self._has_probabilities else None

        def figures(weights: Floats) -> Floats:
            hits, alarms = ranked.totals(weights)
            columns = [ranked.areas_of(hits, alarms)]
            if probability is not None:
                columns.append(calibration_figures(probability, scored.attack, weights))
            none = np.zeros(len(weights))
            for place in places:
                at = (hits[:, place], alarms[:, place]) if place >= 0 else (none, none)
                columns.append(counted(*at, hits[:, -1], alarms[:, -1]))
            columns.append(at_budgets(ranked, weights, shares).reshape(len(weights), -1))
            return np.hstack(columns)

        return figures

    def _figure(self, name: str, where: str, clusters: Clusters, values: tuple[float, float], drawn: Floats) -> PairedFigure:
        first, second = (None if np.isnan(v) else float(v) for v in values)
        value = None if first is None or second is None else second - first
        difference, p = drawn_difference(value, drawn, self._units(name, clusters))
        test: PairedTest = "bootstrap"
        if self.first.entity is None and name == "roc_auc":
            test, (difference, p) = "delong", delong_difference(self.first.score, self.second.score, self.first.attack)
        elif self.first.entity is None and where in self.thresholds and name in ("recall", "false_alarm_rate"):
            rows = self.first.attack if name == "recall" else ~self.first.attack
            test, p = "mcnemar", self._mcnemar(where, rows).p
        return PairedFigure(name, where, first, second, difference, test, p)

    def _units(self, name: str, clusters: Clusters) -> int:
        """How many clusters bear on a figure: attacked ones on recall, benign ones on false alarms, the fewer of both on the rest."""
        attack = self.first.attack
        counts = {"recall": (attack,), "false_alarm_rate": (~attack,)}.get(name, (attack, ~attack))
        return min(clusters.having(rows) for rows in counts)

    def _discordant(self) -> tuple[DiscordantRows, ...]:
        attack = self.first.attack
        return tuple(
            DiscordantRows(name, self._mcnemar(name, attack), self._mcnemar(name, ~attack)) for name in self.thresholds
        )

    def _mcnemar(self, scenario: str, rows: Mask) -> Discordant:
        """On attacks (right: it alerts), or on benign rows (right: it does not)."""
        one, other = self.thresholds[scenario]
        first, second = self.first.alerts(one)[rows], self.second.alerts(other)[rows]
        is_attack = self.first.attack[rows]
        return mcnemar(first == is_attack, second == is_attack)
