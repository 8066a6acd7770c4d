"""What holds for any load, any rollout and any sequence of looks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.autoscaling.decide import decide
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import ScalingFacts, ScalingState
from operators.ports import Load
from tests import laws

START = datetime(2026, 3, 2, 7, 50, tzinfo=UTC)
SPECS = st.builds(
    lambda low, high, up, down, rest: ScalingSpec.model_validate(
        {
            **rest,
            "minReplicas": min(low, high),
            "maxReplicas": max(low, high, 1),
            "upLimit": {"replicas": up, "percent": 0, "per": "30s"},
            "downLimit": {"replicas": down, "percent": 0, "per": "30s"},
        }
    ),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(1, 4),
    st.integers(1, 4),
    st.fixed_dictionaries(
        {
            "downWindow": st.sampled_from(["0s", "20s", "5m"]),
            "upWindow": st.sampled_from(["0s", "20s"]),
            "latencyObjective": st.sampled_from([None, "50ms"]),
            "streamLag": st.sampled_from([None, 50]),
            "idle": st.sampled_from(["0s", "1m"]),
            "schedule": st.sampled_from([(), ({"name": "day", "start": "0 8 * * *", "duration": "10m", "minReplicas": 5},)]),
        }
    ),
)
LOOKS = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.one_of(
            st.none(),
            st.tuples(
                st.floats(0, 200), st.one_of(st.none(), st.floats(0, 500)), st.one_of(st.none(), st.floats(0, 1e4)), st.integers(0, 9)
            ),
        ),
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip
FACTS = st.builds(
    ScalingFacts,
    is_rolling_out=st.booleans(),
    mirror_ratio=st.floats(0, 1),
    weight_ratio=st.floats(0, 1),
    cost_ratio=st.floats(0.1, 5),
    rollout_min=st.one_of(st.none(), st.integers(0, 12)),
    shares_replicas=st.booleans(),
    can_sleep=st.booleans(),
)


def told(spec, looks, facts):
    """(look, decision before, decision, moment) for each look; the backend does what it was told."""
    state, moment, count = None, START, 3
    before = None
    for wait, seen in looks:
        moment += timedelta(seconds=wait)
        load = Load(at=moment, ready_replicas=count, wanted_replicas=count, problem="no answer") if seen is None else Load(
            at=moment, ongoing=seen[0], p99_ms=seen[1], stream_lag=seen[2], ready_replicas=min(seen[3], count), wanted_replicas=count
        )  # fmt: skip
        decision = decide(spec, state, load, facts, moment)
        again = decide(spec, decision.state, load, facts, moment)
        yield load, before, decision, again, count
        state, before, count = decision.state, decision, decision.replicas


@pytest.mark.heavy
@laws.examples(100)
@given(SPECS, LOOKS, FACTS)
def test_deciding_twice_is_deciding_once(spec, looks, facts):
    for _, _, decision, again, _ in told(spec, looks, facts):
        assert again == decision


@laws.examples(100)
@given(SPECS, LOOKS, FACTS)
def test_what_is_known_stays_within_bounds_and_what_is_not_takes_nothing_away(spec, looks, facts):
    for load, _, decision, _, count in told(spec, looks, facts):
        if load.problem is None:
            assert decision.lower <= decision.replicas <= decision.upper
        else:
            assert decision.replicas >= count
        assert decision.replicas >= (0 if facts.can_sleep and not facts.is_rolling_out else 1)
        if facts.rollout_min is not None:
            assert decision.replicas >= min(facts.rollout_min, decision.upper)


@laws.examples(100)
@given(SPECS, LOOKS)
def test_a_look_never_moves_further_than_its_limit_but_for_the_bounds(spec, looks):
    for load, before, decision, _, count in told(spec, looks, None):
        if before is None or load.problem is not None:
            continue
        assert decision.replicas <= max(count + spec.up_limit.replicas, decision.lower)
        assert decision.replicas >= min(count - spec.down_limit.replicas, decision.upper)


@laws.examples(60)
@given(SPECS, LOOKS, FACTS)
def test_memory_survives_json_and_is_bounded(spec, looks, facts):
    for _, _, decision, _, _ in told(spec, looks, facts):
        assert ScalingState.model_validate_json(decision.state.model_dump_json(by_alias=True)) == decision.state
        assert len(decision.state.looks) <= 64
        assert len(decision.state.peaks) <= 1 + max(spec.max_replicas, decision.upper) + 3


@laws.examples(60)
@given(SPECS, st.floats(0, 200), FACTS)
def test_a_rollout_never_asks_for_fewer(spec, ongoing, facts):
    load = Load(at=START, ongoing=ongoing, ready_replicas=3, wanted_replicas=3)
    without = ScalingFacts(can_sleep=facts.can_sleep, shares_replicas=facts.shares_replicas)
    assert decide(spec, None, load, facts, START).replicas >= decide(spec, None, load, without, START).replicas
