"""An evaluation as a document: the same tables on a terminal, in Markdown and in HTML, charts in HTML. Pure."""

from collections.abc import Iterator

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section, percent
from lifecycle.evaluation.attacks import DELAY_SHARES
from lifecycle.evaluation.costs import Site, point_costs, what_if
from lifecycle.evaluation.evaluate import EvaluationResult, SeedReport
from lifecycle.evaluation.fairness.section import COLUMNS, fairness_lines, fairness_words
from lifecycle.evaluation.pages import words
from lifecycle.evaluation.pages.record import as_record, over_seeds, summary
from lifecycle.evaluation.pages.triage_section import triage_section
from lifecycle.evaluation.report import CalibrationReport, UnitReport
from lifecycle.training.operating_points.promise import promise

_ABOUT = (
    "Rows that training did not see, judged by the bundle's own graph and thresholds. Brackets: 95 % bounds. "
    "How every figure is defined: docs/reference/evaluation.md."
)
_COST = (
    "Recall and false-alarm rate are as measured on the judged rows; alerts, time and precision follow for the site. "
    "Other sites have other benign traffic, so measure the false-alarm rate there."
)
_WHAT_IF = "To look at, not to choose from: a threshold chosen on test rows has used them up."


def evaluation_page(result: EvaluationResult, site: Site | None = None) -> Document:
    """The page. site: where alerts would arrive; None: costs are left out."""
    first = result.seeds[0]
    sections = [_rows(result), *(_unit(result, units) for units in over_seeds(result))]
    if len(result.seeds) > 1:
        sections += [_bounds(result, unit) for unit in first.units]
    sections += [*_calibration(result, first), *_families(result, first), *_episodes(result, first), *_segments(result, first)]
    sections += [*_confidence(first), *triage_section(first), *_fairness(result, first)]
    if site is not None:
        sections += list(_costs(result, first, site))
    sections.append(_expected(result))
    return Document(f"Evaluation: {result.detector.name}", _ABOUT, tuple(sections), as_record(result, site))


def _rows(result: EvaluationResult) -> Section:
    columns = ("part", *next(iter(result.parts.values())))
    rows = tuple((name, *(f"{v:,}" for v in counts.values())) for name, counts in result.parts.items())
    why = " ".join(result.detector.split.why.split())
    text = (*((f"Split: {why}",) if why else ()), *(f"Note: {note}" for note in result.notes))
    return Section(f"{result.detector.name}: rows", text, grid=Grid(columns, rows, right=columns[1:]))


def _unit(result: EvaluationResult, units: tuple[UnitReport, ...]) -> Section:
    """Figures over seeds, or with bounds where there is one seed."""
    record, first = summary(units), units[0]
    ranked = (
        ", ".join(f"{words.LABELS[n]} {words.share(i, 4)}" for n, i in first.ranking_intervals.items())
        if len(units) == 1
        else ", ".join(f"{words.LABELS[n]} {words.mean(record[n], '{:.4f}'.format)}" for n in first.ranking)
    )
    timed = first.points[0].false_alarm_minutes_per_day is not None
    columns = ("operating point", "requirement", "threshold", "precision", "recall", "F1", "false alarms", "attack share",
               "alerts/day", f"cost, {'minutes/day' if timed else 'minutes'}")  # fmt: skip
    rows = tuple(_point(record["operating_points"][i], units, i, is_timed=timed) for i in range(len(first.points)))
    notes = [f"Over all thresholds: {ranked}."]
    if any(len({p.threshold for p in u.points}) == 1 for u in units) and len(first.points) > 1 and first.unit == "row":
        notes.append("The operating points fall together: one threshold serves every scenario best on the validation rows.")
    if len(units) == 1:
        notes += words.few(
            {**first.ranking_intervals, **{p.scenario: p.intervals["recall"] for p in first.points}}, "attacked entities"
        )
    over = f"mean and standard deviation over {len(units)} seeds" if len(units) > 1 else f"seed {result.seeds[0].seed}"
    return Section(
        f"{_title(result, first)}; {over}", tuple(notes), grid=Grid(columns, rows, right=columns[2:]), charts=_curves(first)
    )


