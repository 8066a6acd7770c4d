"""An evaluation as JSON: everything, by seed, and a summary over seeds. Pure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lifecycle.evaluation.attacks import EpisodeReport, FamilyAnswers, FamilyReport
from lifecycle.evaluation.costs import Cost, Site, point_costs, what_if
from lifecycle.evaluation.estimates import ThresholdFigures
from lifecycle.evaluation.evaluate import EvaluationResult, SeedReport
from lifecycle.evaluation.fairness.section import fairness_record
from lifecycle.evaluation.report import CalibrationReport, PointReport, SegmentReport, UnitReport, spread
from lifecycle.metrics.families import Averages
from lifecycle.metrics.intervals import Interval

FIGURES: Final[Mapping[str, Callable[[PointReport], float | None]]] = {
    "precision": lambda p: p.rates.precision.value,
    "recall": lambda p: p.rates.recall.value,
    "f1": lambda p: p.rates.f1,
    "false_alarm_rate": lambda p: p.rates.false_alarm_rate.value,
    "attack_share": lambda p: p.rates.attack_share,
    "threshold": lambda p: p.threshold,
    "alerts_per_day": lambda p: p.alerts_per_day,
    "false_alarm_minutes": lambda p: p.false_alarm_minutes,
    "false_alarm_minutes_per_day": lambda p: p.false_alarm_minutes_per_day,
    "expected_precision": lambda p: p.expected.precision if p.expected else None,
    "expected_recall": lambda p: p.expected.recall if p.expected else None,
    "expected_f1": lambda p: p.expected.f1 if p.expected else None,
    "expected_false_alarm_rate": lambda p: p.expected.false_alarm_rate if p.expected else None,
    "expected_attack_share": lambda p: p.expected.attack_share if p.expected else None,
}
"""Of one operating point -> how it is read."""

Record = dict[str, Any]


def as_record(result: EvaluationResult, site: Site | None = None) -> Record:
    """The whole result. site: where alerts would arrive; None: no costs."""
    return {
        "detector": result.detector.name, "data_digest": result.data_digest, "test": result.test, "parts": result.parts,
        "why_this_split": result.detector.split.why, "notes": list(result.notes),
        "site": None if site is None else dataclasses.asdict(site),
        "summary": [summary(units) for units in over_seeds(result)],
        "seeds": [_seed(s, site) for s in result.seeds],
    }  # fmt: skip


def over_seeds(result: EvaluationResult) -> list[tuple[UnitReport, ...]]:
    """The same way of counting, over all seeds."""
    return list(zip(*(s.units for s in result.seeds), strict=True))


def summary(units: tuple[UnitReport, ...]) -> Record:
    """Mean and standard deviation over seeds of one way of counting."""
    first = units[0]
    points = [
        {
            "operating_point": point.scenario, "requirement": point.requirement,
            **{name: _spread([figure(u.points[i]) for u in units]) for name, figure in FIGURES.items()},
        }
        for i, point in enumerate(first.points)
    ]  # fmt: skip
    return {
        "unit": first.unit, "benign": first.benign, "attacked_entities": first.attacked_entities,
        **{name: _spread([u.ranking[name] for u in units]) for name in first.ranking}, "operating_points": points,
    }  # fmt: skip


def interval_record(interval: Interval) -> Record:
    """A figure with its bounds."""
    return dataclasses.asdict(interval)


def intervals_record(intervals: Mapping[Any, Interval]) -> Record:
    """Named figures with their bounds."""
    return {str(name): interval_record(interval) for name, interval in intervals.items()}


def cost_record(cost: Cost) -> Record:
    """One threshold at a site."""
    return dataclasses.asdict(cost)


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    found = spread(list(values))
    sd = None if found.value is None or found.high is None else found.high - found.value
    return {"mean": found.value, "sd": sd}


def _seed(seed: SeedReport, site: Site | None) -> Record:
    return {
        "seed": seed.seed, "digest": seed.digest, "units": [_unit(u, site) for u in seed.units],
        "segments": [_segment(s) for s in seed.segments], "families": [_family(f) for f in seed.families],
        "family_answers": None if seed.answers is None else _answers(seed.answers),
        "episodes": [_episodes(e) for e in seed.episodes],
        "fairness": fairness_record(seed.fairness) if seed.fairness else None,
        "confidence": dataclasses.asdict(seed.confidence) if seed.confidence else None,
        "triage": dataclasses.asdict(seed.triage) if seed.triage else None,
        "operating_points": {name: p.model_dump(mode="json") for name, p in seed.points.items()},
    }  # fmt: skip


def _unit(unit: UnitReport, site: Site | None) -> Record:
    costs = {} if site is None else point_costs(unit, site)
    return {
        "unit": unit.unit, "benign": unit.benign, "attacked_entities": unit.attacked_entities, **unit.ranking,
        "intervals": intervals_record(unit.ranking_intervals),
        "operating_points": [
            {**_point(p), "cost": cost_record(costs[p.scenario]) if p.scenario in costs else None} for p in unit.points
        ],
        "calibration": None if unit.calibration is None else _calibration(unit.calibration),
        "what_if": [_threshold(t) for t in unit.what_if] if site is None else [cost_record(c) for c in what_if(unit, site)],
    }  # fmt: skip


def _point(point: PointReport) -> Record:
    return {
        "operating_point": point.scenario, "requirement": point.requirement, "threshold": point.threshold,
        **dataclasses.asdict(point.rates), **_counted(point.intervals), "attack_share": point.rates.attack_share,
        "expected": point.expected.model_dump(mode="json") if point.expected else None, "alerts_per_day": point.alerts_per_day,
        "false_alarm_minutes": point.false_alarm_minutes, "false_alarm_minutes_per_day": point.false_alarm_minutes_per_day,
    }  # fmt: skip


def _counted(intervals: Mapping[str, Interval]) -> Record:
    """precision, recall and false_alarm_rate with bounds; `f1` as a number, its bounds apart."""
    record = intervals_record(intervals)
    return {**record, "f1": record["f1"]["value"], "f1_interval": record["f1"]}


def _threshold(at: ThresholdFigures) -> Record:
    return {"threshold": at.threshold, **dataclasses.asdict(at.rates), **_counted(at.intervals)}


def _segment(segment: SegmentReport) -> Record:
    rates = {**dataclasses.asdict(segment.rates), **_counted(segment.intervals), "attack_share": segment.rates.attack_share}
    return {"segment": segment.segment, "value": segment.value, "scenario": segment.scenario, "rates": rates}


def _family(family: FamilyReport) -> Record:
    return dataclasses.asdict(family)


def _answers(answers: FamilyAnswers) -> Record:
    matrix = answers.matrix
    return {
        "scenario": answers.scenario, "classes": list(matrix.classes), "counts": matrix.counts.tolist(),
        "accuracy": interval_record(answers.accuracy), "macro": intervals_record(answers.macro), "micro": intervals_record(answers.micro),
        "per_class": [
            {"class": f.name, "support": f.support, "answers": f.answers, **intervals_record(answers.classes[f.name])}
            for f in matrix.figures()
        ],
        "over_all_classes": {name: _averages(a) for name, a in (("macro", matrix.macro()), ("micro", matrix.micro()))},
    }  # fmt: skip


def _averages(averages: Averages) -> Record:
    return dataclasses.asdict(averages)


def _calibration(calibration: CalibrationReport) -> Record:
    return {
        **intervals_record(calibration.figures),
        "reliability": [dataclasses.asdict(b) for b in calibration.bins],
    }


def _episodes(episodes: EpisodeReport) -> Record:
    return {
        "scenario": episodes.scenario, "episodes": episodes.episodes, "entities": episodes.entities,
        "detected": interval_record(episodes.detected),
        "delay_s": {f"{share:.0%}": interval_record(delay) for share, delay in episodes.delays_s.items()},
    }  # fmt: skip
