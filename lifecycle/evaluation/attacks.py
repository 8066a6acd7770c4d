"""Figures of attacks: recall by family, families as they were named, and the time until an episode was found. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.datasets.detector import Detector
from lifecycle.evaluation.bootstrap import bootstrap, by_entity, draws_for, share_interval
from lifecycle.evaluation.estimates import clusters_of, estimate
from lifecycle.evaluation.scored import BENIGN_CLASS, Scored
from lifecycle.metrics.episodes import attack_episodes, delay_quantiles
from lifecycle.metrics.families import Averages, ConfusionMatrix, averages, confusion_matrix
from lifecycle.metrics.intervals import UNDEFINED, Interval
from serving.models.manifest import OperatingPoint

OTHER: Final = "other"
DELAY_SHARES: Final = (0.5, 0.9)
_MOST: Final = 30


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """Attacks of one family at one operating point. recall: share of them that alert."""

    family: str
    scenario: str
    attacks: int
    recall: Interval


@dataclass(frozen=True, slots=True)
class FamilyAnswers:
    """Families as they were named: a row that does not alert counts as benign, one that alerts as what the model names it.

    classes: name -> precision, recall and f1, with bounds; macro, micro: the same over the attack families."""

    scenario: str
    matrix: ConfusionMatrix
    accuracy: Interval
    classes: Mapping[str, Mapping[str, Interval]]
    macro: Mapping[str, Interval]
    micro: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class EpisodeReport:
    """Attack episodes at one operating point. delays_s: share of the episodes -> seconds within which so many had an alert;

    an undefined one: fewer had one. Bounds by entity."""

    scenario: str
    episodes: int
    entities: int
    detected: Interval
    delays_s: Mapping[float, Interval]


def family_names(detector: Detector, kind: NDArray[np.object_] | None, attack: NDArray[np.bool_]) -> NDArray[np.object_] | None:
    """The family of each row: as `split.families` has its type, OTHER if none has; the type itself where no family is declared.

    kind, attack: shape (n,). None if rows name no type."""
    if kind is None:
        return None
    family_of = {kind: family for family, kinds in detector.split.families.items() for kind in kinds}
    named = [family_of.get(str(k), OTHER) if family_of else str(k) for k in kind.tolist()]
    return np.where(attack, np.array(named, dtype=object), BENIGN_CLASS).astype(object)


def by_family(scored: Scored, points: Mapping[str, OperatingPoint], *, most: int | None = _MOST) -> tuple[FamilyReport, ...]:
    """Recall of the most frequent families at each point; nothing where rows name no types. most: None for all."""
    if scored.family is None:
        return ()
    names, counts = np.unique(scored.family[scored.attack].astype(str), return_counts=True)
    found = []
    for name in names[np.argsort(-counts, kind="stable")][:most].tolist():
        part = scored.take(scored.attack & (scored.family == name))
        at = estimate(part, [p.threshold for p in points.values()]).at
        found += [
            FamilyReport(name, scenario, len(part.score), a.intervals["recall"]) for scenario, a in zip(points, at, strict=True)
        ]
    return tuple(found)


def named_families(
    scored: Scored, scenario: str, point: OperatingPoint, families: Sequence[str], seed: int = 0
) -> FamilyAnswers | None:
    """How well families are named; None where the model names none or rows do not say theirs."""
    if scored.family is None or scored.answered_family is None:
        return None
    answered = np.where(scored.alerts(point.threshold), scored.answered_family, BENIGN_CLASS).astype(object)
    seen = {*scored.family.tolist(), *answered.tolist()} - {BENIGN_CLASS, *families}
    classes = (BENIGN_CLASS, *families, *sorted(seen))
    matrix = confusion_matrix(scored.family, answered, classes)
    k, place = len(classes), {name: i for i, name in enumerate(classes)}
    pairs = np.array([place[t] * k + place[a] for t, a in zip(scored.family.tolist(), answered.tolist(), strict=True)])
    one_hot = np.zeros((len(pairs), k * k))
    one_hot[np.arange(len(pairs)), pairs] = 1.0
    clusters = clusters_of(scored)

    def figures(weights: Floats) -> Floats:
        counts = (weights @ one_hot).reshape(-1, k, k)
        hits, answers, support = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=1), counts.sum(axis=2)
        each = [_ratio(hits, answers), _ratio(hits, support), _ratio(2 * hits, answers + support)]
        accuracy = _ratio(hits.sum(axis=1, keepdims=True), counts.sum(axis=(1, 2))[:, None])
        return np.hstack([*averages(counts, range(1, k)), accuracy, *each])

    drawn = bootstrap(clusters, [figures], draws=draws_for(len(pairs)), seed=seed)[0]
    units = clusters.having(scored.attack)
    each = {}
    for i, found in enumerate(matrix.figures()):
        parts = drawn[:, [7 + i, 7 + k + i, 7 + 2 * k + i]]
        rows = (scored.family == found.name) | (answered == found.name)
        bounded = _bounded(Averages(found.precision.value, found.recall.value, found.f1), parts, clusters.having(rows))
        wilson = {"precision": found.precision, "recall": found.recall} if scored.entity is None else {}
        each[found.name] = {name: wilson.get(name, interval) for name, interval in bounded.items()}
    accuracy = matrix.accuracy()
    if scored.entity is not None:
        accuracy = share_interval(accuracy.value, drawn[:, 6], clusters.count)
    return FamilyAnswers(
        scenario, matrix, accuracy, each, _bounded(matrix.macro(classes[1:]), drawn[:, :3], units),
        _bounded(matrix.micro(classes[1:]), drawn[:, 3:6], units),
    )  # fmt: skip


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0), dtype=np.float64)


def _bounded(found: Averages, drawn: Floats, units: int) -> dict[str, Interval]:
    values = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
    return {name: share_interval(value, drawn[:, i], units) for i, (name, value) in enumerate(values.items())}


def by_episode(scored: Scored, points: Mapping[str, OperatingPoint], gap_s: float, seed: int = 0) -> tuple[EpisodeReport, ...]:
    """When episodes were found at each point; nothing without entities, times or attacks."""
    if scored.entity is None or scored.at_us is None or not scored.attack.any():
        return ()
    found = []
    for scenario, point in points.items():
        episodes = attack_episodes(scored.entity, scored.at_us, scored.attack, scored.alerts(point.threshold), gap_s)
        detected, delay = episodes.detected, episodes.delay_s
        clusters = by_entity(episodes.entity, np.ones(len(episodes), dtype=bool))

        def figures(weights: Floats, detected: NDArray[np.bool_] = detected, delay: Floats = delay) -> Floats:
            share = weights @ detected / weights.sum(axis=1)
            return np.stack([share, *(delay_quantiles(delay, weights, q) for q in DELAY_SHARES)], axis=1)

        drawn = bootstrap(clusters, [figures], seed=seed)[0]
        whole = figures(np.ones((1, len(episodes))))[0]
        delays = {q: _delay(float(whole[i]), drawn[:, i], clusters.count) for i, q in enumerate(DELAY_SHARES, 1)}
        share = share_interval(float(whole[0]), drawn[:, 0], clusters.count)
        found.append(EpisodeReport(scenario, len(episodes), clusters.count, share, delays))
    return tuple(found)


def _delay(value: float, drawn: Floats, units: int) -> Interval:
    """Bounds of a delay; a bound that is never reached is None."""
    if not np.isfinite(value):
        return UNDEFINED
    low, high = (float(q) for q in np.quantile(drawn, (0.025, 0.975), method="inverted_cdf"))
    return Interval(value, min(low, value), max(high, value) if np.isfinite(high) else None, "bootstrap", units)
