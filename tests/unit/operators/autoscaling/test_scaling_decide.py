"""How many replicas, and why: the rules of scaling, each on one look or a few."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.autoscaling.decide import decide
from operators.autoscaling.demand import forecast
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import LoadSample, ScalingFacts, ScalingState
from operators.ports import Load

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
SPEC = ScalingSpec.model_validate({"maxReplicas": 10, "targetOngoingRequests": 8, "upLimit": {"replicas": 10, "percent": 0}})
WAITED = timedelta(minutes=30)


def load(ongoing=0.0, replicas=2, **more):
    return Load(at=NOW, ongoing=ongoing, ready_replicas=replicas, wanted_replicas=replicas, **more)


def at(look, moment):
    return Load(**{f: getattr(look, f) for f in Load.__dataclass_fields__ if f != "at"}, at=moment)


def spec(**changes):
    return ScalingSpec.model_validate({**SPEC.model_dump(by_alias=True), **changes})


def once(scaling, look, facts=None):
    return decide(scaling, None, look, facts, NOW)


def settled(scaling, look, facts=None, since=WAITED, every=timedelta(seconds=5)):
    """The decision after the same load was seen for a while."""
    state, moment = None, NOW - since
    while True:
        decision = decide(scaling, state, at(look, moment), facts, moment)
        if moment >= NOW:
            return decision
        state, moment = decision.state, min(moment + every, NOW)


WINDOW = {"name": "day", "start": "0 8 * * MON-FRI", "duration": "10h"}
UP = [
    pytest.param(SPEC, load(40), None, 5, id="as many as the requests under way ask for"),
    pytest.param(SPEC, load(17), None, 2, id="a load close to the target changes nothing"),
    pytest.param(SPEC, load(19), None, 3, id="a load over the tolerance does"),
    pytest.param(SPEC, load(4000), None, 10, id="never more than maxReplicas"),
    pytest.param(spec(minReplicas=3), load(0), None, 3, id="never fewer than minReplicas"),
    pytest.param(spec(streamLag=100), load(0, stream_lag=450), None, 5, id="events that wait ask for replicas"),
    pytest.param(SPEC, load(0, stream_lag=1e6), None, 2, id="a lag without a target does not count"),
    pytest.param(spec(latencyObjective="100ms"), load(16, p99_ms=180), None, 4, id="slow and busy asks for more"),
    pytest.param(spec(latencyObjective="100ms"), load(16, p99_ms=9000), None, 4, id="a latency asks for twice at most"),
    pytest.param(spec(latencyObjective="100ms"), load(2, p99_ms=900), None, 2, id="slow and idle does not: nothing to share out"),
    pytest.param(spec(schedule=[{**WINDOW, "minReplicas": 6}]), load(0), None, 6, id="an open window's minimum holds"),
    pytest.param(
        spec(schedule=[{**WINDOW, "start": "1 12 * * *", "minReplicas": 6}], startUp="60s"),
        load(0), None, 6, id="a window's minimum is there when it opens",
    ),
    pytest.param(
        spec(schedule=[{**WINDOW, "start": "1 12 * * *", "minReplicas": 6}], startUp="59s"),
        load(0), None, 2, id="and not long before",
    ),
    pytest.param(spec(schedule=[{**WINDOW, "maxReplicas": 3}]), load(80), None, 3, id="an open window's maximum holds"),
    pytest.param(
        spec(schedule=[{**WINDOW, "maxReplicas": 3}, {**WINDOW, "name": "patch-day", "minReplicas": 6}]),
        load(80), None, 6, id="a minimum wins over a maximum",
    ),
    pytest.param(SPEC, load(40), ScalingFacts(is_rolling_out=True, mirror_ratio=1.0), 10, id="mirroring all is twice the work"),
    pytest.param(
        SPEC, load(40), ScalingFacts(is_rolling_out=True, mirror_ratio=0.5, cost_ratio=0.4), 6, id="a mirror costs its share times its cost"
    ),
    pytest.param(
        SPEC, load(32), ScalingFacts(is_rolling_out=True, weight_ratio=0.5, cost_ratio=2.0), 6, id="a dearer candidate is planned for"
    ),
    pytest.param(
        SPEC, load(32), ScalingFacts(is_rolling_out=True, weight_ratio=0.5, cost_ratio=0.1), 4, id="a cheaper one saves nothing yet"
    ),
    pytest.param(SPEC, load(32, mirror_ratio=1.0), None, 8, id="a mirror that is seen counts as one that is planned"),
    pytest.param(SPEC, load(0), ScalingFacts(is_rolling_out=True, rollout_min=4), 4, id="setReplicas is a lower bound"),
    pytest.param(SPEC, load(48), ScalingFacts(is_rolling_out=True, rollout_min=4), 6, id="and no upper one"),
    pytest.param(SPEC, load(0), ScalingFacts(is_rolling_out=True, rollout_min=40), 10, id="and stays below maxReplicas"),
    pytest.param(SPEC, load(0, replicas=0), None, 1, id="a service has a replica"),
    pytest.param(SPEC, load(40), ScalingFacts(most=3), 3, id="no more than the backend can hold"),
    pytest.param(spec(minReplicas=5), load(0), ScalingFacts(most=3), 3, id="also where the spec asks for more"),
]  # fmt: skip


@pytest.mark.parametrize(("scaling", "look", "facts", "expected"), UP)
def test_replicas_at_the_first_look(scaling, look, facts, expected):
    decision = once(scaling, look, facts)
    assert decision.replicas == expected, decision.reason
    assert decision.lower <= decision.replicas <= decision.upper


@pytest.mark.parametrize(("scaling", "look", "facts", "expected"), UP)
def test_deciding_twice_is_deciding_once(scaling, look, facts, expected):
    first = once(scaling, look, facts)
    assert decide(scaling, first.state, look, facts, NOW) == first


DOWN = spec(downLimit={"replicas": 10, "percent": 100})


@pytest.mark.parametrize(
    ("scaling", "look", "since", "expected"),
    [
        pytest.param(DOWN, load(8, 6), timedelta(minutes=6), 1, id="too many go after the window"),
        pytest.param(DOWN, load(8, 6), timedelta(minutes=4), 6, id="and not before"),
        pytest.param(DOWN, load(8, 6), timedelta(0), 6, id="a restart sheds nothing"),
        pytest.param(spec(downWindow="0s"), load(8, 6), timedelta(seconds=5), 5, id="one by one, if the limit says so"),
        pytest.param(
            spec(downWindow="10s", latencyObjective="100ms"), load(26, 6, p99_ms=85), WAITED, 6, id="close to the objective nobody leaves"
        ),
        pytest.param(spec(downWindow="10s", latencyObjective="100ms"), load(26, 6, p99_ms=50), WAITED, 4, id="far from it they may"),
    ],
)  # fmt: skip
def test_going_down(scaling, look, since, expected):
    decision = settled(scaling, look, since=since)
    assert decision.replicas == expected, decision.reason


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(load(0, 6, problem="no replica answered"), id="a load that could not be measured"),
        pytest.param(at(load(0, 6), NOW - timedelta(minutes=2)), id="a load of long ago"),
    ],
)
@pytest.mark.parametrize("scaling", [DOWN, spec(downWindow="0s", minReplicas=0), spec(maxReplicas=3)])
def test_what_is_not_known_takes_nothing_away(scaling, look):
    state = None
    for minute in range(60):
        moment = NOW + timedelta(minutes=minute)
        seen = look if look.problem is None else at(look, moment)
        decision = decide(scaling, state, seen, ScalingFacts(can_sleep=True), moment)
        assert decision.replicas == 6, decision.reason
        state = decision.state


def test_what_is_not_known_still_keeps_the_least():
    scaling = spec(schedule=[{**WINDOW, "minReplicas": 6}])
    assert once(scaling, load(0, 2, problem="no replica answered")).replicas == 6


def test_after_silence_the_window_begins_anew():
    blind = decide(DOWN, settled(DOWN, load(48, 6)).state, load(0, 6, problem="gone"), None, NOW + timedelta(minutes=20))
    seen = NOW + timedelta(minutes=21)
    assert decide(DOWN, blind.state, at(load(0, 6), seen), None, seen).replicas == 6


def test_one_high_look_keeps_its_replicas_for_a_window():
    state = settled(DOWN, load(48, 6)).state
    counts = []
    for second in range(5, 330, 5):
        moment = NOW + timedelta(seconds=second)
        decision = decide(DOWN, state, at(load(8, 6), moment), None, moment)
        counts.append(decision.replicas)
        state = decision.state
    assert counts[0] == 6
    assert counts[-1] == 1
    assert max(5 * i for i, c in enumerate(counts, 1) if c == 6) == 295  # the last moment within five minutes of the high look


def test_up_window_waits_for_a_load_that_stays():
    scaling = spec(upWindow="30s", lookBack="5s")
    state = settled(scaling, load(8, 1)).state
    moved = None
    for second in range(5, 60, 5):
        moment = NOW + timedelta(seconds=second)
        decision = decide(scaling, state, at(load(40, 1), moment), None, moment)
        moved = moved or (second if decision.replicas > 1 else None)
        state = decision.state
    assert moved == 30


def test_up_limit_holds_in_every_stretch():
    scaling = spec(upLimit={"replicas": 2, "percent": 0, "per": "60s"}, minReplicas=1)
    state, counts = None, []
    for second in range(0, 181, 5):
        moment = NOW + timedelta(seconds=second)
        decision = decide(scaling, state, at(load(800, 1), moment), None, moment)
        counts.append(decision.replicas)
        state = decision.state
    assert counts[0] == 3
    stretches = [counts[i + 11] - counts[i] for i in range(len(counts) - 11)]
    assert max(stretches) == 2
    assert counts[-1] == 9


def test_a_rising_load_is_followed_ahead_of_time():
    scaling = spec(lookBack="20s", startUp="20s")

    def after(slope):  # fmt: skip
        state = None
        for second in range(0, 21, 2):
            moment = NOW + timedelta(seconds=second)
            decision = decide(scaling, state, at(load(16 + slope * second, 2), moment), None, moment)
            state = decision.state
        return decision

    assert after(0).replicas == 2
    rising = after(1.0)
    assert rising.replicas >= 6, rising.reason  # 36 now, 56 in twenty seconds
    assert "rising" in rising.reason


def test_a_noisy_load_is_not_taken_for_a_rising_one():
    looks = [LoadSample(at=NOW + timedelta(seconds=2 * i), ongoing=n) for i, n in enumerate([12, 22, 9, 20, 15, 24, 11, 21])]
    assert forecast(looks, NOW + timedelta(seconds=14), ahead_s=60) == (pytest.approx(16.75), False)


SLEEPY = spec(minReplicas=0, downWindow="10s", idle="5m", downLimit={"replicas": 10, "percent": 100})


@pytest.mark.parametrize(
    ("facts", "since", "expected"),
    [
        pytest.param(ScalingFacts(can_sleep=True), timedelta(minutes=6), 0, id="idle for long: it sleeps"),
        pytest.param(ScalingFacts(can_sleep=True), timedelta(minutes=4), 1, id="idle for a while: the last one stays"),
        pytest.param(ScalingFacts(), WAITED, 1, id="a backend that cannot wake it up keeps one"),
        pytest.param(ScalingFacts(can_sleep=True, is_rolling_out=True), WAITED, 1, id="never in a rollout"),
    ],
)
def test_sleeping(facts, since, expected):
    assert settled(SLEEPY, load(0, 1), facts, since).replicas == expected


@pytest.mark.parametrize("busy", [{"rate_per_s": 0.1}, {"ongoing": 1.0}, {"queued": 1.0}])
def test_anything_asked_keeps_it_awake(busy):
    assert settled(SLEEPY, load(replicas=1, **busy), ScalingFacts(can_sleep=True)).replicas == 1


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        pytest.param(load(0, 0), 0, id="nothing wakes nobody"),
        pytest.param(load(1, 0), 1, id="a request does"),
        pytest.param(load(0, 0, queued=3.0), 1, id="a request that waits does"),
    ],
)
def test_waking_up(look, expected):
    asleep = settled(SLEEPY, load(0, 1), ScalingFacts(can_sleep=True)).state
    for state in (asleep, None):
        decision = decide(spec(minReplicas=0, upWindow="5m"), state, look, ScalingFacts(can_sleep=True), NOW + timedelta(seconds=5)) \
            if state else once(SLEEPY, look, ScalingFacts(can_sleep=True))  # fmt: skip
        assert decision.replicas == expected, decision.reason


def test_on_replicas_of_its_own_the_candidate_scales_too_and_stable_keeps_what_an_abort_needs():
    facts = ScalingFacts(is_rolling_out=True, weight_ratio=0.25, shares_replicas=False)
    decision = once(SPEC, load(64, 8), facts)
    assert (decision.replicas, decision.candidate) == (8, 2)
    mirrored = once(SPEC, load(64, 8), ScalingFacts(is_rolling_out=True, mirror_ratio=1.0, shares_replicas=False))
    assert (mirrored.replicas, mirrored.candidate) == (8, 8)
    assert once(SPEC, load(0, 1), facts).candidate == 1
    assert once(SPEC, load(64, 8), ScalingFacts(shares_replicas=False)).candidate is None


@pytest.mark.heavy
def test_memory_stays_small_at_rest():
    state = settled(SPEC, load(16, 2), since=timedelta(hours=2)).state
    assert len(state.peaks) == len(state.troughs) == len(state.counts) == 1
    assert len(state.looks) <= 4
    assert ScalingState.model_validate_json(state.model_dump_json(by_alias=True)) == state


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        pytest.param(once(SPEC, load(40)), "2 -> 5: 40 requests under way, 8 per replica", id="what was seen"),
        pytest.param(once(SPEC, load(400)), "at most 10 by the spec", id="the bound"),
        pytest.param(
            once(SPEC, load(0), ScalingFacts(rollout_min=4)), "at least 4 by the rollout's setReplicas", id="the rollout"
        ),
        pytest.param(once(SPEC, load(0, 6)), "1 would be enough, but 6 were wanted within the last 300 s", id="patience"),
        pytest.param(once(spec(upLimit={"replicas": 1, "percent": 0}), load(40)), "upLimit allows 3 of 5 now", id="pace"),
        pytest.param(
            once(SPEC, load(0, 6, problem="no answer")), "stays at 6: the load is not known (no answer)", id="blindness"
        ),
        pytest.param(once(spec(latencyObjective="1ms"), load(1, p99_ms=5)), "slow without being busy", id="a wrong remedy"),
    ],
)
def test_the_reason_says(decision, said):
    assert said in decision.reason


@pytest.mark.parametrize("ongoing", [float("nan"), float("inf")])
def test_a_load_that_is_no_number_is_not_known(ongoing):
    found = decide(SPEC, None, Load(NOW, ongoing=ongoing, ready_replicas=3, wanted_replicas=3), None, NOW)
    assert found.replicas == 3
    assert "not known" in found.reason
