"""Checks on rows that training has not seen: figures against floors, attack types, another bundle, segments. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from lifecycle.arrays import Mask
from lifecycle.evaluation.attacks import FamilyReport, by_family
from lifecycle.evaluation.compare.compare import compare
from lifecycle.evaluation.fairness.disparity import FairnessReport
from lifecycle.evaluation.report import PointReport, report
from lifecycle.evaluation.scored import Scored
from lifecycle.gate.checks import Check, failed, passed, skipped
from lifecycle.gate.policy import FamilyFloor, FigureFloor, GatePolicy
from lifecycle.metrics.intervals import Interval
from serving.models.manifest import Manifest, OperatingPoint

LEFT_OUT: Final = "left_out"
"""The name of all attack types together that training did not have."""
_DRAWS: Final = 200
"""Draws of the bounds: two digits of a bound are enough for a gate."""
_REQUIREMENT: Final = re.compile(r"(?P<figure>recall|precision|f1) >= (?P<least>[01](\.[0-9]*)?|\.[0-9]+)", re.IGNORECASE)
_SHARE_TOLERANCE: Final = 0.1
"""By how much the attack share may differ, relative to the bundle's, for precision and F1 to be compared."""
_BETTER: Final = "collect more rows, train again, or lower the floor with a reason"
_KEY_FIGURES: Final = frozenset({"recall", "false_alarm_rate", "precision", "f1", "average_precision"})


def performance_check(manifest: Manifest, scored: Scored, policy: GatePolicy, window_s: int) -> Check:
    """Floors must be shown by the lower bound; requirements that the bundle says are met must not be refuted by the upper bound.

    scored: rows unseen in training, scored by this bundle. window_s: length of an entity-window, in seconds."""
    points = manifest.operating_points
    if unknown := sorted({f.point for f in policy.floors} - set(points)):
        return failed(
            "performance", f"the policy has floors for {unknown}, the bundle has {sorted(points)}", "name its operating points"
        )
    if not scored.attack.any() or scored.attack.all():
        return failed(
            "performance", "the unseen rows hold one class only, so nothing is shown", "give rows with attacks and benign rows"
        )
    by_unit = {
        unit.unit: {p.scenario: p for p in unit.points}
        for unit in report(scored, points, window_s=window_s, minutes_per_alert=0.0, draws=_DRAWS)
        if unit.benign == "all"
    }
    rows = by_unit["row"]
    judged, refuted = _promises(points, rows)
    wrong = [*_below_floors(policy.floors, rows), *refuted]
    figures = {
        scenario: {name: _figure(p.intervals[name]) for name in ("recall", "precision", "f1", "false_alarm_rate")}
        for scenario, p in rows.items()
    }
    counted = f"{len(scored.score):,} unseen rows with {int(scored.attack.sum()):,} attacks"
    if wrong:
        return failed("performance", "; ".join(wrong), _BETTER, **figures)
    if not judged and not policy.floors:
        why = "the policy names no floor, and the bundle promises nothing that these rows can judge"
        return skipped("performance", why, "add `floors` to the policy")
    shown = [f"{f.point} {f.figure} {_words(rows[f.point].intervals[f.figure])}" for f in policy.floors]
    return passed("performance", f"{counted}: {', '.join(dict.fromkeys([*shown, *judged]))}", **figures)


def _below_floors(floors: Collection[FigureFloor], rows: Mapping[str, PointReport]) -> Iterator[str]:
    for floor in floors:
        found = rows[floor.point].intervals[floor.figure]
        if found.low is None or found.low < floor.least:
            yield f"{floor.point}: {floor.figure} is {_words(found)}, its lower bound must be at least {floor.least:g}"


def _promises(points: Mapping[str, OperatingPoint], rows: Mapping[str, PointReport]) -> tuple[list[str], list[str]]:
    """Requirements that the bundle says are met: words on those that these rows can judge, and on those that they refute."""
    judged, refuted = [], []
    for name, point in points.items():
        asked = _REQUIREMENT.fullmatch(point.requirement)
        if asked is None or point.expected is None or not point.expected.is_met:
            continue
        figure, least = asked["figure"].lower(), float(asked["least"])
        if not least:
            continue  # 0 promises nothing
        if figure != "recall" and not _is_near(_attack_share(rows[name]), point.expected.attack_share):
            continue  # precision and F1 are about an attack share
        found = rows[name].intervals[figure]
        judged.append(f"{name} {figure} {_words(found)}")
        if found.high is not None and found.high < least:
            refuted.append(f"{name}: {figure} is {_words(found)}, the bundle promises {point.requirement}")
    return judged, refuted


def _attack_share(point: PointReport) -> float:
    return (point.rates.hits + point.rates.misses) / max(point.rates.total, 1)