def _point(
    record: dict[str, dict[str, float | None]], units: tuple[UnitReport, ...], i: int, *, is_timed: bool
) -> tuple[str, ...]:
    point = units[0].points[i]
    if len(units) == 1 and point.intervals:
        figures = [words.share(point.intervals[n]) for n in ("precision", "recall", "f1")]
        false_alarms = words.rate(point.intervals["false_alarm_rate"])
    else:
        figures = [words.mean(record[n], "{:.4f}".format) for n in ("precision", "recall", "f1")]
        false_alarms = words.mean(record["false_alarm_rate"], percent)
    cost = record["false_alarm_minutes_per_day" if is_timed else "false_alarm_minutes"]
    return (
        point.scenario, point.requirement, words.mean(record["threshold"], "{:.4g}".format), *figures, false_alarms,
        words.mean(record["attack_share"], percent), words.mean(record["alerts_per_day"], "{:,.0f}".format),
        words.mean(cost, "{:,.0f}".format),
    )  # fmt: skip


def _bounds(result: EvaluationResult, unit: UnitReport) -> Section:
    """The bounds of the detector's own seed, where the other tables show the spread of training."""
    columns = ("operating point", "precision", "recall", "F1", "false alarms")
    rows = tuple(
        (
            p.scenario,
            *(words.share(p.intervals[n]) for n in ("precision", "recall", "f1")),
            words.rate(p.intervals["false_alarm_rate"]),
        )
        for p in unit.points
    )
    ranked = ", ".join(f"{words.LABELS[n]} {words.share(i, 4)}" for n, i in unit.ranking_intervals.items())
    notes = words.few(
        {**unit.ranking_intervals, **{p.scenario: p.intervals["recall"] for p in unit.points}}, "attacked entities"
    )
    title = f"{_title(result, unit)}; seed {result.seeds[0].seed} with 95 % bounds"
    return Section(title, (f"Over all thresholds: {ranked}.", *notes), grid=Grid(columns, rows, right=columns[1:]))


def _title(result: EvaluationResult, unit: UnitReport) -> str:
    window = "" if unit.unit == "row" else f" of {result.detector.evaluation.window_s} s"
    attacked = "" if unit.attacked_entities is None else f", {unit.attacked_entities} attacked entities"
    return f"{words.UNITS[unit.unit]}{window}{_of_benign(result, unit)}{attacked}"


def _of_benign(result: EvaluationResult, unit: UnitReport) -> str:
    """How unverified rows count, where there are some."""
    return f", {words.BENIGN[unit.benign]}" if result.parts["test"]["unverified"] else ""


def _curves(unit: UnitReport) -> tuple[Chart, ...]:
    """Precision over recall, and recall over false alarms; nothing with one class only."""
    curve = unit.curve
    if curve is None:
        return ()
    at = [p for p in unit.points if p.intervals["precision"].value is not None]
    labels = [f"threshold {t:.4g}: recall {r:.3f}, precision {p:.3f}, false alarms {f:.2%}"
            for t, r, p, f in zip(curve.thresholds, curve.recall, curve.precision, curve.false_alarm_rate, strict=True)]  # fmt: skip
    recall = [p.intervals["recall"].value or 0.0 for p in at]
    precision = [p.intervals["precision"] for p in at]
    named = [f"{p.scenario}: threshold {p.threshold:.4g}" for p in at]
    found = [Chart(
        f"Precision over recall for every threshold, {words.UNITS[unit.unit].lower()}; points: the operating points with their bounds.",
        "recall", "precision",
        (Line("all thresholds", curve.recall.tolist(), curve.precision.tolist(), text=labels),
         Line("operating points", recall, [i.value for i in precision], [i.low for i in precision], [i.high for i in precision],
              named, is_points=True)),
        x_range=(0, 1.01), y_range=(0, 1.02),
    )]  # fmt: skip
    seen = curve.false_alarm_rate > 0
    if seen.any():
        at = [p for p in unit.points if p.intervals["false_alarm_rate"].value]
        recalls = [p.intervals["recall"] for p in at]
        found.append(Chart(
            f"Recall over the share of benign {'rows' if unit.unit == 'row' else 'entity-windows'} that alert, logarithmic.",
            "false alarms (share of the benign)", "recall",
            (Line("all thresholds", curve.false_alarm_rate[seen].tolist(), curve.recall[seen].tolist(),
                  text=[t for t, s in zip(labels, seen.tolist(), strict=True) if s]),
             Line("operating points", [p.intervals["false_alarm_rate"].value or 0.0 for p in at], [i.value for i in recalls],
                  [i.low for i in recalls], [i.high for i in recalls], [p.scenario for p in at], is_points=True)),
            x_axis="log", y_range=(0, 1.02),
        ))  # fmt: skip
    return tuple(found)


