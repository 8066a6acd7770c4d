"""What a challenger must show: bounds, margins, families, and words for each."""

import numpy as np
import pytest

from lifecycle.documents.document import write
from lifecycle.metrics.intervals import Interval
from lifecycle.retraining.challenge.judge import LeftOutFamily, judge
from lifecycle.retraining.challenge.left_out import left_out_families
from lifecycle.retraining.challenge.page import challenge_page
from lifecycle.retraining.challenge.paired_harm import PairedAlerts, paired_harm, units_needed, verdict_of
from lifecycle.retraining.challenge.result import ChallengedBundle, ChallengeResult
from lifecycle.retraining.challenge.rows import KeptRows
from lifecycle.retraining.policy import ChallengeRules, Families, NewestGate
from lifecycle.training.train import prepare
from tests.unit.lifecycle.declared import detector, rows
from tests.unit.lifecycle.retraining.world import check_data

RULES = ChallengeRules(draws=400)


def alerts(found, missed_by_challenger=0, *, attacks=100, benign=300, family="scan", false=0, more_false=0, owner=None):
    """`found` attacks alert by the champion, of which the challenger misses some; `false` benign rows by both, `more_false` by it only."""
    n = attacks + benign
    place = np.arange(n)
    champion = (place < found) | ((place >= attacks) & (place < attacks + false))
    challenger = (place >= missed_by_challenger) & champion | ((place >= n - more_false) & (place >= attacks))
    names = np.array([f"e{i}" for i in range(n)], dtype=object) if owner is None else owner
    families = np.array([family] * attacks + [""] * benign, dtype=object)
    return PairedAlerts(champion, challenger, place < attacks, families, names, np.ones(n))


NOTHING = alerts(0, attacks=0, benign=0)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        pytest.param(Interval(-0.2, -0.3, -0.1), "better", id="no bound reaches 0"),
        pytest.param(Interval(0.0, -0.01, 0.04), "no_worse", id="the upper bound is within the margin"),
        pytest.param(Interval(0.2, 0.1, 0.3), "worse", id="the lower bound is over the margin"),
        pytest.param(Interval(0.0, -0.2, 0.2), "undecided", id="the margin is within the bounds"),
        pytest.param(Interval(0.04, 0.01, 0.049), "no_worse", id="a loss that is within the margin for sure"),
        pytest.param(Interval(None, None, None), "not_judged", id="nothing was seen"),
    ],
)
def test_verdicts(harm, expected):
    assert verdict_of(harm, 0.05) == expected


@pytest.mark.parametrize(
    ("newest", "kept", "stopped"),
    [
        pytest.param(alerts(90), alerts(90), [], id="the same alerts pass, if there are enough rows"),
        pytest.param(alerts(90, attacks=20), alerts(90), ["newest recall"], id="too few newest attacks are undecided and do not pass"),
        pytest.param(alerts(9, attacks=9), alerts(90), [], id="fewer than are judged stop nothing"),
        pytest.param(
            alerts(90), alerts(90, 30), ["kept recall", "family recall"], id="recall that is lost on the kept rows stops it"
        ),
        pytest.param(
            alerts(90), alerts(90, more_false=60), ["kept false_alarm_rate"], id="false alarms that are added stop it"
        ),
    ],
)  # fmt: skip
def test_the_gates_on_all_rows(newest, kept, stopped):
    found = judge(RULES, newest, kept, (), seed=0)
    assert [f"{g.kind} {g.figure}" for g in found if not g.passes] == stopped


@pytest.mark.parametrize("part", ["newest", "kept"])
@pytest.mark.parametrize(
    ("missed", "undecided", "stopped"),
    [
        pytest.param(0, "refuse", True, id="what is undecided does not pass by default"),
        pytest.param(0, "as_seen", False, id="as seen: it passes, as no such loss was seen"),
        pytest.param(2, "as_seen", True, id="as seen: it does not pass where more than the margin was lost"),
        pytest.param(2, "pass", False, id="pass: only evidence stops it"),
    ],
)
def test_what_becomes_of_a_challenger_with_too_few_rows(part, missed, undecided, stopped):
    few, enough = alerts(20, missed, attacks=20, family=""), alerts(90, family="")
    spec = getattr(RULES, part).model_copy(update={"undecided": undecided})
    newest, kept = (few, enough) if part == "newest" else (enough, few)
    found = judge(RULES.model_copy(update={part: spec}), newest, kept, (), seed=0)
    gate = next(g for g in found if (g.kind, g.figure) == (part, "recall"))
    assert gate.verdict == "undecided"
    assert gate.passes is not stopped


def lost(attacks, missed):
    """100 scans are found by both; of a rare family the challenger misses some."""
    return alerts(100).beside(alerts(attacks, missed, attacks=attacks, benign=0, family="rare", owner=named(attacks)))


def named(n):
    return np.array([f"rare {i}" for i in range(n)], dtype=object)


