"""What the drift demonstration counts, what it asks of the story, and what it shows."""

import json

import pytest
from typer.testing import CliRunner

from lifecycle.documents.document import write
from lifecycle.metrics.intervals import wilson
from operators.cli.demo.app import app
from operators.cli.demo.drift import play
from operators.cli.demo.drift.page import drift_demo_page
from operators.cli.demo.drift.result import (
    DriftResult,
    KnownAnswer,
    Promise,
    StoryEvent,
    figures,
    is_clearly_above,
    recall_over_time,
    story_in,
    untold,
)

STORY = [
    StoryEvent("2026-01-01 00:00:01", "alarm", "data_drift of proto"),
    StoryEvent("2026-01-01 00:00:02", "labels", "300 labelled rows"),
    StoryEvent("2026-01-01 00:00:03", "trigger", "on_demand"),
    StoryEvent("2026-01-01 00:00:03", "training", "300 labelled rows beside 12000"),
    StoryEvent("2026-01-01 00:00:03", "gate", "passed: schema, golden"),
    StoryEvent("2026-01-01 00:00:03", "challenge", "the challenger passes all 10 gates"),
    StoryEvent("2026-01-01 00:00:03", "rollout", "version 2 is asked for"),
    StoryEvent("2026-01-01 00:00:04", "rollout", "mirror: step 1"),
    StoryEvent("2026-01-01 00:00:05", "rollout", "setWeight 25 %: step 3"),
    StoryEvent("2026-01-01 00:00:06", "rollout", "promote: no_worse"),
]


def answer(*, family="", is_alert=False, version="1"):
    return KnownAnswer("r", family, "quiet", is_alert, version)


def test_figures_are_those_of_one_version():
    answers = [
        *[answer(family="scan", is_alert=True)] * 3, answer(family="scan"), answer(is_alert=True), *[answer()] * 4,
        answer(family="scan", version="2"),
    ]  # fmt: skip
    now = figures("before", "1", answers)
    assert (now.answers, now.attacks) == (9, 4)
    assert (now.recall.value, now.false_alarms.value, now.precision.value) == (0.75, 0.2, 0.75)
    assert figures("before", "3", answers).recall.value is None


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        pytest.param(wilson(95, 100), wilson(40, 100), True, id="bounds that lie apart"),
        pytest.param(wilson(60, 100), wilson(55, 100), False, id="bounds that overlap"),
        pytest.param(wilson(40, 100), wilson(95, 100), False, id="the other way round"),
        pytest.param(wilson(0, 0), wilson(40, 100), False, id="nothing was counted"),
    ],
)
def test_better_is_what_chance_does_not_explain(upper, lower, expected):
    assert is_clearly_above(upper, lower) is expected


def test_recall_over_time_is_that_of_so_many_attacks_in_turn():
    answers = [
        answer(),
        *[answer(family="scan", is_alert=True)] * 2,
        answer(),
        *[answer(family="scan")] * 2,
        answer(family="scan"),
    ]
    assert [(p.until, p.recall.value) for p in recall_over_time(answers, attacks=2)] == [(3, 1.0), (6, 0.0)]


def test_the_story_is_read_out_of_what_lineage_show_prints():
    shown = "rollout: rollout 1\nmade of\n└─ revision: x\n\nwhat happened, in order (UTC)\n"
    shown += "".join(f"{one.time}  {one.what.ljust(9)}  {one.words}\n" for one in STORY)
    assert story_in(shown) == STORY
    assert story_in("rollout: rollout 1\n") == []


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param(STORY, [], id="the whole story"),
        pytest.param([one for one in STORY if one.what != "gate"], ["gate passed"], id="without the gate"),
        pytest.param(STORY[:-1], ["rollout promote"], id="without the promotion"),
        pytest.param(STORY[1:], ["alarm"], id="without the alarm"),
    ],
)
def test_what_the_story_lacks_is_named(story, expected):
    assert untold(story)[: len(expected)] == expected
    assert bool(untold(story)) == bool(expected)


def seen(*, is_kept=True):
    found = DriftResult(7, answers=[answer(family="scan", is_alert=True)] * 130, moments={"drift": 70})
    found.phases.append(figures("before the drift", "1", found.answers))
    found.promises.append(Promise("recall is better", is_kept))
    found.gates.append({"kind": "left_out", "subject": "scan", "champion": 0.5, "challenger": None, "verdict": "not_judged"})
    found.story += STORY
    return found


def test_the_page_has_the_figures_the_plot_and_the_story():
    html = write(drift_demo_page(seen()), "html")
    assert "the traffic drifts" in html
    assert "100.0 % (97.1 to 100.0)" in html
    assert "rollout" in html
    assert "on_demand" in html


@pytest.mark.heavy
def test_a_promise_that_is_not_kept_ends_with_1_and_is_in_the_record(monkeypatch, tmp_path):
    monkeypatch.setattr(play, "play", lambda store_dir, options, tell: seen(is_kept=False))
    done = CliRunner().invoke(app, ["drift", "--json", "--report", str(tmp_path / "page.html")])
    assert done.exit_code == 1
    assert "recall is better" in str(done.exception)
    record = json.loads(done.stdout)
    assert record["is_as_promised"] is False
    assert record["promises"] == [{"words": "recall is better", "is_kept": False}]
    assert "recall is better" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_folder_that_is_there_is_not_played_in(tmp_path):
    done = CliRunner().invoke(app, ["drift", "--keep", str(tmp_path)])
    assert done.exit_code == 1
    assert "is there already" in str(done.exception)
