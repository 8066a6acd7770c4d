"""A few weeks of the simulated year with small models: what is played is what is known of it."""

from dataclasses import replace

import numpy as np
import pytest

from lifecycle.training.train import train, write_bundle
from loadtests.bench.benchmarks.evidence import year as benchmark
from loadtests.bench.worlds.year.analysts import LabelledYear
from loadtests.bench.worlds.year.detectors import watch_changes
from loadtests.bench.worlds.year.events import PlantedChanges, YearWorld
from loadtests.bench.worlds.year.model import ServedModel, base_rows
from loadtests.bench.worlds.year.strategies import Played

DAYS, SEED = 16, 1
WORLD = YearWorld(PlantedChanges(None, None, None, 3), days=DAYS, events_a_day=250, new_share=0.06)
"""A new family comes on Thursday and is as frequent as all others together."""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    base = base_rows(WORLD.base(SEED, 1500), 12, WORLD.attack_share)
    first = write_bundle(train(base), folder / "first")
    events = WORLD.year(SEED)
    names = np.array([f"event-{i}" for i in range(len(events))], dtype=object)
    found = {}
    for one in benchmark.strategies():
        if one.name not in ("never", "weekly", "policy"):
            continue
        (folder / one.name).mkdir()
        year = LabelledYear(events, names, replace(one.budget, labels=40), SEED)
        found[one.name] = Played(one, year, base, first, folder / one.name, most_alerts=30).play(DAYS)
    return first, events, names, found


def test_without_training_the_first_model_answers_all_year(played):
    first, events, names, found = played
    answers = ServedModel.of(first).answer(events, names)
    never = found["never"]
    assert (never.labelled.scores == answers.scores).all()
    assert never.recall(range(DAYS)) == float((answers.verdicts == 2)[events.attack].mean())
    assert never.trainings == []


def test_the_schedule_trains_on_mondays_with_labels_that_are_in(played):
    weekly = played[3]["weekly"]
    assert [one.day for one in weekly.trainings] == [0, 7, 14]
    assert weekly.trainings[0].past.outcome == "failed"  # no label is in yet
    assert {one.past.strategy for one in weekly.trainings} == {"scheduled"}


def test_every_strategy_spends_as_many_labels(played):
    assert {len(year.labelled.labels) for year in played[3].values()} == {40 * DAYS}


def test_a_policy_finds_the_new_family_that_the_first_model_misses(played):
    found = played[3]
    last_week = range(DAYS - 7, DAYS)
    never, policy = (found[name].recall(last_week) for name in ("never", "policy"))
    assert any(one.past.outcome == "rolled_out" for one in found["policy"].trainings)
    assert policy > never + 0.05
    assert (found["policy"].labelled.scores != found["never"].labelled.scores).any()


def test_a_sudden_shift_is_seen_and_a_quiet_time_is_not(tmp_path):
    world = YearWorld(events_a_day=250)
    base = base_rows(replace(world, base_attack_share=world.attack_share).base(SEED, 1500), 5, world.attack_share)
    bundle = write_bundle(train(base), tmp_path / "first")
    found = watch_changes(world, bundle, benchmark.RANDOM, SEED, quiet_days=4, changed_days=4, slow_days=4,
                          changes=("nothing", "sudden covariate shift"))  # fmt: skip
    assert found.false_alarms["monitor, columns"] == 0
    assert found.days["sudden covariate shift"]["monitor, columns"] <= 3
    assert found.days["sudden covariate shift"]["psi over 0.25"] == 1
    assert found.days["sudden covariate shift"]["monitor, labels"] is None