@pytest.mark.parametrize(
    ("rare", "rules", "verdict", "passes"),
    [
        pytest.param(lost(40, 40), Families(), "worse", False, id="a family that the champion finds may not be lost"),
        pytest.param(lost(40, 0), Families(), "no_worse", True, id="a family that is still found"),
        pytest.param(lost(3, 0), Families(), "undecided", True, id="a family with too few attacks says so, and passes if none was lost"),
        pytest.param(lost(3, 1), Families(), "undecided", False, id="and does not pass if some were"),
        pytest.param(lost(3, 0), Families(undecided="refuse"), "undecided", False, id="a policy may refuse what is undecided"),
        pytest.param(
            alerts(100).beside(alerts(0, attacks=40, benign=0, family="rare", owner=named(40))), Families(), "not_judged", True,
            id="what the champion does not find cannot be lost",
        ),
    ],
)  # fmt: skip
def test_no_family_is_forgotten(rare, rules, verdict, passes):
    found = judge(RULES.model_copy(update={"families": rules}), NOTHING, rare, (), seed=0)
    gate = next(g for g in found if g.subject == "rare")
    assert (gate.verdict, gate.passes) == (verdict, passes)
    assert "rare" in gate.words


def test_an_undecided_gate_says_how_many_more_would_decide():
    found = judge(RULES, alerts(20, attacks=20), NOTHING, (), seed=0)
    gate = next(g for g in found if (g.kind, g.figure) == ("newest", "recall"))
    assert gate.verdict == "undecided"
    assert f"about {gate.more} more rows would decide" in gate.words
    enough = paired_harm(alerts(20 + gate.more, attacks=20 + gate.more, benign=0), alerts_are_good=True, draws=400, seed=0)
    assert verdict_of(enough.harm, NewestGate().recall_margin) == "no_worse"


def test_rows_of_one_entity_are_one_draw():
    one = alerts(100, owner=np.array(["same"] * 400, dtype=object))
    harm = paired_harm(one.take(one.attack), alerts_are_good=True, draws=400, seed=0)
    assert harm.units == 1
    assert verdict_of(harm.harm, 0.15) == "undecided", "one host shows nothing of others"
    assert units_needed(harm.harm, 0.15) > 10


def test_rows_weigh_what_they_stand_for():
    rows_ = alerts(100, 10, benign=0)
    heavy = PairedAlerts(
        rows_.champion, rows_.challenger, rows_.attack, rows_.family, rows_.owner, np.where(np.arange(100) < 10, 9.0, 1.0)
    )
    plain, weighted = (paired_harm(r, alerts_are_good=True, draws=400, seed=0).harm.value for r in (rows_, heavy))
    assert (plain, weighted) == (pytest.approx(0.1), pytest.approx(0.5))


@pytest.mark.heavy
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_the_bounds_hold_as_often_as_they_say(loss):
    """A challenger that loses just the margin passes at most in about one of forty challenges."""
    rng, passed = np.random.default_rng(4), 0
    for seed in range(200):
        champion = rng.random(80) < 0.9
        challenger = champion & (rng.random(80) >= loss / 0.9)
        names = np.array([f"e{i}" for i in range(80)], dtype=object)
        drawn = PairedAlerts(champion, challenger, np.ones(80, dtype=bool), names, names, np.ones(80))
        harm = paired_harm(drawn, alerts_are_good=True, draws=300, seed=seed)
        passed += verdict_of(harm.harm, 0.1) in ("better", "no_worse")
    assert passed <= 10 if loss else passed >= 190, passed


def result(*gates):
    bundle = ChallengedBundle("1", "sha256:a", 0.5)
    return ChallengeResult("flows", "trigger-1", "siem_alerting", bundle, bundle, gates, (("rows", "1"),), ("a note",))


def test_a_challenge_without_rows_does_not_pass():
    nothing = result(*judge(RULES, NOTHING, NOTHING, (), seed=0))
    assert not nothing.passed
    assert "no rows to judge by" in nothing.words


def test_the_page_says_each_gate_in_words_and_figures():
    left = LeftOutFamily("worm", alerts(50, 2, attacks=60, benign=0, family="worm"))
    found = result(*judge(RULES, alerts(90), alerts(90, 30), (left,), seed=0))
    page = challenge_page(found)
    text = write(page, "md")
    assert "not passed" in text
    assert "worse by more than 0.05" in text
    assert "of worm, which neither has seen" in text
    assert "a note" in text
    assert write(page, "html").count("<table") >= 1
    assert page.record["passed"] is False
    assert len(page.record["gates"]) == len(found.gates)


def test_a_family_that_is_left_out_is_judged_on_models_that_have_not_seen_it():
    frame = rows(900)
    attack = (frame["verdict"] == "attack").to_numpy()
    odd = attack & (np.arange(900) % 3 == 0)
    frame["kind"] = np.where(odd, "odd", np.where(attack, "loud", "normal"))
    frame.loc[odd, ["method", "failures"]] = ["key", 0]
    frame.loc[odd, "seconds"] = np.random.default_rng(1).gamma(2, 3, odd.sum())
    declared = detector(
        source__columns__kind="string", label={"column": "verdict", "positive": {"equals": ["attack"]}, "type_column": "kind"}
    )
    base = prepare(declared, check_data(declared, frame, where="x"), None, with_test=True)
    (loud, other) = left_out_families(base, base.parts.train, KeptRows.of(base, None).benign, 0.05, most=5, seed=1)
    assert [loud.family, other.family] == ["loud", "odd"]
    assert (loud.alerts.champion == loud.alerts.challenger).all(), "both recipes saw the same rows"
    assert len(other.alerts) == odd.sum(), "all rows of the family are judged, as no model saw one"
    assert other.alerts.champion.mean() < 0.3, "what looks like nothing known is not found"
    assert left_out_families(base, base.parts.train, KeptRows.of(base, None).benign, 0.05, most=0, seed=1) == ()
