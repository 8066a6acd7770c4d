"""Thresholds keep what their scenario asks for: with a stated confidence, or said not to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.training.operating_points.choose import choose_points
from lifecycle.training.operating_points.promise import promise, promise_in_full
from lifecycle.training.operating_points.validation import independent_rows, rows_in_units
from tests import laws
from tests.unit.lifecycle.declared import detector

ROWS = st.lists(st.tuples(st.integers(0, 40).map(lambda v: v / 40), st.booleans()), min_size=6, max_size=120).filter(
    lambda rows: any(r[1] for r in rows) and not all(r[1] for r in rows)
)
FIGURES = {"breach_response": ("recall", 0.98), "siem_alerting": ("f1", 0.85), "executive_dashboard": ("precision", 0.95)}


def chosen(rows, declared=None, weights=None):
    score, attack = np.array([r[0] for r in rows], dtype=np.float32), np.array([r[1] for r in rows])
    return score, attack, choose_points(declared or detector(), independent_rows(score, attack, weights))


def overlapping(attacks=3000, benign=12_000, seed=0):
    """Scores of two normal distributions, 3.5 standard deviations apart."""
    rng = np.random.default_rng(seed)
    z = np.concatenate([rng.normal(3.5, 1, attacks), rng.normal(0, 1, benign)])
    return (1 / (1 + np.exp(1.75 - z))).astype(np.float32), np.arange(attacks + benign) < attacks


@pytest.mark.heavy
@laws.examples(150)
@given(ROWS)
def test_what_is_expected_is_what_the_threshold_does(rows):
    score, attack, points = chosen(rows)
    for point in points.values():
        alert = score >= np.float32(point.threshold)
        assert point.expected.recall == pytest.approx((alert & attack).sum() / attack.sum())
        assert point.expected.false_alarm_rate == pytest.approx((alert & ~attack).sum() / (~attack).sum())
        assert point.expected.attack_share == pytest.approx(attack.mean())
        assert point.investigate <= point.threshold


@pytest.mark.heavy
@laws.examples(150)
@given(ROWS)
def test_a_requirement_holds_or_is_said_not_to(rows):
    _, _, points = chosen(rows)
    assert points["breach_response"].expected.recall >= 0.98, "on these rows any recall can be had"
    for name, (figure, least) in FIGURES.items():
        point = points[name]
        assert point.expected.is_met == (point.holds is not None) == (point.shortfall == "")
        assert point.holds is None or getattr(point.expected, figure) >= least


def test_three_scenarios_are_three_thresholds_that_hold():
    points = choose_points(detector(), independent_rows(*overlapping()))
    breach, siem, executive = (points[name] for name in FIGURES)
    assert breach.threshold < siem.threshold < executive.threshold
    for name, (figure, least) in FIGURES.items():
        held = points[name].holds
        assert (held.what, held.bound, held.confidence, held.unit, held.units) == (figure, least, 0.95, "row", 3000)
        assert getattr(points[name].expected, figure) >= least
    assert (breach.holds.attack_share, breach.holds.benign_units) == (None, None), "a recall depends on no benign row"
    assert (siem.holds.attack_share, siem.holds.benign_units) == (0.2, 12_000)
    assert siem.investigate == executive.investigate == breach.threshold


def test_a_recall_is_promised_at_the_order_statistic_that_wilks_gives():
    """149 attacks, all found, are what 95 % confidence in a recall of 98 % takes; the least score is then the threshold."""
    few = [(0.5 + i / 1000, True) for i in range(148)] + [(0.1, False)] * 50
    assert chosen(few)[2]["breach_response"].holds is None
    score, attack, points = chosen([*few, (0.4, True)])
    assert points["breach_response"].holds.units == 149
    assert (score[attack] >= points["breach_response"].threshold).all()


@pytest.mark.parametrize(
    ("name", "attacks", "benign", "says"),
    [
        pytest.param(
            "breach_response", 40, 400, "from 40 attack rows: it takes at least 149, with no attack missed", id="recall"
        ),
        pytest.param(
            "executive_dashboard", 20, 40, "from 20 attack rows and 40 benign rows: at the rates seen", id="precision"
        ),
    ],
)
def test_what_cannot_be_promised_says_what_it_would_take(name, attacks, benign, says):
    rows = [(0.9, True)] * attacks + [(0.1, False)] * benign
    point = chosen(rows)[2][name]
    assert says in point.shortfall
    assert "reaches 1.000 on the validation rows" in point.shortfall
    assert (promise(point), promise_in_full(point)) == ("NO", point.shortfall)
    assert 0.1 < point.threshold <= 0.9, "the nearest stands in"


def test_more_rows_of_a_model_that_cannot_do_it_do_not_help():
    rows = [(0.9, True)] * 400 + [(0.9, False)] * 400 + [(0.1, False)] * 400
    assert "no number of rows like these would do" in chosen(rows)[2]["executive_dashboard"].shortfall


def test_a_perfect_recall_is_never_promised():
    declared = detector(operating_points__breach_response={"require": "recall >= 1"})
    assert (
        "no number would be enough"
        in chosen([(0.9, True)] * 500 + [(0.1, False)] * 500, declared)[2]["breach_response"].shortfall
    )


def test_a_margin_is_added_to_the_requirement():
    rows = [(1 - i / 1000, True) for i in range(1000)] + [(0.5, False)] * 3000
    declared = detector(operating_points__breach_response={"require": "recall >= 0.9", "margin": 0.05})
    point = chosen(rows, declared)[2]["breach_response"]
    assert point.expected.recall >= 0.95
    assert point.holds.bound == pytest.approx(0.95)


def test_more_confidence_costs_false_alarms():
    score, attack = overlapping()
    rates = []
    for delta in (0.2, 0.05, 0.001):
        declared = detector(operating_points__breach_response={"require": "recall >= 0.98", "delta": delta})
        point = choose_points(declared, independent_rows(score, attack))["breach_response"]
        assert point.holds.confidence == pytest.approx(1 - delta)
        rates.append(point.expected.false_alarm_rate)
    assert rates == sorted(set(rates))


def test_a_precision_is_meant_at_the_declared_share_of_attacks():
    score, attack = overlapping()
    thresholds = {}
    for share in (0.02, 0.2, 0.6):
        declared = detector(operating_points__executive_dashboard={"require": "precision >= 0.95", "attack_share": share})
        point = choose_points(declared, independent_rows(score, attack))["executive_dashboard"]
        thresholds[share] = point.threshold
        hits, alarms = share * point.expected.recall, (1 - share) * point.expected.false_alarm_rate
        assert hits / (hits + alarms) >= 0.95
        assert point.holds is None or point.holds.attack_share == share
    assert thresholds[0.02] > thresholds[0.2] >= thresholds[0.6], "where attacks are rare, an alert needs more to be right"


def test_few_false_alarms_are_never_asked_for_below_the_balance():
    """At a share of 90 % nearly every threshold keeps a precision of 95 %; the balance is meant at the share of the rows."""
    declared = detector(operating_points__executive_dashboard={"require": "precision >= 0.95", "attack_share": 0.9})
    points = choose_points(declared, independent_rows(*overlapping()))
    assert points["executive_dashboard"].threshold == points["siem_alerting"].threshold
    assert points["executive_dashboard"].holds is not None


@pytest.mark.parametrize(
    ("missed", "false", "is_lower"), [pytest.param(50, 1, True, id="misses"), pytest.param(1, 50, False, id="alarms")]
)
def test_a_declared_cost_moves_the_threshold_to_where_errors_cost_least(missed, false, is_lower):
    score, attack = overlapping()
    balanced = choose_points(detector(), independent_rows(score, attack))["siem_alerting"]
    cost = {"missed_attack": missed, "false_alarm": false}
    declared = detector(operating_points__siem_alerting={"require": "f1 >= 0.5", "cost": cost})
    point = choose_points(declared, independent_rows(score, attack))["siem_alerting"]
    assert point.holds is not None
    assert (point.threshold < balanced.threshold) is is_lower

    def spent(threshold):
        alert = score >= np.float32(threshold)
        return missed * (attack & ~alert).sum() + false * (~attack & alert).sum()

    assert spent(point.threshold) < spent(balanced.threshold)


def test_weights_count():
    rows = [(0.9, True), (0.1, True), (0.5, False), (0.5, False)]
    even = chosen(rows)[2]["siem_alerting"].expected
    heavy = chosen(rows, weights=np.array([1.0, 9.0, 1.0, 1.0]))[2]["siem_alerting"].expected
    assert even.recall == pytest.approx(0.5) or even.recall == 1
    assert heavy.recall == 1, "the attack that counts nine times is not given up"


def test_many_rows_of_few_hosts_promise_little():
    """The same scores, by row and by host of 100 rows: 30 attacked hosts are 30 draws."""
    score, attack = overlapping()
    owner = np.arange(len(score)) // 100
    by_host = choose_points(detector(), rows_in_units(score, attack, np.ones(len(score)), "entity", owner))
    assert choose_points(detector(), independent_rows(score, attack))["breach_response"].holds is not None
    assert by_host["breach_response"].holds is None
    assert "from 30 attacked entities: it takes at least 180" in by_host["breach_response"].shortfall


def test_where_every_host_is_attacked_no_precision_is_promised():
    """Benign rows of attacked hosts are no draws of their own, so there is nothing to tell false alarms by."""
    score, attack = overlapping(300, 300)
    points = choose_points(detector(), rows_in_units(score, attack, np.ones(600), "entity", np.arange(600) % 300))
    assert points["breach_response"].holds.units == 300
    assert points["executive_dashboard"].holds is None
    assert "and 0 benign entities: it takes benign entities" in points["executive_dashboard"].shortfall


@pytest.mark.heavy
def test_the_balance_and_the_points_around_it_hold_by_host_where_there_are_many():
    score, attack = overlapping(6000, 24_000)
    owner = np.arange(len(score)) // 10
    points = choose_points(detector(), rows_in_units(score, attack, np.ones(len(score)), "entity", owner))
    assert [(p.holds.unit, p.holds.units) for p in points.values()] == [("entity", 600)] * 3
    assert points["executive_dashboard"].holds.benign_units == 2400
    assert promise(points["siem_alerting"]) == "95%, 600 entities"
    assert "at an attack share of 20.0%" in promise_in_full(points["siem_alerting"])