def _calibration(result: EvaluationResult, seed: SeedReport) -> Iterator[Section]:
    for unit in seed.units:
        if unit.calibration is not None:
            figures = tuple((words.LABELS[n], words.share(i, 4)) for n, i in unit.calibration.figures.items())
            columns = ("probability said", "rows", "mean said", "attacks found")
            rows = tuple(
                (f"{b.low:.1f} to {b.high:.1f}", f"{b.rows:,}", f"{b.mean_probability:.3f}", words.share(b.attack_share))
                for b in unit.calibration.bins
            )
            yield Section(
                f"Probabilities{_of_benign(result, unit)}; seed {seed.seed}",
                ("Calibrated on validation rows; they hold where attacks are as frequent as there.",),
                figures, Grid(columns, rows, right=columns[1:]), charts=(_reliability(unit.calibration),),
            )  # fmt: skip


def _reliability(calibration: CalibrationReport) -> Chart:
    shares = [b.attack_share for b in calibration.bins]
    return Chart(
        "Reliability: the share of attacks found in each bin, over the probability that was said; on the dashed line both agree.",
        "probability said", "share of attacks found",
        (Line("found", [b.mean_probability for b in calibration.bins], [i.value for i in shares], [i.low for i in shares],
              [i.high for i in shares], [f"{b.rows:,} rows" for b in calibration.bins], is_points=True),
         Line("as said", [0.0, 1.0], [0.0, 1.0], is_dashed=True)),
        x_range=(0, 1.01), y_range=(0, 1.02),
    )  # fmt: skip


def _families(result: EvaluationResult, seed: SeedReport) -> Iterator[Section]:
    if seed.families:
        scenarios = tuple(dict.fromkeys(f.scenario for f in seed.families))
        recall = {(f.family, f.scenario): f.recall for f in seed.families}
        counts = {f.family: f.attacks for f in seed.families}
        columns = ("family", "attacks", *(f"recall at {s}" for s in scenarios))
        rows = tuple((name, f"{n:,}", *(words.share(recall[name, s]) for s in scenarios)) for name, n in counts.items())
        yield Section(f"Attack families; seed {seed.seed}", grid=Grid(columns, rows, right=columns[1:]))
    answers = seed.answers
    if answers is not None:
        columns = ("class", "rows", "precision", "recall", "F1", *(f"named {c}" for c in answers.matrix.classes))
        rows = tuple(
            (f.name, f"{f.support:,}", *(words.share(i) for i in answers.classes[f.name].values()), *(f"{n:,}" for n in counted))
            for f, counted in zip(answers.matrix.figures(), answers.matrix.counts.tolist(), strict=True)
        )  # fmt: skip
        over = tuple(
            (
                f"{kind} over attack families",
                ", ".join(f"{words.LABELS.get(n, n)} {words.share(i)}" for n, i in figures.items()),
            )
            for kind, figures in (("macro", answers.macro), ("micro", answers.micro))
        )
        accuracy = ("accuracy over all classes", words.share(answers.accuracy))
        text = (
            f"A row that does not alert at {answers.scenario} counts as benign; one that alerts as the family that the model names.",
        )
        yield Section(
            f"Families as they were named; seed {seed.seed}", text, (*over, accuracy), Grid(columns, rows, right=columns[1:])
        )


def _episodes(result: EvaluationResult, seed: SeedReport) -> Iterator[Section]:
    if seed.episodes:
        columns = ("operating point", "episodes", "entities", "with an alert", *(f"{q:.0%} found within" for q in DELAY_SHARES))
        rows = tuple(
            (
                e.scenario,
                f"{e.episodes:,}",
                f"{e.entities:,}",
                words.share(e.detected),
                *(words.seconds(d) for d in e.delays_s.values()),
            )
            for e in seed.episodes
        )
        gap = f"{result.detector.evaluation.episode_gap_s:g}"
        text = (
            f"An episode is a run of attack rows of one entity with no gap over {gap} s. The time counts from its first attack row to "
            "the first one that alerts.",
            *words.few({e.scenario: e.detected for e in seed.episodes}, "attacked entities"),
        )
        yield Section(f"Time to detect; seed {seed.seed}", text, grid=Grid(columns, rows, right=columns[1:]))


def _segments(result: EvaluationResult, seed: SeedReport) -> Iterator[Section]:
    if seed.segments:
        columns = ("segment", "rows", "attacks", "precision (95 %)", "recall (95 %)", "false alarms (95 %)")
        rows = tuple(
            (f"{g.segment} = {g.value}", f"{g.rates.total:,}", f"{g.rates.hits + g.rates.misses:,}",
             *(words.share(g.intervals[n]) for n in ("precision", "recall", "false_alarm_rate")))
            for g in seed.segments
        )  # fmt: skip
        yield Section(
            f"By segment at {seed.segments[0].scenario}; seed {seed.seed}", grid=Grid(columns, rows, right=columns[1:])
        )


