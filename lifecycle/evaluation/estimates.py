"""The figures of one set of judged rows with their 95 % bounds, all from the same draws. Pure.

Rows with an entity: entities are drawn (bootstrap.py). Rows without one count as independent: Wilson's bounds for shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lifecycle.arrays import Floats
from lifecycle.evaluation.bootstrap import (
    COUNTED,
    LEVELS,
    Clusters,
    Statistic,
    bootstrap,
    by_entity,
    by_row,
    counted,
    draws_for,
    figure_interval,
    share_interval,
)
from lifecycle.evaluation.scored import Scored
from lifecycle.metrics.calibration import BINS, CALIBRATED, ReliabilityBin, bin_of, calibration_figures
from lifecycle.metrics.intervals import UNDEFINED, Interval
from lifecycle.metrics.ranking import RANKED, RankedRows, ranking
from lifecycle.metrics.rates import Rates, rates


@dataclass(frozen=True, slots=True)
class ThresholdFigures:
    """What alerting at or over a threshold did. intervals: COUNTED -> figure with bounds."""

    threshold: float
    rates: Rates
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of one set of rows. ranking: RANKED; calibration: CALIBRATED, empty without probabilities."""

    ranking: Mapping[str, Interval]
    at: tuple[ThresholdFigures, ...]
    calibration: Mapping[str, Interval]


def estimate(scored: Scored, thresholds: Sequence[float], *, draws: int | None = None, seed: int = 0) -> Estimates:
    """Every figure at these thresholds, and over all. draws: how often to draw; None: by the number of rows."""
    if len(scored.score) == 0:
        nothing = dict.fromkeys(COUNTED, UNDEFINED)
        return Estimates(
            dict.fromkeys(RANKED, UNDEFINED), tuple(ThresholdFigures(t, Rates(0, 0, 0, 0), nothing) for t in thresholds), {}
        )
    clusters = clusters_of(scored)
    has_both = bool(scored.attack.any() and not scored.attack.all())
    statistics = [_at_thresholds(scored, thresholds, with_areas=has_both)]
    if (probability := scored.probability) is not None:
        statistics.append(lambda weights: calibration_figures(probability, scored.attack, weights))
    drawn = bootstrap(clusters, statistics, draws=draws or draws_for(len(scored.score)), seed=seed)
    ranked = dict.fromkeys(RANKED, UNDEFINED)
    if has_both:
        units = min(clusters.having(scored.attack), clusters.having(~scored.attack))
        found = ranking(scored.score, scored.attack)
        ranked = {name: share_interval(found[name], drawn[0][:, i], units) for i, name in enumerate(RANKED)}
    first = len(RANKED) if has_both else 0
    at = tuple(
        _figures(scored, clusters, threshold, drawn[0][:, first + 4 * i : first + 4 * i + 4])
        for i, threshold in enumerate(thresholds)
    )
    return Estimates(ranked, at, {} if probability is None else _calibrated(scored, probability, clusters, drawn[1]))


def bins_by_entity(
    scored: Scored, probability: Floats, bins: Sequence[ReliabilityBin], *, draws: int | None = None, seed: int = 0
) -> tuple[ReliabilityBin, ...]:
    """The same bins with bounds that know that rows of one entity are alike."""
    clusters, attack = clusters_of(scored), scored.attack
    which = bin_of(probability, BINS)
    within = [which == round(b.low * BINS) for b in bins]
    rows = np.column_stack(within).astype(np.float64)

    def shares(weights: Floats) -> Floats:
        total = weights @ rows
        return np.divide(weights @ (rows * attack[:, None]), total, out=np.full_like(total, np.nan), where=total > 0)

    drawn = bootstrap(clusters, [shares], draws=draws or draws_for(len(attack)), seed=seed)[0]
    return tuple(
        replace(b, attack_share=share_interval(b.attack_share.value, drawn[:, i], clusters.having(within[i])))
        for i, b in enumerate(bins)
    )


def clusters_of(scored: Scored) -> Clusters:
    """What is drawn: entities, or rows where there are none."""
    return by_row(scored.attack) if scored.entity is None else by_entity(scored.entity, scored.attack)


def _at_thresholds(scored: Scored, thresholds: Sequence[float], *, with_areas: bool) -> Statistic:
    """RANKED if asked for, then COUNTED of each threshold, side by side."""
    ranked = RankedRows(scored.score, scored.attack, most=LEVELS, keep=thresholds)
    places = [ranked.place_of(threshold) for threshold in thresholds]

    def figures(weights: Floats) -> Floats:
        hits, alarms = ranked.totals(weights)
        columns = [ranked.areas_of(hits, alarms)] if with_areas else []
        for place in places:
            none = np.zeros(len(weights))
            found = (hits[:, place], alarms[:, place]) if place >= 0 else (none, none)
            columns.append(counted(*found, hits[:, -1], alarms[:, -1]))
        return np.hstack(columns) if columns else np.zeros((len(weights), 0))

    return figures


def _figures(scored: Scored, clusters: Clusters, threshold: float, drawn: Floats) -> ThresholdFigures:
    alert = scored.alerts(threshold)
    found = rates(alert, scored.attack)
    f1 = share_interval(found.f1, drawn[:, 2], clusters.having(alert | scored.attack))
    if scored.entity is None:
        shares = {"precision": found.precision, "recall": found.recall, "f1": f1, "false_alarm_rate": found.false_alarm_rate}
        return ThresholdFigures(threshold, found, shares)
    bounded = {
        "precision": share_interval(found.precision.value, drawn[:, 0], clusters.having(alert)),
        "recall": share_interval(found.recall.value, drawn[:, 1], clusters.having(scored.attack)),
        "f1": f1,
        "false_alarm_rate": share_interval(found.false_alarm_rate.value, drawn[:, 3], clusters.having(~scored.attack)),
    }
    return ThresholdFigures(threshold, found, bounded)


def _calibrated(scored: Scored, probability: Floats, clusters: Clusters, drawn: Floats) -> dict[str, Interval]:
    values = calibration_figures(probability, scored.attack, np.ones((1, len(probability))))[0]
    return {name: figure_interval(float(values[i]), drawn[:, i], clusters.count) for i, name in enumerate(CALIBRATED)}