def _is_near(share: float, other: float) -> bool:
    return abs(share - other) <= _SHARE_TOLERANCE * other


def families_check(manifest: Manifest, scored: Scored, policy: GatePolicy, left_out: Mask | None) -> Check:
    """Recall of attack types. left_out: shape (n,), rows of types that training did not have; None: not known."""
    if not policy.families:
        return skipped("families", "the policy asks for no attack type", "add `families` to the policy")
    if scored.family is None:
        return skipped(
            "families", "the rows do not say which type an attack is", "declare the column of types in the detector file"
        )
    if not scored.attack.any():
        return skipped("families", "the rows hold no attack", "give rows with attacks")
    default = str(manifest.default_operating_point)
    wanted = {floor.point or default for floor in policy.families}
    if unknown := sorted(wanted - set(manifest.operating_points)):
        return failed(
            "families", f"the policy asks for the points {unknown}", f"name some of {sorted(manifest.operating_points)}"
        )
    points = {name: manifest.operating_points[name] for name in sorted(wanted)}
    found = list(by_family(scored, points, most=None))
    if left_out is not None and (scored.attack & left_out).any():
        unseen = replace(scored.take(scored.attack & left_out), family=None)
        family = np.full(len(unseen.score), LEFT_OUT, dtype=object)
        found += by_family(replace(unseen, family=family), points)
    wrong = [words for floor in policy.families for words in _lost(floor, floor.point or default, found)]
    figures = {f"{f.family} at {f.scenario}": {"attacks": f.attacks, **_figure(f.recall)} for f in found}
    if wrong:
        return failed("families", "; ".join(wrong), "train on rows of these types, or lower the floor with a reason", **figures)
    shown = ", ".join(f"{f.family} {_words(f.recall)}" for f in found if f.scenario == next(iter(points)))
    return passed("families", shown, **figures)


def _lost(floor: FamilyFloor, point: str, found: Collection[FamilyReport]) -> Iterator[str]:
    of_point = {f.family: f for f in found if f.scenario == point}
    for family in floor.families or of_point:
        if family not in of_point:
            yield f"{point}: no row is of type {family}, so its recall is not shown"
            continue
        recall = of_point[family].recall
        bound = recall.low if floor.is_shown else recall.high
        if bound is None or bound < floor.least:
            yield f"{point}: recall of {family} is {_words(recall)}, at least {floor.least:g} is wanted"


def champion_check(manifest: Manifest, scored: Scored, champion: Manifest, other: Scored, window_s: int) -> Check:
    """No figure may be worse than the champion's beyond chance. other: the same rows, scored by the champion."""
    theirs = champion.operating_points
    thresholds = {
        name: (theirs[name].threshold, point.threshold) for name, point in manifest.operating_points.items() if name in theirs
    }
    try:
        units = compare(other, scored, thresholds, window_s=window_s, draws=_DRAWS)
    except ValueError as problem:
        return failed("champion", str(problem), "give rows that both can be judged on")
    rows = units[0]
    compared = [f for f in rows.figures if f.figure in _KEY_FIGURES]
    figures = {
        f"{f.figure} {f.where}".strip(): {"champion": f.first, "bundle": f.second, "adjusted_p": f.adjusted} for f in compared
    }
    worse = [f for f in compared if f.better == "first"]
    against = f"{champion.name} {champion.version}"
    if worse:
        named = "; ".join(f"{f.figure} {f.where}".strip() + f" {f.second:.4f}, {against} has {f.first:.4f}" for f in worse)
        return failed("champion", named, "keep the champion, or train again", **figures)
    better = sum(f.better == "second" for f in compared)
    return passed("champion", f"not worse than {against} in any of {len(compared)} figures, better in {better}", **figures)


def fairness_check(found: FairnessReport | None) -> Check:
    """found: the judged segments; None where there is no mapping, or rows name no entity."""
    if found is None:
        return skipped("fairness", "no segments of entities are given", "give --segments FILE")
    findings = [d for d in found.disparities if d.is_finding]
    if findings:
        named = "; ".join(f"{d.column}={d.value}: {d.rate} differs by {_words(d.difference)}" for d in findings)
        return failed("fairness", named, "see `vedette evaluate --segments`; thresholds or training rows of these segments")
    judged = sum(not d.too_small for d in found.disparities)
    if not judged:
        why = found.disparities[0].too_small if found.disparities else "no row is of an entity of the mapping"
        return skipped(
            "fairness", f"no segment is large enough to be compared: {why}", "give more rows, or a mapping of their entities"
        )
    return passed(
        "fairness", f"{judged} comparisons of segments, none beyond chance; {len(found.disparities) - judged} too small"
    )


def _words(found: Interval) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "not measured"
    return f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})"


def _figure(found: Interval) -> dict[str, float | None]:
    return {"value": found.value, "low": found.low, "high": found.high}
