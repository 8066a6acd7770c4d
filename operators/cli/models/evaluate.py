"""`vedette evaluate`: the quality of a detector's alerts on unseen rows, over seeds."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import Json, errors, print_json, print_table, progress
from operators.cli.fairness import show_fairness
from operators.cli.models.train import DataDir, DataFile, DetectorArgument, feature_store, load

if TYPE_CHECKING:
    from lifecycle.datasets.detector import Detector
    from lifecycle.evaluation.evaluate import EvaluationResult
    from lifecycle.evaluation.report import PointReport, UnitReport
    from lifecycle.training.feast_store import FeastStore

UNITS = {"row": "per row", "entity_window": "per entity-window"}
BENIGN = {"all": "unverified rows counted as benign", "verified": "verified rows only"}


def evaluate(
    detector: DetectorArgument,
    data: DataFile = None,
    data_dir: DataDir = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="File with rows to judge on (default: the detector's, or a split).")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="How many seeds (default: the detector's).")] = None,
    segments: Annotated[
        Path | None,
        typer.Option(help="Mapping of entities to segments (CSV or YAML): rates by segment, and which differ beyond chance."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train with each of several seeds, and judge each bundle on rows that it has not seen."""
    from lifecycle.datasets.data import find_file, read_data
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.evaluation.evaluate import evaluate as run
    from serving.segments.mapping import read_segment_map

    declared = read_detector(detector)
    mapping = None if segments is None else read_segment_map(segments)
    with progress() as display, TemporaryDirectory(prefix="vedette-") as scratch:
        task = display.add_task("reading", total=100)

        def tell(what: str, share: float) -> None:
            display.update(task, description=what, completed=round(share * 100))

        rows = load(declared, data, data_dir, tell)
        if test is None and declared.source.test is not None and data_dir is not None:
            test = find_file(declared, data_dir, "test")
        judged = None if test is None else read_data(declared, test)
        result = run(
            declared,
            rows,
            judged,
            _store(declared, Path(scratch)),
            seeds=seeds or declared.evaluation.seeds,
            progress=tell,
            mapping=mapping,
        )
    if as_json:
        print_json(as_record(result))
    else:
        _show(result)


def _store(detector: "Detector", scratch: Path) -> "FeastStore":
    """A store of its own, so that judging changes nothing; the machine's where the features are filled elsewhere."""
    from lifecycle.training.feast_store import FeastStore
    from serving.settings import ServingSettings

    settings = ServingSettings()
    if detector.features is not None and detector.features.service is not None:
        return feature_store(settings)
    return FeastStore(scratch)


def as_record(result: "EvaluationResult") -> dict[str, Any]:
    """The whole result, for programs."""
    from lifecycle.evaluation.fairness.section import fairness_record

    return {
        "detector": result.detector.name, "data_digest": result.data_digest, "test": result.test, "parts": result.parts,
        "why_this_split": result.detector.split.why, "notes": list(result.notes),
        "summary": [_summary_record(units) for units in _over_seeds(result)],
        "seeds": [
            {
                "seed": s.seed, "digest": s.digest, "units": [_unit_record(u) for u in s.units],
                "segments": [{**dataclasses.asdict(g), "rates": _rates(g)} for g in s.segments],
                "fairness": fairness_record(s.fairness) if s.fairness else None,
            }
            for s in result.seeds
        ],
    }  # fmt: skip


def _over_seeds(result: "EvaluationResult") -> "list[tuple[UnitReport, ...]]":
    """The same way of counting, over all seeds."""
    return list(zip(*(s.units for s in result.seeds), strict=True))


