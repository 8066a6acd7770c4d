"""Thresholds keep what their scenario asks for, on the rows they were chosen on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.training.operating_points import choose_points
from tests import laws
from tests.unit.lifecycle.declared import detector

ROWS = st.lists(st.tuples(st.integers(0, 40).map(lambda v: v / 40), st.booleans()), min_size=6, max_size=120).filter(
    lambda rows: any(r[1] for r in rows) and not all(r[1] for r in rows)
)


def chosen(rows, declared=None, weights=None):
    score, attack = np.array([r[0] for r in rows], dtype=np.float32), np.array([r[1] for r in rows])
    return (
        score,
        attack,
        choose_points(declared or detector(), score, attack, np.ones(len(rows)) if weights is None else weights),
    )


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


@laws.examples(150)
@given(ROWS)
def test_a_requirement_is_met_or_said_not_to_be(rows):
    _, _, points = chosen(rows)
    assert points["breach_response"].expected.recall >= 0.98
    for name, figure, least in (("siem_alerting", "f1", 0.85), ("executive_dashboard", "precision", 0.95)):
        expected = points[name].expected
        assert expected.is_met == (getattr(expected, figure) >= least)


def test_of_the_thresholds_that_meet_it_the_best_f1_is_chosen():
    rows = [(0.9, True)] * 50 + [(0.6, True)] * 50 + [(0.3, False)] * 100
    _, _, points = chosen(rows)
    assert {0.3 < p.threshold <= 0.6 for p in points.values()} == {True}, "an easy requirement is not met only just"


def test_a_margin_is_added_to_the_requirement():
    rows = [(1 - i / 100, True) for i in range(100)] + [(0.5, False)] * 300
    declared = detector(operating_points__breach_response={"require": "recall >= 0.9", "margin": 0.05})
    assert chosen(rows, declared)[2]["breach_response"].expected.recall >= 0.95


def test_weights_count():
    rows = [(0.9, True), (0.1, True), (0.5, False), (0.5, False)]
    even = chosen(rows)[2]["siem_alerting"].expected
    heavy = chosen(rows, weights=np.array([1.0, 9.0, 1.0, 1.0]))[2]["siem_alerting"].expected
    assert even.recall == pytest.approx(0.5) or even.recall == 1
    assert heavy.recall == 1, "the attack that counts nine times is not given up"
