"""Laws: hits are those of the definition, whatever order events come in within the lateness; state that was stored goes on the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rules.correlation.engine import Correlator
from serving.rules.correlation.state import apply_delta, definition_of, encode_delta, encode_snapshot, restore_part
from serving.rules.correlation.values import CorrelationLimits
from tests import laws
from tests.unit.serving.rules.correlation.correlating import (
    SECOND,
    base,
    compiled,
    correlation,
    correlator,
    defined,
    event,
    observe,
    play,
    seen,
)

BODIES = {
    "event_count": "type: event_count\nrules: [a, b]\ngroup-by: [g]\ntimespan: 10s\ncondition: {gte: 3}",
    "value_count": "type: value_count\nrules: [a]\ngroup-by: [g]\ntimespan: 10s\ncondition: {field: v, gt: 1}",
    "temporal": "type: temporal\nrules: [a, b, c]\ngroup-by: [g]\ntimespan: 10s",
    "temporal, two of three": "type: temporal\nrules: [a, b, c]\ngroup-by: [g]\ntimespan: 10s\ncondition: {gte: 2}",
    "temporal_ordered": "type: temporal_ordered\nrules: [a, b, c]\ngroup-by: [g]\ntimespan: 10s",
    "temporal_ordered, two of three": "type: temporal_ordered\nrules: [a, b, c]\ngroup-by: [g]\ntimespan: 10s\ncondition: {gte: 2}",
    "an expression": "type: temporal\nrules: [a, b, c]\ngroup-by: [g]\ntimespan: 10s\ncondition: a and (b or c)",
}
INNER = correlation("type: event_count\nrules: [a]\ngroup-by: [g, v]\ntimespan: 5s\ncondition: {gte: 2}", name="inner")
BODIES_AROUND = {
    "event_count": "type: event_count\nrules: [inner]\ngroup-by: [g]\ntimespan: 20s\ncondition: {gte: 2}",
    "value_count": "type: value_count\nrules: [inner]\ngroup-by: [g]\ntimespan: 20s\ncondition: {field: v, gte: 2}",
    "temporal": "type: temporal\nrules: [inner, b]\ngroup-by: [g]\ntimespan: 20s",
}
MATCHERS = {name: compiled(base("a", "b", "c"), correlation(body)) for name, body in BODIES.items()} | {
    f"{name} around another": compiled(base("a", "b", "c"), correlation(body) + INNER) for name, body in BODIES_AROUND.items()
}
EVENTS = st.lists(
    st.builds(
        lambda at, kind, g, v: event(at, kind, g=g, v=v),
        st.integers(0, 60),
        st.sampled_from(["a", "b", "c", "a", "b"]),
        st.sampled_from(["x", "y"]),
        st.sampled_from(["1", "2", "3"]),
    ),
    max_size=24,
)
HOUR_US = 3_600 * SECOND


@pytest.mark.parametrize("name", MATCHERS)
@given(events=EVENTS, rng=st.randoms(use_true_random=False))
@laws.examples(30)
def test_hits_are_those_of_the_definition_in_any_order(name, events, rng):
    matcher, order = MATCHERS[name], list(range(len(events)))
    rng.shuffle(order)
    expected = defined(matcher, events)
    in_order = sorted(order, key=lambda n: events[n][0])
    assert seen(play(matcher, events, correlator(matcher, lateness_us=HOUR_US), in_order)) == expected
    assert seen(play(matcher, events, correlator(matcher, lateness_us=HOUR_US), order)) == expected


@pytest.mark.parametrize("name", MATCHERS)
@given(events=EVENTS, rng=st.randoms(use_true_random=False))
@laws.examples(20)
def test_events_late_by_no_more_than_is_allowed_complete_windows(name, events, rng):
    """Nothing older is kept, and nothing younger is missing."""
    lateness_s = 7
    matcher = MATCHERS[name]
    order = sorted(range(len(events)), key=lambda n: events[n][0] + rng.uniform(0, lateness_s))
    engine = correlator(matcher, lateness_us=lateness_s * SECOND)
    for number in order:
        observe(matcher, engine, number, *events[number])
        engine.expire()
    expected = defined(matcher, events)
    assert seen(play(matcher, events, correlator(matcher, lateness_us=lateness_s * SECOND), order)) == expected


def whole(engine):
    return list(encode_snapshot(engine))


def copy_of(matcher, parts, **more):
    engine = correlator(matcher, **more)
    for part in parts:
        restore_part(engine, part)
    return engine


@pytest.mark.parametrize("name", MATCHERS)
@given(events=EVENTS, cut=st.integers(0, 24), step=st.integers(1, 5))
@laws.examples(20)
def test_a_snapshot_and_the_deltas_since_give_the_state_as_it_is(name, events, cut, step):
    matcher = MATCHERS[name]
    live = correlator(matcher, lateness_us=HOUR_US)
    first, rest = events[:cut], list(enumerate(events))[cut:]
    play(matcher, first, live)
    stored = copy_of(matcher, whole(live), lateness_us=HOUR_US)
    for start in range(0, len(rest), step):
        changes = []
        live.record(changes)
        for number, (at, document) in rest[start : start + step]:
            observe(matcher, live, number, at, document)
        live.record(None)
        apply_delta(stored, encode_delta(live, changes))
    assert whole(stored) == whole(live)
    again = copy_of(matcher, whole(live), lateness_us=HOUR_US)
    more = [(at + 3, document) for at, document in events]
    assert seen(play(matcher, more, live)) == seen(play(matcher, more, again))


def hot(limits, events=400, lateness_us=0):
    matcher = compiled(
        base("a"), correlation("type: event_count\nrules: [a]\ngroup-by: [g]\ntimespan: 1h\ncondition: {gte: 5}")
    )
    engine = Correlator(matcher.correlations.rules, limits=limits, lateness_us=lateness_us)
    return matcher, engine


def test_a_hot_group_keeps_its_newest_events_and_says_so():
    matcher, engine = hot(CorrelationLimits(most_group_items=20))
    hits = play(matcher, [event(20 * n, "a", g="x") for n in range(400)], engine)
    assert len(engine.groups[(0, ("x",))].items) == engine.items == 20
    assert engine.forgotten == 380
    assert [hit.is_partial for hit in hits] == [False, True, True]


def test_groups_are_bounded_and_the_longest_unseen_go_first():
    matcher, engine = hot(CorrelationLimits(most_groups=10))
    play(matcher, [event(n, "a", g=f"g{n % 30}") for n in range(300)], engine)
    assert len(engine.groups) <= 10
    assert (0, ("g29",)) in engine.groups
    assert engine.forgotten > 0


def test_all_items_together_are_bounded():
    matcher, engine = hot(CorrelationLimits(most_items=50))
    play(matcher, [event(n, "a", g=f"g{n % 7}") for n in range(500)], engine)
    assert engine.items <= 50
    assert engine.items == sum(len(group.items) for group in engine.groups.values())


def test_state_grows_with_live_groups_and_not_with_events():
    matcher, engine = hot(CorrelationLimits())
    for day in range(5):
        play(matcher, [event(day * 86_400 + n, "a", g=f"d{day}") for n in range(100)], engine)
        engine.expire()
        assert list(engine.groups) == [(0, (f"d{day}",))]
        assert engine.items == 100
    assert engine.forgotten == 0


def test_long_values_are_told_apart_and_cut():
    matcher, engine = hot(CorrelationLimits())
    play(matcher, [event(n, "a", g="x" * 5000 + str(n % 2)) for n in range(4)], engine)
    assert len(engine.groups) == 2
    assert all(len(values[0]) < 300 for _, values in engine.groups)


def test_an_event_belongs_to_each_of_several_values_up_to_a_limit():
    matcher, engine = hot(CorrelationLimits(most_keys=4))
    play(matcher, [event(0, "a", g=[f"h{n}" for n in range(9)])], engine)
    assert sorted(values for _, values in engine.groups) == [(f"h{n}",) for n in range(4)]


@pytest.mark.heavy
def test_a_large_group_is_stored_in_parts():
    matcher, engine = hot(CorrelationLimits())
    play(matcher, [event(n / 10, "a", g="x") for n in range(9_000)], engine)
    parts = whole(engine)
    assert len(parts) == 3
    assert max(map(len, parts)) < 500_000
    assert whole(copy_of(matcher, parts)) == parts


def test_state_of_a_rule_that_counts_otherwise_now_is_dropped():
    matcher, engine = hot(CorrelationLimits())
    play(matcher, [event(0, "a", g="x")], engine)
    other = compiled(base("a"), correlation("type: event_count\nrules: [a]\ngroup-by: [g]\ntimespan: 2h\ncondition: {gte: 5}"))
    assert definition_of(other.correlations.rules[0]) != definition_of(matcher.correlations.rules[0])
    assert not copy_of(other, whole(engine)).groups


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x95\x09\x90\x00\x00\x90", b"not msgpack"])
def test_state_that_is_not_readable_is_refused(content):
    matcher, _ = hot(CorrelationLimits())
    with pytest.raises(ValueError, match="state of correlations"):
        restore_part(correlator(matcher), content)
    with pytest.raises(ValueError, match="state of correlations"):
        apply_delta(correlator(matcher), content)