FIGURES: dict[str, Callable[["PointReport"], float | None]] = {
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


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    from lifecycle.evaluation.report import spread

    found = spread(list(values))
    sd = None if found.value is None or found.high is None else found.high - found.value
    return {"mean": found.value, "sd": sd}


def _summary_record(units: "tuple[UnitReport, ...]") -> dict[str, Any]:
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


def _rates(holder: Any) -> dict[str, Any]:
    counted = holder.rates
    named = {n: dataclasses.asdict(getattr(counted, n)) for n in ("precision", "recall", "false_alarm_rate")}
    return {**dataclasses.asdict(counted), **named, "f1": counted.f1, "attack_share": counted.attack_share}


def _unit_record(unit: "UnitReport") -> dict[str, Any]:
    points = [
        {
            "operating_point": p.scenario, "requirement": p.requirement, "threshold": p.threshold, **_rates(p),
            "expected": p.expected.model_dump(mode="json") if p.expected else None, "alerts_per_day": p.alerts_per_day,
            "false_alarm_minutes": p.false_alarm_minutes, "false_alarm_minutes_per_day": p.false_alarm_minutes_per_day,
        }
        for p in unit.points
    ]  # fmt: skip
    return {
        "unit": unit.unit,
        "benign": unit.benign,
        "attacked_entities": unit.attacked_entities,
        **unit.ranking,
        "operating_points": points,
    }


def _show(result: "EvaluationResult") -> None:
    for note in result.notes:
        errors.print(f"note: {note}", markup=False)
    parts = [[name, *(f"{v:,}" for v in counts.values())] for name, counts in result.parts.items()]
    print_table(
        f"{result.detector.name}: rows",
        ["part", *next(iter(result.parts.values()))],
        parts,
        right=list(next(iter(result.parts.values()))),
    )
    if result.detector.split.why:
        print(f"Split: {' '.join(result.detector.split.why.split())}\n")
    over = (
        f"mean and standard deviation over {len(result.seeds)} seeds"
        if len(result.seeds) > 1
        else f"seed {result.seeds[0].seed}"
    )
    for units in _over_seeds(result):
        _show_unit(result, units, over)
    if any(len({p.threshold for p in s.units[0].points}) == 1 for s in result.seeds):
        print("The operating points fall together: on the validation rows one threshold meets every requirement best.\n")
    _show_segments(result)
    first = result.seeds[0]
    if first.fairness is not None:
        show_fairness(first.fairness, f"{result.detector.default_operating_point}, seed {first.seed}")
    expected = [
        [
            p["operating_point"],
            *(
                _cell(p[f"expected_{n}"], percent=n.endswith(("rate", "share")))
                for n in ("precision", "recall", "f1", "false_alarm_rate", "attack_share")
            ),
        ]
        for p in _summary_record(_over_seeds(result)[0])["operating_points"]
    ]
    columns = ["operating point", "precision", "recall", "F1", "false alarms", "attack share"]
    print_table("expected, from validation data", columns, expected, right=columns[1:])


def _show_unit(result: "EvaluationResult", units: "tuple[UnitReport, ...]", over: str) -> None:
    record = _summary_record(units)
    rows = []
    for p in record["operating_points"]:
        cost = (
            p["false_alarm_minutes_per_day"]
            if p["false_alarm_minutes_per_day"]["mean"] is not None
            else p["false_alarm_minutes"]
        )
        figures = [_cell(p[n]) for n in ("precision", "recall", "f1")]
        rows.append([p["operating_point"], p["requirement"], _cell(p["threshold"]), *figures, _cell(p["false_alarm_rate"], percent=True),
                     _cell(p["attack_share"], percent=True), _cell(p["alerts_per_day"], whole=True), _cell(cost, whole=True)])  # fmt: skip
    what = f"{UNITS[record['unit']]}{f' of {result.detector.evaluation.window_s} s' if record['unit'] != 'row' else ''}"
    attacked = "" if record["attacked_entities"] is None else f", {record['attacked_entities']} attacked entities"
    ranked = ", ".join(
        f"{label} {_cell(record[n])}"
        for n, label in (("roc_auc", "ROC-AUC"), ("pr_auc", "PR-AUC"), ("average_precision", "AP"))
    )
    timed = "minutes/day" if result.seeds[0].units[0].points[0].false_alarm_minutes_per_day is not None else "minutes"
    columns = [
        "operating point",
        "requirement",
        "threshold",
        "precision",
        "recall",
        "F1",
        "false alarms",
        "attack share",
        "alerts/day",
        f"cost, {timed}",
    ]
    print_table(f"{what}, {BENIGN[record['benign']]}{attacked}; {over}\n{ranked}", columns, rows, right=columns[2:])


def _show_segments(result: "EvaluationResult") -> None:
    from lifecycle.metrics import Interval

    def share(interval: Interval) -> str:
        return "-" if interval.value is None else f"{interval.value:.3f} ({interval.low:.3f}..{interval.high:.3f})"

    rows = [
        [
            f"{g.segment} = {g.value}",
            f"{g.rates.total:,}",
            f"{g.rates.hits + g.rates.misses:,}",
            share(g.rates.precision),
            share(g.rates.recall),
            share(g.rates.false_alarm_rate),
        ]
        for g in result.seeds[0].segments
    ]
    if rows:
        columns = ["segment", "rows", "attacks", "precision (95 %)", "recall (95 %)", "false alarms (95 %)"]
        print_table(
            f"by segment at {result.detector.default_operating_point}, seed {result.seeds[0].seed}",
            columns,
            rows,
            right=columns[1:],
        )


def _cell(value: dict[str, float | None], *, percent: bool = False, whole: bool = False) -> str:
    mean, sd = value["mean"], value["sd"]
    if mean is None:
        return "-"
    form: Callable[[float], str] = (
        (lambda v: f"{v:.2%}") if percent else (lambda v: f"{v:,.0f}") if whole else (lambda v: f"{v:.4f}")
    )
    return f"{form(mean)} ± {form(sd)}" if sd else form(mean)
