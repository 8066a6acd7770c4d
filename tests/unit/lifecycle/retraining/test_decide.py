"""When a model is trained again, and why not."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.monitoring.alarm import Alarm
from lifecycle.retraining.decide import Refuse, Train, Wait, decide
from lifecycle.retraining.policy import parse_policy
from lifecycle.retraining.progress import (
    WEEK_US,
    PastTraining,
    Pending,
    RetrainingProgress,
    Trigger,
    load_progress,
    save_progress,
)
from lifecycle.retraining.signals import Champion, Signals

HOUR_US = 3_600_000_000
NOON_US = 1_772_452_800_000_000
"""2026-03-02 12:00 UTC, a Monday."""
CHAMPION = Champion("1", "sha256:" + "a" * 64, "sha256:" + "b" * 64)
ON_DEMAND = "strategies: {on_demand: {persist: 30m, clear_after: 1d, min_new_labels: 2}}"
WEEKLY = "strategies: {scheduled: {cron: '0 11 * * 1'}}"
ACTIVE = "strategies: {active: {min_new_labels: 3}}\nbudget: {labels_a_week: 5}"
HOURLY = "strategies: {incremental: {min_new_labels: 1}}\nbudget: {increments_a_week: 2}"


def policy(text):
    return parse_policy(text, where="test")


def alarm(hours_ago=1.0, *, found_ago=None, **changes):
    began = NOON_US - int(hours_ago * HOUR_US)
    told = {
        "alarm_id": f"alarm-{hours_ago}-{found_ago}", "model": "flows", "revision": CHAMPION.revision, "kind": "performance",
        "subject": "recall", "severity": "major", "statistic": "recall", "value": 0.5, "threshold": 0.9, "began_us": began,
        "time_us": began if found_ago is None else NOON_US - int(found_ago * HOUR_US), "words": "recall fell", "advice": "retrain",
    }  # fmt: skip
    return Alarm(**(told | changes))


def past(hours_ago, *, strategy="on_demand", compute_s=10.0, causes=(), outcome="not_passed"):
    at = NOON_US - int(hours_ago * HOUR_US)
    return PastTraining(f"trigger-{hours_ago}", strategy, at, at, compute_s, outcome, "", causes=causes)


def progress(*trainings, labels_until_hours_ago=None, **changes):
    until = 0 if labels_until_hours_ago is None else NOON_US - int(labels_until_hours_ago * HOUR_US)
    found = RetrainingProgress(
        "flows", NOON_US - 30 * 24 * HOUR_US, until, tuple(sorted(trainings, key=lambda p: p.started_us))
    )
    return replace(found, **changes)


def seen(*alarms, labels=5, queued=0, **changes):
    given_us = tuple(NOON_US - (i + 1) * 1_000_000 for i in reversed(range(labels)))
    return replace(Signals(CHAMPION, None, alarms, given_us, given_us[:queued]), **changes)


PENDING = Pending(Trigger("trigger-x", "scheduled", "it was due", NOON_US), CHAMPION.bundle, NOON_US)


@pytest.mark.parametrize(
    ("text", "reached", "signals", "expected", "says"),
    [
        pytest.param(ON_DEMAND, progress(), seen(), Wait, "no alarm stands", id="without an alarm nothing is trained"),
        pytest.param(ON_DEMAND, progress(), seen(alarm(1)), Train, "recall fell", id="an alarm that persists asks for a training"),
        pytest.param(ON_DEMAND, progress(), seen(alarm(0.2)), Wait, "must persist until", id="a young alarm must persist first"),
        pytest.param(ON_DEMAND, progress(), seen(alarm(30)), Wait, "no alarm stands", id="an alarm that is over asks for nothing"),
        pytest.param(
            ON_DEMAND, progress(), seen(alarm(30), alarm(10)), Train, "since 2026-03-01 06:00",
            id="reports that follow each other are one alarm, which stands since the first",
        ),
        pytest.param(
            ON_DEMAND, progress(), seen(alarm(1, severity="minor")), Wait, "no alarm stands", id="a minor alarm is not enough",
        ),
        pytest.param(
            ON_DEMAND, progress(), seen(alarm(1, kind="data_drift")), Wait, "no alarm", id="kinds that the policy leaves out do not count"
        ),
        pytest.param(
            ON_DEMAND, progress(), seen(alarm(1, revision="sha256:old")), Wait, "no alarm", id="alarms about another revision do not count"
        ),
        pytest.param(
            ON_DEMAND, progress(), seen(alarm(1), labels=1), Wait, "1 more labels are needed", id="without labels there is nothing to learn"
        ),
        pytest.param(
            ON_DEMAND, progress(past(8, causes=(alarm(9).alarm_id,)), labels_until_hours_ago=8), seen(alarm(9), labels=1), Wait,
            "more labels", id="an alarm that was answered waits for new labels",
        ),
        pytest.param(
            ON_DEMAND, progress(past(8, causes=(alarm(9).alarm_id,)), labels_until_hours_ago=8), seen(alarm(9)), Train, "recall",
            id="an alarm that was answered asks again when labels have come",
        ),
        pytest.param(
            "strategies: {on_demand: {min_new_labels: 0}}", progress(past(8, causes=(alarm(9).alarm_id,))), seen(alarm(9), labels=0), Wait,
            "must clear", id="where no labels are asked for, an alarm that was answered must clear first",
        ),
        pytest.param(
            ON_DEMAND, progress(past(2)), seen(alarm(1)), Wait, "cool-down until 2026-03-02 16:00", id="the cool-down holds for alarms too"
        ),
        pytest.param(
            ON_DEMAND, progress(), seen(alarm(1), busy="a rollout to version 2 is under way"), Wait, "only one change is judged",
            id="nothing is trained while a rollout is under way",
        ),
        pytest.param(ON_DEMAND, progress(), seen(alarm(1), champion=None), Wait, "no revision", id="without a champion nothing is trained"),
        pytest.param(
            ON_DEMAND + "\nbudget: {trainings_a_week: 1}", progress(past(30)), seen(alarm(1)), Refuse, "the budget is 1",
            id="a budget of trainings that is spent refuses",
        ),
        pytest.param(
            ON_DEMAND + "\nbudget: {trainings_a_week: 1}", progress(past(24 * 7 + 1)), seen(alarm(1)), Train, "recall",
            id="a training a week ago is no longer in the budget",
        ),
        pytest.param(
            ON_DEMAND + "\nbudget: {compute_a_week: 100s}", progress(past(30, compute_s=60)), seen(alarm(1)), Refuse, "may take 60 s",
            id="a training that may take more processor time than is left is refused",
        ),
        pytest.param(WEEKLY, progress(), seen(labels=0), Train, "due at 2026-03-02 11:00", id="a time of the schedule has come"),
        pytest.param(
            WEEKLY, progress(since_us=NOON_US), seen(), Wait, "is due at 2026-03-09 11:00", id="times before the first look do not count"
        ),
        pytest.param(ACTIVE, progress(), seen(labels=3), Train, "3 events were labelled", id="enough labels start a training"),
        pytest.param(
            ACTIVE, progress(), seen(labels_us=(NOON_US + HOUR_US,) * 9), Wait, "3 more labels are needed",
            id="labels of a clock that is ahead start no training, as none could use them",
        ),
        pytest.param(
            ACTIVE, progress(), seen(labels=2, queued=2), Wait, "may ask for 3", id="else it says how many the queue may ask for",
        ),
        pytest.param(
            ACTIVE.replace("3}", "9}"), progress(), seen(labels=5, queued=5), Wait, "5 a week is spent", id="unless their budget is spent",
        ),
        pytest.param(HOURLY, progress(), seen(), Train, "an increment was due at 2026-03-02 12:00", id="an increment every hour"),
        pytest.param(
            ON_DEMAND, progress(past(-9000)), seen(alarm(1)), Train, "recall", id="a training of a clock that was ahead holds nothing up",
        ),
        pytest.param(
            HOURLY, progress(past(0.5, strategy="scheduled")), seen(), Train, "increment", id="increments know no cool-down",
        ),
        pytest.param(
            HOURLY, progress(past(1, strategy="incremental"), past(2, strategy="incremental")), seen(), Refuse, "increments started",
            id="increments have a budget of their own",
        ),
        pytest.param(HOURLY, progress(pending=PENDING), seen(labels=0), Train, "goes on", id="what was interrupted goes on"),
        pytest.param(
            f"{WEEKLY[:-1]}, on_demand: {{min_new_labels: 0}}}}", progress(), seen(alarm(1)), Train, "alarm",
            id="alarms come before the schedule",
        ),
    ],
)  # fmt: skip
def test_decision(text, reached, signals, expected, says):
    found = decide(policy(text), reached, signals, NOON_US)
    assert isinstance(found, expected), found
    assert says in found.reason


def test_a_time_that_was_used_is_used_once():
    rules, signals = policy(WEEKLY), seen()
    first = decide(rules, progress(), signals, NOON_US)
    ended = progress().starting(Pending(first.trigger, CHAMPION.bundle, NOON_US)).ending("rolled_out", "", NOON_US)
    later = decide(rules, ended, signals, NOON_US + 24 * HOUR_US)
    assert isinstance(later, Wait)
    assert "2026-03-09 11:00" in later.reason


EVERYTHING = """
strategies:
  scheduled: {cron: "0 */3 * * *"}
  on_demand: {min_new_labels: 1}
  incremental: {min_new_labels: 1}
  active: {min_new_labels: 4}
