"""Labels of one class, of nobody, that contradict, and columns that the log does not have: a training ends with a reason or a rollout."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from lifecycle.retraining.run import advance
from tests.unit.lifecycle.retraining.world import DAY_US, HOUR_US, MONDAY_US, POLICY, policy, stale

pytestmark = pytest.mark.heavy

NOW = MONDAY_US + 13 * HOUR_US
SCHEDULED = POLICY.replace("{on_demand: {min_new_labels: 30}}", "{scheduled: {cron: '0 13 * * *'}}")
ACTIVE = POLICY.replace("{on_demand: {min_new_labels: 30}}", "{active: {min_new_labels: 100}}")


def begun(world, text):
    """The first look of a policy: times of a schedule before it do not count."""
    advance(world.at, policy(text), NOW - DAY_US)
    return world


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        pytest.param(SCHEDULED, "scheduled", id="a time of the schedule"),
        pytest.param(ACTIVE, "active", id="enough labels"),
    ],
)
def test_a_strategy_comes_to_a_rollout_and_asks_once(tmp_path, text, strategy):
    world = begun(stale(tmp_path), text)
    look = advance(world.at, policy(text), NOW)
    assert (look.ended.strategy, look.ended.outcome) == (strategy, "rolled_out"), look.words
    world.releases.promote()
    assert advance(world.at, policy(text), NOW + HOUR_US).ended is None


@pytest.mark.parametrize("verdict", ["attack", "benign"])
def test_labels_of_one_class_never_lose_what_the_champion_finds(tmp_path, verdict):
    world = begun(stale(tmp_path), ACTIVE)
    for event, label in world.labels.items():
        world.labels[event] = changed(label, verdict=verdict, family=None)
    look = advance(world.at, policy(ACTIVE), NOW)
    assert look.ended.outcome in ("rolled_out", "not_passed")
    if look.ended.outcome == "rolled_out":
        kept = next(g for g in look.challenged.gates if (g.kind, g.figure) == ("kept", "recall"))
        assert kept.verdict in ("better", "no_worse")


def test_without_labels_nothing_is_trained_and_the_reason_is_on_record(tmp_path):
    world = begun(stale(tmp_path), SCHEDULED)
    world.labels.clear()
    look = advance(world.at, policy(SCHEDULED), NOW)
    assert look.ended.outcome == "failed"
    assert "0 labelled rows can be trained on" in look.words
    assert world.acts.told()[-1] == ("retraining.train", "refused")


def test_labels_that_contradict_at_random_are_no_reason_for_a_rollout(tmp_path):
    world = begun(stale(tmp_path), ACTIVE)
    rng = np.random.default_rng(0)
    for event, label in world.labels.items():
        world.labels[event] = changed(label, verdict="attack" if rng.random() < 0.5 else "benign", family=None)
    assert advance(world.at, policy(ACTIVE), NOW).ended.outcome == "not_passed"


def test_a_column_that_the_log_redacts_leaves_no_rows_and_says_so(tmp_path):
    world = begun(stale(tmp_path), ACTIVE)
    answers = world.answers[0]
    world.answers[0] = replace(answers, columns={**answers.columns, "seconds": np.full(len(answers), np.nan)})
    look = advance(world.at, policy(ACTIVE), NOW)
    assert look.ended.outcome == "failed"
    assert "400 because a column of the model is missing in the record" in look.words


def test_scores_that_are_missing_in_the_log_are_not_needed(tmp_path):
    world = begun(stale(tmp_path), ACTIVE)
    world.answers[0] = replace(world.answers[0], scores=np.full(len(world.answers[0]), np.nan))
    assert advance(world.at, policy(ACTIVE), NOW).ended.outcome == "rolled_out"


def test_two_at_once_train_once(tmp_path):
    world = begun(stale(tmp_path), ACTIVE)
    with ThreadPoolExecutor(2) as pool:
        looks = list(pool.map(lambda _: advance(world.at, policy(ACTIVE), NOW), range(2)))
    assert [look.ended is not None for look in looks].count(True) == 1
    assert len(world.releases.asked) == 1


def test_a_clock_that_was_set_back_trains_nothing_twice(tmp_path):
    world = begun(stale(tmp_path), SCHEDULED)
    assert advance(world.at, policy(SCHEDULED), NOW).ended.outcome == "rolled_out"
    world.releases.abort()
    for hours in (30, 14, 1):
        assert advance(world.at, policy(SCHEDULED), NOW - hours * HOUR_US).ended is None
    assert len(world.releases.asked) == 1
