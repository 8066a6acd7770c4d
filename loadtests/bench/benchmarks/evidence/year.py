"""A simulated year: after how many days each detector sees a change, and what recall each retraining strategy keeps with the same labels.

The world is made up and all of it is known: 1,000 events a day for 364 days, 4 % attacks of four families, 20 columns of numbers and 3 of
text, 1,500 hosts. Planted: growth of the traffic (days 70 to 110), another sensor (day 150), a concept shift (day 210: one family no longer
shows what gave it away, and some benign events do), a new attack family (day 280). Analysts label 20 events a day, one of them an alert
(about 2 % of alerts); labels come after a log-normal delay (median 2 days), and 1 % are wrong.

Vedette's own code draws the queue, watches, decides, trains, and judges challengers; a look is made each day. Shortened: 30 trees and 5,000
base rows, 400 draws of the bootstrap, no gate on left-out families, an increment of 3 trees once a week in place of each hour, no rollout:
a challenger that passes serves from the next day on.

`recall` is that of the alerts as served, at a threshold that each training chooses for a precision of 0.75. `recall_at_50` is recall were
the 50 highest scores of each day the alerts, so that no strategy gains by alerting more. `never`, `weekly`, `on demand` (alarms of
performance and concept drift) and `incremental` have alerts and a random audit labelled. `weekly, queue`, `active` and `policy` (what
`vedette retrain policy` prints) let the queue choose 65 % of the same number of labels.

`weekly` and `policy`, which a target compares, are played with ten seeds, the others and the detectors with three.

Delays are of one change at a time, for a model that nobody retrains; a change that was not seen counts as the whole time. False alarms are
looks with an alarm in a stream without a change. `drift report` and PSI compare the rows of each day with the reference, anew."""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from scipy.stats import t as student

from lifecycle.labels.queue.plan import QueueBudget
from lifecycle.retraining.policy import RetrainingPolicy, parse_policy
from lifecycle.retraining.policy_text import commented_policy
from lifecycle.training.train import train, write_bundle
from loadtests.bench import targets
from loadtests.bench.report import Course, Row, row
from loadtests.bench.worlds.year.analysts import LabelledYear
from loadtests.bench.worlds.year.detectors import DETECTORS, Delays, watch_changes
from loadtests.bench.worlds.year.events import YearWorld
from loadtests.bench.worlds.year.model import base_rows
from loadtests.bench.worlds.year.strategies import Played, PlayedYear, Strategy

IS_LONG: Final = True
SEEDS: Final = 10
FEWER_SEEDS: Final = 3
"""Seeds of the detectors, and of the strategies that no target compares."""
COMPARED: Final = ("weekly", "policy")
LABELS_A_DAY: Final = 20
MOST_ALERTS: Final = 50
RANDOM: Final = QueueBudget(LABELS_A_DAY, audit_share=0.95, alert_share=0.05)
CHOSEN: Final = QueueBudget(LABELS_A_DAY, audit_share=0.3, alert_share=0.05)


def policy_of(text: str) -> RetrainingPolicy:
    """A policy, shortened. It demands of challengers, and uses labels, as the one that `vedette retrain policy` prints."""
    policy = parse_policy(text, where="the simulated year")
    shipped = parse_policy(commented_policy(), where="the shipped policy")
    rules, timed = shipped.challenge, policy.strategies.incremental
    short = rules.model_copy(update={"left_out": rules.left_out.model_copy(update={"most_families": 0}), "draws": 400})
    if timed is not None:
        timed = timed.model_copy(update={"cron": "0 4 * * 4", "trees": 3})
    strategies = policy.strategies.model_copy(update={"incremental": timed})
    return policy.model_copy(update={"strategies": strategies, "challenge": short, "labels": shipped.labels})


def strategies() -> tuple[Strategy, ...]:
    """All strategies. Each has the same number of labels."""
    return (
        Strategy("never", None, RANDOM),
        Strategy("weekly", policy_of("strategies: {scheduled: {}}"), RANDOM),
        Strategy("weekly, queue", policy_of("strategies: {scheduled: {}}"), CHOSEN),
        Strategy("on demand", policy_of("strategies: {on_demand: {}}"), RANDOM),
        Strategy("incremental", policy_of("strategies: {incremental: {}}"), RANDOM),
        Strategy("active", policy_of("strategies: {active: {}}"), CHOSEN),
        Strategy("policy", policy_of(commented_policy()), CHOSEN),
    )


@dataclass(frozen=True, slots=True)
class YearSize:
    """How large the run is. fewer_seeds: of the detectors, and of the strategies that are not in COMPARED."""

    seeds: int = SEEDS
    fewer_seeds: int = FEWER_SEEDS
    days: int = 364
    events_a_day: int = 1000
    base_rows: int = 5000
    trees: int = 30
    quiet_days: int = 40
    changed_days: int = 40