cool_down: 5h
budget: {trainings_a_week: 6, increments_a_week: 9, compute_a_week: 500s, first_training: 60s}
"""
STEPS = st.lists(
    st.tuples(
        st.integers(1, 40), st.booleans(), st.integers(0, 6), st.floats(1, 59), st.sampled_from(["rolled_out", "not_passed", "failed"])
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip


@given(STEPS)
def test_whatever_comes_cool_down_and_budget_hold_and_the_same_facts_give_the_same_decision(steps):
    rules, reached, now = policy(EVERYTHING), RetrainingProgress("flows", NOON_US), NOON_US
    alarms, labels = [], []
    for quarters, is_alarm, fresh, compute_s, outcome in steps:
        now += quarters * HOUR_US // 4
        labels += [now] * fresh
        if is_alarm:
            alarms.append(alarm(alarm_id=f"alarm-{now}", began_us=now - HOUR_US, time_us=now))
        signals = Signals(CHAMPION, None, tuple(alarms), tuple(labels), ())
        found = decide(rules, reached, signals, now)
        assert found == decide(rules, reached, signals, now)
        if isinstance(found, Train):
            pending = Pending(found.trigger, CHAMPION.bundle, now, compute_s=compute_s, labels_until_us=now)
            reached = reached.starting(pending).ending(outcome, "", now)
    whole = [p.started_us for p in reached.past if p.strategy != "incremental"]
    assert all(b - a >= 5 * HOUR_US for a, b in pairwise(whole))
    for p in reached.past:
        week = [q for q in reached.past if p.started_us - WEEK_US < q.started_us <= p.started_us]
        assert sum(q.strategy != "incremental" for q in week) <= 6
        assert sum(q.strategy == "incremental" for q in week) <= 9
        assert sum(q.compute_s for q in week) <= 500
    assert len({p.trigger_id for p in reached.past}) == len(reached.past), "every training has a trigger of its own"


def test_trainings_after_a_clock_was_set_back_have_ids_of_their_own():
    ahead = progress(past(-9000))
    first = decide(policy(ACTIVE), ahead, seen(), NOON_US)
    second = decide(policy(ACTIVE), replace(ahead, past=(*ahead.past, past(0))), seen(), NOON_US + 7 * HOUR_US)
    assert isinstance(first, Train)
    assert isinstance(second, Train)
    assert first.trigger.trigger_id != second.trigger.trigger_id, "or the second one's acts would be taken for the first one's"


def test_a_progress_of_a_clock_that_was_ahead_begins_now(tmp_path):
    save_progress(tmp_path, RetrainingProgress("flows", NOON_US + 9000 * HOUR_US))
    assert load_progress(tmp_path, "flows", NOON_US).since_us == NOON_US
