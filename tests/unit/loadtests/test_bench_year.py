"""The simulated year: its events are what they say, its analysts keep their budget, its figures are counted right."""

from dataclasses import fields

import numpy as np
import pytest

from lifecycle.labels.queue.plan import QueueBudget
from lifecycle.monitoring.windows.answered import AnsweredRows
from loadtests.bench.benchmarks.evidence import year as benchmark
from loadtests.bench.courses import courses
from loadtests.bench.page import page
from loadtests.bench.record import Record, this_machine
from loadtests.bench.report import Course, plain, row
from loadtests.bench.worlds.year.analysts import LabelledYear
from loadtests.bench.worlds.year.detectors import Delays, planted
from loadtests.bench.worlds.year.events import DAY_US, NEW_FAMILY, NUMBERS, START_US, PlantedChanges, YearWorld
from loadtests.bench.worlds.year.strategies import PlayedYear

pytestmark = pytest.mark.heavy

QUIET = PlantedChanges(None, None, None, None)


def same(events, others):
    arrays = [f.name for f in fields(events) if f.name != "columns"]
    return all(np.array_equal(getattr(events, name), getattr(others, name)) for name in arrays) and all(
        np.array_equal(column, others.columns[name]) for name, column in events.columns.items()
    )


def logs(events, which):
    return {name: float(np.median(np.log(events.columns[name][which]))) for name in NUMBERS}


