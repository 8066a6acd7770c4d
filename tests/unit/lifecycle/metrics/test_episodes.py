"""Attack episodes: where one ends and the next begins, and when it was found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.metrics.episodes import attack_episodes, delay_quantiles
from tests import laws

SECOND_US = 1_000_000
ROW = st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.booleans(), st.booleans())


def found(rows, gap_s=10):
    entity, at, attack, alert = zip(*rows, strict=True)
    return attack_episodes(np.array(entity, dtype=object), np.array(at) * SECOND_US, np.array(attack), np.array(alert), gap_s)


@pytest.mark.parametrize(
    ("rows", "delays"),
    [
        pytest.param([("a", 0, True, True)], [0], id="an alert on the first row is at once"),
        pytest.param([("a", 0, True, False), ("a", 5, True, True), ("a", 7, True, True)], [5], id="the first alert counts"),
        pytest.param([("a", 0, True, False), ("a", 11, True, True)], [np.inf, 0], id="a longer gap begins another episode"),
        pytest.param([("a", 0, True, False), ("a", 10, True, True)], [10], id="a gap of just the length does not"),
        pytest.param([("a", 0, True, False), ("b", 1, True, True)], [np.inf, 0], id="another entity is another episode"),
        pytest.param([("a", 0, True, False), ("a", 1, False, True)], [np.inf], id="an alert on a benign row finds nothing"),
        pytest.param([("a", 5, True, True), ("a", 0, True, False)], [5], id="the order of the rows does not matter"),
        pytest.param([("a", 0, False, True)], [], id="no attack, no episode"),
    ],
)
def test_delay(rows, delays):
    assert found(rows).delay_s.tolist() == delays


@laws.examples(100)
@given(st.lists(ROW, min_size=1, max_size=40), st.integers(1, 20))
def test_episodes_agree_with_a_slow_reading(rows, gap_s):
    slow = []
    for name in "abc":
        mine = sorted((at, alert) for entity, at, attack, alert in rows if entity == name and attack)
        run = []
        for at, alert in mine:
            if run and at - run[-1][0] > gap_s:
                slow.append((name, run))
                run = []
            run.append((at, alert))
        if run:
            slow.append((name, run))
    got = found(rows, gap_s)
    assert got.entity.tolist() == [name for name, _ in slow]
    assert got.rows.tolist() == [len(run) for _, run in slow]
    assert got.delay_s.tolist() == [min((at for at, alert in run if alert), default=np.inf) - run[0][0] for _, run in slow]


@laws.examples(50)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.sampled_from([0.5, 0.9, 1.0]))
def test_a_quantile_is_the_first_delay_that_reaches_the_share(delays, share):
    values = np.array(delays, dtype=float)
    got = delay_quantiles(values, np.ones((1, len(values))), share)[0]
    assert got == np.quantile(values, share, method="inverted_cdf")


def test_fewer_found_than_asked_for_is_never():
    assert delay_quantiles(np.array([1.0, np.inf, np.inf]), np.ones((1, 3)), 0.5)[0] == np.inf
