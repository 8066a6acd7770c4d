"""Windowed aggregates agree with counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.features.windows.aggregates import SECOND_US, Measure, SpanTooLong, aggregate
from tests import laws

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),  # entity
        st.integers(0, 40 * 4).map(lambda quarter: quarter * SECOND_US // 4),  # whole seconds are met often
        st.integers(-1, 3),  # value, -1: none
        st.integers(0, 5),  # amount
    ),
    max_size=60,
)


def naive(events, window_us):
    ticks = sorted({(-(-at // SECOND_US) * SECOND_US, who) for who, at, _, _ in events})
    rows = {}
    for tick, who in ticks:
        inside = [e for e in events if e[0] == who and tick - window_us < e[1] <= tick]
        amounts = [e[3] for e in inside]
        rows[who, tick] = (len(inside), sum(amounts), sum(amounts) / len(inside), len({e[2] for e in inside if e[2] >= 0}))
    return ticks, rows


@laws.examples(150)
@given(EVENTS, st.sampled_from([1, 3, 10]))
def test_agrees_with_counting_by_hand(events, seconds):
    who, at, value, amount = (np.array([e[i] for e in events], dtype=np.int64) for i in range(4))
    measures = {
        "n": Measure("count", value),
        "sum": Measure("sum", amount),
        "mean": Measure("mean", amount),
        "distinct": Measure("distinct", value),
    }
    got = aggregate(who, at, measures, {"w": seconds})
    ticks, rows = naive(events, seconds * SECOND_US)
    assert list(zip(got.at_us.tolist(), got.entity.tolist(), strict=True)) == ticks
    for i, (tick, entity) in enumerate(ticks):
        mine = tuple(got.columns["w"][name][i] for name in ("n", "sum", "mean", "distinct"))
        assert mine == pytest.approx(rows[entity, tick])


def test_fractions_are_summed_too():
    at = np.array([1, 2, 3]) * SECOND_US
    got = aggregate(np.zeros(3, dtype=np.int64), at, {"s": Measure("sum", np.array([0.5, 0.25, 0.125]))}, {"w": 2})
    assert got.columns["w"]["s"].tolist() == [0.5, 0.75, 0.375]


def test_an_event_is_in_no_tick_before_it():
    at = np.array([10 * SECOND_US + 1])
    assert aggregate(np.zeros(1, dtype=np.int64), at, {"n": Measure("count", at)}, {"w": 10}).at_us.tolist() == [11 * SECOND_US]


def test_unknown_aggregate_is_refused():
    with pytest.raises(ValueError, match="unknown aggregate"):
        aggregate(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64), {"x": Measure("median", np.ones(1))}, {"w": 1})


def test_a_time_line_too_long_to_count_on_is_refused_not_counted_wrong():
    """One row of 1970 among those of today, and 5,000 entities: more microseconds than a 64-bit number holds."""
    who = np.arange(5_000, dtype=np.int64)
    at = np.full(5_000, 1_700_000_000 * SECOND_US, dtype=np.int64)
    fine = aggregate(who, at, {"n": Measure("count", who)}, {"v": 60})
    assert fine.columns["v"]["n"].tolist() == [1] * 5_000
    at[0] = 0
    with pytest.raises(SpanTooLong, match="1970-01-01"):
        aggregate(who, at, {"n": Measure("count", who)}, {"v": 60})


@laws.examples(60)
@given(EVENTS, st.integers(0, 45))
def test_later_rows_alone_are_what_they_are_among_all_rows(events, second):
    who, at, value, amount = (np.array([e[i] for e in events], dtype=np.int64) for i in range(4))
    measures = {"n": Measure("count", value), "sum": Measure("sum", amount), "distinct": Measure("distinct", value)}
    whole = aggregate(who, at, measures, {"w": 5})
    later = aggregate(who, at, measures, {"w": 5}, after_us=second * SECOND_US)
    kept = whole.at_us > second * SECOND_US
    assert later.at_us.tolist() == whole.at_us[kept].tolist()
    assert later.entity.tolist() == whole.entity[kept].tolist()
    for name, values in later.columns["w"].items():
        assert values.tolist() == whole.columns["w"][name][kept].tolist()