class TestEvents:
    def test_a_seed_gives_the_same_year_and_another_one_another(self):
        world = YearWorld(days=10, events_a_day=200)
        assert same(world.year(1), world.year(1))
        assert not same(world.year(1), world.year(2))

    def test_as_many_attacks_as_declared_and_the_new_family_only_from_its_day_on(self):
        events = YearWorld(PlantedChanges(None, None, None, 40), days=80).year(1)
        is_new = events.family == NEW_FAMILY
        assert events.day[is_new].min() == 40
        assert float((events.attack & ~is_new).mean()) == pytest.approx(0.04, abs=0.003)
        assert float(is_new[events.day >= 40].mean()) == pytest.approx(0.012, abs=0.002)
        assert ((events.family != "") == events.attack).all()

    def test_the_base_rows_come_before_the_year_and_hold_more_attacks(self):
        base = YearWorld().base(1, 5000)
        assert base.times_us.max() < START_US
        assert float(base.attack.mean()) == pytest.approx(0.12, abs=0.015)

    def test_events_are_in_order_of_time_and_in_their_day(self):
        events = YearWorld(days=5, events_a_day=200).year(1)
        assert (np.diff(events.times_us) >= 0).all()
        assert ((events.times_us - START_US) // DAY_US == events.day).all()

    @pytest.mark.parametrize("change", [name for name in planted(4, 4) if name != "nothing"])
    def test_the_days_before_a_change_are_those_of_a_quiet_world(self, change):
        quiet, changed = (YearWorld(planted(4, 4)[name], days=8, events_a_day=200).year(3) for name in ("nothing", change))
        assert all(same(quiet.of_day(day), changed.of_day(day)) for day in range(4))
        assert not same(quiet.of_day(7), changed.of_day(7))

    def test_a_covariate_shift_moves_its_own_columns_of_benign_events_only(self):
        events = YearWorld(PlantedChanges(None, 20, None, None), days=40, events_a_day=400).year(1)
        before, after = (
            logs(events, ~events.attack & (events.day >= 20 * part) & (events.day < 20 * part + 20)) for part in (0, 1)
        )
        moved = {name for name in NUMBERS if abs(after[name] - before[name]) > 0.2}
        assert moved == {"duration", "payload", "errors", "reuse"}

    def test_after_the_concept_shift_a_family_no_longer_shows_what_gave_it_away(self):
        events = YearWorld(PlantedChanges(None, None, 30, None), days=60).year(1)
        is_family, is_after = events.family == "exfiltration", events.day >= 30
        benign = logs(events, ~events.attack)
        before, after = (logs(events, is_family & (is_after == part)) for part in (False, True))
        assert before["upload_ratio"] - benign["upload_ratio"] > 1.5
        assert after["upload_ratio"] - benign["upload_ratio"] < 0.7
        assert after["requests"] - before["requests"] > 1.5


def answered(events, alert):
    n = len(events)
    names = np.array([f"e{i}" for i in range(n)], dtype=object)
    same_ = {"versions": "1", "revisions": "r", "variants": "stable"}
    return AnsweredRows(
        model="year", receipts=names, rows=np.zeros(n, dtype=np.int64), events=names, times_us=events.times_us, columns=events.columns,
        scores=np.where(alert, 0.9, 0.1), verdicts=np.where(alert, 2, 0).astype(np.int8), degraded=np.zeros(n, dtype=bool),
        **{name: np.full(n, value, dtype=object) for name, value in same_.items()},
    )  # fmt: skip


@pytest.fixture(scope="module")
def labelled():
    """Sixty days in which every attack alerts, and twenty events a day are labelled."""
    world = YearWorld(QUIET, days=60, events_a_day=300)
    events = world.year(1)
    year = LabelledYear(
        events, answered(events, events.attack).events, QueueBudget(20, audit_share=0.45, alert_share=0.05), seed=1
    )
    for day in range(world.days):
        first, last = (int(i) for i in np.searchsorted(events.day, [day, day + 1]))
        today = events.take(slice(first, last))
        answers = answered(today, today.attack)
        names = year.names[first:last]
        year.take(day, answers.take(np.arange(len(today))).__class__(**{
            f.name: names if f.name in ("events", "receipts") else getattr(answers, f.name) for f in fields(answers)
        }), first)  # fmt: skip
    return year


class TestAnalysts:
    def test_each_day_has_the_whole_budget(self, labelled):
        days = labelled.events.day[labelled.label >= 0]
        assert np.bincount(days).tolist() == [20] * 60

    def test_labels_come_days_later_and_not_before(self, labelled):
        place = {name: i for i, name in enumerate(labelled.names.tolist())}
        delays = [(label.time_us - labelled.events.times_us[place[label.event]]) / DAY_US for label in labelled.labels]
        assert float(np.median(delays)) == pytest.approx(2.0, abs=0.2)
        assert float(np.std(np.log(delays))) == pytest.approx(0.8, abs=0.1)
        now_us = START_US + 10 * DAY_US
        assert all(label.time_us <= now_us for label in labelled.known(now_us))
        rows = labelled.rows(START_US, now_us, now_us, only_labelled=True)
        assert len(rows) == len(labelled.known(now_us))

    def test_few_labels_are_wrong(self, labelled):
        place = {name: i for i, name in enumerate(labelled.names.tolist())}
        wrong = [(label.verdict == "attack") != labelled.events.attack[place[label.event]] for label in labelled.labels]
        assert 0 < np.mean(wrong) < 0.025

    def test_samples_have_a_known_probability_and_the_queue_has_none(self, labelled):
        by = {s: [label.inclusion for label in labelled.labels if label.selection == s] for s in ("audit", "alert", "queue")}
        assert {s: len(found) / 60 for s, found in by.items()} == {"audit": 9.0, "alert": 1.0, "queue": 10.0}
        assert all(found is None for found in by["queue"])
        assert all(found is not None and 0 < found < 1 for s in ("audit", "alert") for found in by[s])


def played(labelled, alert):
    year = LabelledYear(labelled.events, labelled.names, QueueBudget(20), seed=1)
    year.alert[:] = alert
    return PlayedYear(year, np.asarray(alert))


class TestFigures:
    def test_recall_precision_and_alerts_are_those_of_the_truth(self, labelled):
        events = labelled.events
        found = played(labelled, events.attack & (events.day < 30))
        assert (found.recall(range(30)), found.recall(range(30, 60)), found.precision(range(60))) == (1.0, 0.0, 1.0)
        assert found.alerts_a_day(range(30, 60)) == 0

    def test_the_policy_is_compared_seed_by_seed(self, labelled):
        events = labelled.events
        half, all_ = played(labelled, events.attack & (events.day < 30)), played(labelled, events.attack)
        rows = benchmark.strategy_rows({"weekly": [half, all_], "policy": [all_, all_]}, benchmark.YearSize(days=60))
        by_name = {r.name: r for r in rows}
        gain = 100 * (1 - half.recall(range(60))) / 2
        assert by_name["policy less weekly/recall/mean"].value == pytest.approx(gain)
        assert by_name["policy less weekly/recall/lower end of 95 %"].is_met is False
        course = by_name["recall/weekly"].course
        assert course.points[0][1:] == (1.0, 1.0, 1.0)
        assert course.points[-1][1:] == (0.5, 0.0, 1.0)

    def test_the_interval_of_a_mean_is_students(self):
        assert benchmark.half_width([1.0, 3.0]) == pytest.approx(12.706, abs=0.01)
        assert benchmark.half_width([1.0]) is None

    def test_a_change_that_was_not_seen_counts_as_the_whole_time(self):
        every = dict.fromkeys(benchmark.DETECTORS, 2)
        one = Delays({"concept shift": every | {"adwin": None}}, dict.fromkeys(benchmark.DETECTORS, 1), quiet_days=50)
        rows = {r.name: r for r in benchmark.detector_rows([one], benchmark.YearSize(changed_days=40))}
        assert rows["delay/adwin/concept shift"].value == 40
        assert "1 of 1 not found" in rows["delay/adwin/concept shift"].unit
        assert rows["delay/drift report/concept shift"].value == 2
        assert rows["false_alarms/adwin/a quiet time"].value == 2.0

    def test_all_strategies_have_the_same_number_of_labels_and_the_same_challenge(self):
        found = benchmark.strategies()
        assert {one.budget.labels for one in found} == {benchmark.LABELS_A_DAY}
        policies = [one.policy for one in found if one.policy is not None]
        assert all((p.challenge, p.labels) == (policies[0].challenge, policies[0].labels) for p in policies)


class TestDrawing:
    ROW = row(
        "recall/ours",
        [0.5],
        "of attacks",
        course=Course("day", ((0.0, 0.5, 0.4, 0.6), (7.0, 0.7, 0.6, 0.9)), ((3.0, "a <change>"),)),
    )

    def test_a_course_has_a_line_a_band_and_its_marks(self):
        drawn = courses([plain(self.ROW)], ["ours"])
        assert (drawn.count("<polyline"), drawn.count("<polygon")) == (1, 1)
        assert "a &lt;change&gt;" in drawn
        assert 'points="46.0,' in drawn

    def test_the_page_draws_figures_over_time_without_scripts(self):
        text = page([Record("year", "2026-01-02", "How.", False, 3.0, this_machine(), (plain(self.ROW),))])
        assert 'svg class="course"' in text
        assert "<script" not in text
