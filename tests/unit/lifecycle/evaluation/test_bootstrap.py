"""Drawing again: what is drawn together, that bounds hold, and that they are wide where little was seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from lifecycle.evaluation.bootstrap import (
    COUNTED,
    bootstrap,
    by_entity,
    by_row,
    counted,
    figure_interval,
    share_interval,
)
from lifecycle.metrics.intervals import wilson
from tests import laws

ROWS = st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.booleans()), min_size=2, max_size=40)


def columns(rows):
    entity, attack, alert = zip(*rows, strict=True)
    return np.array(entity, dtype=object), np.array(attack), np.array(alert)


def count_figures(alert, attack):
    """A statistic: COUNTED of given alerts. alert, attack: shape (n,)."""
    columns = np.column_stack([alert & attack, alert & ~attack, attack, ~attack]).astype(np.float64)
    return lambda weights: counted(*(weights @ columns).T)


@laws.examples(50)
@given(ROWS, st.integers(0, 1000))
def test_entities_are_drawn_whole_and_strata_keep_their_size(rows, seed):
    entity, attack, _ = columns(rows)
    clusters = by_entity(entity, attack)
    attacked = {e for e, a in zip(entity, attack, strict=True) if a}
    for weights in clusters.weights(5, seed):
        for drawn in weights:
            times = {}
            for name, weight in zip(entity, drawn, strict=True):
                assert times.setdefault(name, weight) == weight, "rows of one entity are drawn together"
            assert sum(w for n, w in times.items() if n in attacked) == len(attacked)
            assert sum(w for n, w in times.items() if n not in attacked) == len(set(entity)) - len(attacked)


@pytest.mark.heavy
@laws.examples(50)
@given(ROWS, st.integers(0, 1000))
def test_figures_of_a_draw_are_those_of_the_drawn_rows(rows, seed):
    entity, attack, alert = columns(rows)
    clusters = by_entity(entity, attack)
    (weights,) = clusters.weights(3, seed)
    for weight, got in zip(weights, count_figures(alert, attack)(weights), strict=True):
        a, p = np.repeat(attack, weight.astype(int)), np.repeat(alert, weight.astype(int))
        expected = {
            "precision": reference.precision_score(a, p, zero_division=np.nan),
            "recall": reference.recall_score(a, p, zero_division=np.nan),
            "f1": reference.f1_score(a, p, zero_division=np.nan),
            "false_alarm_rate": reference.recall_score(~a, p, zero_division=np.nan),
        }
        assert got.tolist() == pytest.approx([expected[name] for name in COUNTED], nan_ok=True)


def test_the_same_seed_gives_the_same_draws_whatever_else_is_asked():
    attack, alert = np.random.default_rng(0).random((2, 200)) < 0.5
    figures = count_figures(alert, attack)
    alone = bootstrap(by_row(attack), [figures], draws=50, seed=3)[0]
    beside = bootstrap(by_row(attack), [lambda weights: weights[:, :1], figures], draws=50, seed=3)[1]
    np.testing.assert_array_equal(alone, beside)
    assert not np.array_equal(alone, bootstrap(by_row(attack), [figures], draws=50, seed=4)[0])


@pytest.mark.heavy
def test_bounds_hold_where_rows_of_an_entity_are_alike_and_those_of_rows_do_not():
    """120 made-up captures of 60 hosts; a host's attack rows are mostly found, or mostly missed. The truth is 0.7."""
    rng = np.random.default_rng(5)
    held = {"entity": 0, "row": 0}
    for capture in range(120):
        of_host = rng.beta(1.4, 0.6, 60)
        entity = np.repeat(np.arange(60).astype(str).astype(object), 20)
        alert = rng.random(1200) < np.repeat(of_host, 20)
        attack = np.ones(1200, dtype=bool)
        recall = float(alert.mean())
        drawn = bootstrap(by_entity(entity, attack), [count_figures(alert, attack)], draws=200, seed=capture)[0]
        by_hosts = share_interval(recall, drawn[:, COUNTED.index("recall")], 60)
        by_rows = wilson(int(alert.sum()), 1200)
        held["entity"] += by_hosts.low <= 0.7 <= by_hosts.high
        held["row"] += by_rows.low <= 0.7 <= by_rows.high
    assert held["entity"] >= 108, held
    assert held["row"] < 80, "if this held too, the data would not show what the test is for"


def test_bounds_of_rows_agree_with_wilsons():
    rng = np.random.default_rng(1)
    attack, alert = np.ones(400, dtype=bool), rng.random(400) < 0.8
    drawn = bootstrap(by_row(attack), [count_figures(alert, attack)], draws=2000)[0][:, 1]
    got, expected = share_interval(float(alert.mean()), drawn, 400), wilson(int(alert.sum()), 400)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_two_hosts_that_were_found_do_not_prove_that_all_will_be():
    drawn = np.ones(100)
    assert share_interval(1.0, drawn, 2).low == pytest.approx(wilson(2, 2).low)
    assert share_interval(1.0, drawn, 5000).low < 1.0, "nothing was missed yet"


def test_what_no_draw_counts_is_undefined():
    assert share_interval(0.5, np.full(10, np.nan), 3).value is None
    assert figure_interval(None, np.ones(3), 3).value is None
    assert share_interval(0.5, np.array([0.4, np.nan, 0.6]), 300).low == pytest.approx(0.405)