QUICK: Final = YearSize(seeds=1, fewer_seeds=1, days=91, quiet_days=10, changed_days=10)


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Play the year. quick: one seed, a quarter of a year, three weeks of each change."""
    del rounds  # seeds are the rounds
    return measured(QUICK if quick else YearSize())


def measured(size: YearSize) -> list[Row]:
    """All rows of a run of this size."""
    progress = Console(stderr=True)
    delays = [_detected(size, seed, progress) for seed in range(1, size.fewer_seeds + 1)]
    played: dict[str, list[PlayedYear]] = {}
    for seed in range(1, size.seeds + 1):
        for name, year in _played(size, seed, progress).items():
            played.setdefault(name, []).append(year)
    return [*detector_rows(delays, size), *strategy_rows(played, size)]


def _detected(size: YearSize, seed: int, progress: Console) -> Delays:
    world = YearWorld(events_a_day=size.events_a_day)
    base = base_rows(YearWorld(base_attack_share=world.attack_share).base(seed, size.base_rows), size.trees, world.attack_share)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        bundle = write_bundle(train(base), Path(folder) / "first")
        return watch_changes(
            world, bundle, RANDOM, seed, quiet_days=size.quiet_days, changed_days=size.changed_days, slow_days=size.changed_days,
            tell=lambda what: progress.print(f"year: detectors, seed {seed} of {size.fewer_seeds}, {what}", markup=False),
        )  # fmt: skip


def _played(size: YearSize, seed: int, progress: Console) -> Mapping[str, PlayedYear]:
    world = YearWorld(days=size.days, events_a_day=size.events_a_day)
    base = base_rows(world.base(seed, size.base_rows), size.trees, world.attack_share)
    events, found = world.year(seed), {}
    names = np.array([f"event-{i}" for i in range(len(events))], dtype=object)
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        folder = Path(name)
        first = write_bundle(train(base), folder / "first")
        for one in strategies():
            if seed > size.fewer_seeds and one.name not in COMPARED:
                continue
            began_s, place = time.monotonic(), folder / one.name.replace(" ", "-")
            place.mkdir()
            year = LabelledYear(events, names, one.budget, seed)
            found[one.name] = Played(one, year, base, first, place, most_alerts=MOST_ALERTS).play(size.days)
            took = f"{time.monotonic() - began_s:.0f} s, {len(found[one.name].trainings)} trainings"
            progress.print(f"year: seed {seed} of {size.seeds}, {one.name}: {took}", markup=False)
    return found


def detector_rows(delays: Sequence[Delays], size: YearSize) -> list[Row]:
    """By change and detector: the delay, and how many seeds saw it; false alarms in the quiet stream."""
    rows = []
    for detector in DETECTORS:
        alarms = [100 * one.false_alarms[detector] / one.quiet_days for one in delays]
        rows.append(row(f"false_alarms/{detector}/a quiet time", alarms, "looks with an alarm in 100 days"))
    for change in delays[0].days:
        for detector in DETECTORS:
            seen = [one.days[change][detector] for one in delays]
            days = [float(size.changed_days if day is None else day) for day in seen]
            missed = sum(day is None for day in seen)
            unit = "days" if not missed else f"days ({missed} of {len(seen)} not found)"
            rows.append(row(f"delay/{detector}/{change}", days, unit))
    return rows


def strategy_rows(played: Mapping[str, Sequence[PlayedYear]], size: YearSize) -> list[Row]:
    """By strategy: recall over the year and in each week, precision, alerts, labels, trainings, processor time; then the differences."""
    whole = range(size.days)
    rows = []
    for figure, by_rank in (("recall", False), (f"recall_at_{MOST_ALERTS}", True)):
        for name, years in played.items():
            values = [year.recall(whole, by_rank=by_rank) for year in years]
            rows.append(row(f"{figure}/{name}", values, "of attacks", course=_course(years, size, by_rank=by_rank)))
    for name, years in played.items():
        rows.append(row(f"precision/{name}", [year.precision(whole) for year in years], "of alerts"))
    for name, years in played.items():
        rows.append(row(f"alerts/{name}", [year.alerts_a_day(whole) for year in years], "a day"))
    for name, years in played.items():
        rows.append(row(f"labels/{name}", [float(len(year.labelled.labels)) for year in years], "in all"))
    for name, years in played.items():
        rows.append(row(f"trainings/{name}", [float(len(year.trainings)) for year in years], ""))
    for name, years in played.items():
        passed = [float(sum(one.past.outcome == "rolled_out" for one in year.trainings)) for year in years]
        rows.append(row(f"passed/{name}", passed, "challengers"))
    for name, years in played.items():
        rows.append(row(f"compute/{name}", [year.compute_s for year in years], "CPU s"))
    for other in ("weekly", "never"):
        if "policy" in played and other in played:
            rows += _gains(played["policy"][: len(played[other])], played[other], other, whole)
    return rows


def _gains(policy: Sequence[PlayedYear], others: Sequence[PlayedYear], other: str, days: range) -> list[Row]:
    """How much more recall the policy has than another strategy, seed by seed: the mean, and the lower end of its 95 % interval."""
    rows = []
    target = targets.value(">", 0.0) if other == "weekly" else None
    for figure, by_rank in (("recall", False), (f"recall_at_{MOST_ALERTS}", True)):
        gains = [
            100 * (a.recall(days, by_rank=by_rank) - b.recall(days, by_rank=by_rank))
            for a, b in zip(policy, others, strict=True)
        ]
        mean, half = float(np.mean(gains)), half_width(gains)
        path = f"policy less {other}/{figure}"
        rows.append(row(f"{path}/mean", [mean], "points", target=target))
        if half is not None:
            rows.append(row(f"{path}/lower end of 95 %", [mean - half], "points", target=target))
            rows.append(row(f"{path}/upper end of 95 %", [mean + half], "points"))
    return rows


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % interval of a mean, by Student's t; None for one value."""
    n = len(values)
    return None if n < 2 else float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))


def _course(years: Sequence[PlayedYear], size: YearSize, *, by_rank: bool) -> Course:
    """Recall per week."""
    points = []
    for first in range(0, size.days - 6, 7):
        values = [year.recall(range(first, first + 7), by_rank=by_rank) for year in years]
        points.append((float(first), float(np.median(values)), min(values), max(values)))
    changes = YearWorld().changes
    marks = ((changes.growth or (0, 0))[0], "growth"), (changes.sensor or 0, "sensor"), (changes.concept or 0, "concept shift"), (
        changes.family or 0, "new family",
    )  # fmt: skip
    return Course("day of the year", tuple(points), tuple((float(x), words) for x, words in marks if x < size.days))