def _confidence(seed: SeedReport) -> Iterator[Section]:
    found = seed.confidence
    if found is None:
        return
    sentences = (
        f"A row's true class may be missing from its set in {found.error:.0%} of the rows of its class.",
        f"Sets with one class: {found.one:,} rows; both: {found.both:,}; none: {found.none:,}.",
        f"The verdict `unknown`: {found.unknown:,} rows, {found.unknown_attacks:,} of them attacks; "
        f"{found.alerts_replaced:,} would have alerted.",
    )
    lines = tuple((c.group, c.label, f"{c.rows:,}", words.share(c.held)) for c in found.coverage)
    columns = ("group", "class", "rows", "in its set")
    yield Section(f"Conformal sets, seed {seed.seed}", sentences, grid=Grid(columns, lines, right=columns[2:]))


def _fairness(result: EvaluationResult, seed: SeedReport) -> Iterator[Section]:
    if seed.fairness is not None:
        grid = Grid(COLUMNS, tuple(tuple(line) for line in fairness_lines(seed.fairness)), right=COLUMNS[2:7])
        title = f"Fairness by segment: {result.detector.default_operating_point}, seed {seed.seed}"
        yield Section(title, tuple(fairness_words(seed.fairness)), grid=grid)


def _costs(result: EvaluationResult, seed: SeedReport, site: Site) -> Iterator[Section]:
    for unit in seed.units:
        if unit.benign != "all":
            continue
        alert = (
            "an alert for each row"
            if unit.unit == "row"
            else f"an alert for each entity and {result.detector.evaluation.window_s} s"
        )
        points = point_costs(unit, site)
        yield Section(
            f"Cost of false alarms, {alert}; seed {seed.seed}", (_COST,), words.site_facts(site), words.cost_grid(points)
        )
        others = what_if(unit, site)
        if others:
            table = words.cost_grid({f"{c.threshold:.4g}": c for c in others})
            yield Section(f"What if: other thresholds, {alert}", (_WHAT_IF,), grid=table, charts=_cost_curve(unit, site))


def _cost_curve(unit: UnitReport, site: Site) -> tuple[Chart, ...]:
    curve = unit.curve
    if curve is None:
        return ()
    benign = site.events_per_day * (1 - site.attack_share) * unit.benign_per_row
    false_alerts = curve.false_alarm_rate * benign
    seen = false_alerts > 0
    if not seen.any():
        return ()
    low, high = site.minutes
    labels = [
        f"threshold {t:.4g}: recall {r:.3f}, {n:,.0f} false alerts a day, {n * low:,.0f} to {n * high:,.0f} minutes"
        for t, r, n in zip(curve.thresholds[seen], curve.recall[seen], false_alerts[seen], strict=True)
    ]
    costs = [(name, c) for name, c in point_costs(unit, site).items() if c.false_alerts.value]
    chart = Chart(
        "What recall costs: recall over false alerts a day at the site, logarithmic.", "false alerts a day", "recall",
        (Line("all thresholds", false_alerts[seen].tolist(), curve.recall[seen].tolist(), text=labels),
         Line("operating points", [c.false_alerts.value or 0.0 for _, c in costs], [c.recall.value for _, c in costs],
              [c.recall.low for _, c in costs], [c.recall.high for _, c in costs], [name for name, _ in costs], is_points=True)),
        x_axis="log", y_range=(0, 1.02),
    )  # fmt: skip
    return (chart,)


def _expected(result: EvaluationResult) -> Section:
    columns = ("operating point", "precision", "recall", "F1", "false alarms", "attack share", "holds")
    names = ("precision", "recall", "f1", "false_alarm_rate", "attack_share")
    forms = dict.fromkeys(names, "{:.4f}".format) | dict.fromkeys(names[3:], percent)
    rows = tuple(
        (
            p["operating_point"],
            *(words.mean(p[f"expected_{n}"], forms[n]) for n in names),
            _promises(result, p["operating_point"]),
        )
        for p in summary(over_seeds(result)[0])["operating_points"]
    )
    first = result.seeds[0]
    shortfalls = tuple(
        f"{name}, seed {first.seed}: {point.shortfall}." for name, point in first.points.items() if point.shortfall
    )
    return Section("Expected, from validation data", shortfalls, grid=Grid(columns, rows, right=columns[1:-1]))


def _promises(result: EvaluationResult, name: str) -> str:
    """What is promised of a point; over several seeds: in how many of them anything is."""
    points = [seed.points[name] for seed in result.seeds]
    return promise(points[0]) if len(points) == 1 else f"{sum(p.holds is not None for p in points)} of {len(points)} seeds"
