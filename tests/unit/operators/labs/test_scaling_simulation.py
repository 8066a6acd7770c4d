"""The simulation: its queue obeys the laws of queues, its rivals are what they say, and ours earns its place beside them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from operators.labs.queueing import Machine, ReplicaQueue
from operators.labs.scaling_policies import EPOCH, PlainHpa, RayDefault, SecondSeen, VedettePolicy
from operators.labs.scaling_simulation import SPEC, WINDOW, policies, run
from operators.labs.scaling_traffic import SHIFT_AT_S, TRAFFIC


def seen(at_s, ongoing, wanted, ready=None):
    return SecondSeen(at_s, ongoing, lambda: None, wanted if ready is None else ready, wanted)


def queue(arrivals, service, *, replicas=1, **machine):
    return ReplicaQueue(Machine(**machine), np.full(arrivals, service), replicas)


def test_requests_wait_for_a_slot_and_no_longer():
    replicas = queue(6, 1.0, slots=2, objective_s=1.5)
    for _ in range(6):
        replicas.arrive(0.5)
    replicas.advance(0.6)
    assert replicas.ongoing() == 6
    replicas.advance(10.0)
    assert replicas.ongoing() == 0
    assert replicas.late == {0: 4}  # two at once, then two more, then two more
    assert replicas.violation_s() == 1


def test_a_replica_answers_after_its_start_and_is_paid_for_from_the_beginning():
    replicas = queue(100, 0.1, slots=1, start_up_s=20)
    replicas.scale(3)
    replicas.advance(19.9)
    assert replicas.ready == 1
    replicas.advance(20.1)
    assert replicas.ready == 3
    assert replicas.replica_s == pytest.approx(3 * 20.1)


def test_a_replica_that_goes_finishes_what_it_has():
    replicas = queue(4, 5.0, slots=2, replicas=2)
    for _ in range(4):
        replicas.arrive(0.0)
    replicas.scale(1)
    replicas.advance(4.9)
    assert replicas.ongoing() == 4
    replicas.advance(5.1)
    assert (replicas.ongoing(), replicas.ready) == (0, 1)
    replicas.scale(3)
    replicas.scale(2)
    replicas.advance(60)
    assert replicas.ready == 2, "one that starts is given up before one that serves"


@pytest.mark.heavy
def test_waiting_is_that_of_an_m_m_1_queue():
    """One slot, exponential services at 60 % load: of the time in the system exp(-(1 - rho) t / s) is longer than t."""
    rng, service_s, load, objective_s = np.random.default_rng(1), 0.1, 0.6, 0.5
    count = 200_000
    replicas = ReplicaQueue(Machine(slots=1, objective_s=objective_s), rng.exponential(service_s, count), 1)
    for at in np.cumsum(rng.exponential(service_s / load, count)).tolist():
        replicas.arrive(at)
    replicas.advance(at + 100)
    expected = math.exp(-(1 - load) * objective_s / service_s)
    assert sum(replicas.late.values()) / count == pytest.approx(expected, rel=0.05)


@pytest.mark.heavy
def test_traffic_is_poisson_at_its_rate_and_repeats():
    for traffic in TRAFFIC.values():
        rate, arrivals = traffic.arrivals(np.random.default_rng(3))
        again = traffic.arrivals(np.random.default_rng(3))[1]
        assert np.array_equal(arrivals, again)
        expected = sum(rate(t + 0.5) for t in range(int(traffic.length_s)))
        assert abs(len(arrivals) - expected) < 5 * math.sqrt(expected)
        assert max(rate(t / 2) for t in range(int(traffic.length_s * 2))) <= traffic.most


def test_the_shift_begins_when_its_window_opens():
    assert (EPOCH.hour, EPOCH.minute, SHIFT_AT_S) == (7, 30, 1800)
    assert WINDOW["start"] == "0 8 * * MON-FRI"


@pytest.mark.heavy
def test_the_default_policy_of_ray_is_the_one_ray_has():
    """Each decision of a long random run, next to Ray's own functions at their default configuration."""
    policies = pytest.importorskip("ray.serve.autoscaling_policy")
    config = pytest.importorskip("ray.serve.config").AutoscalingConfig(
        min_replicas=1, max_replicas=10, target_ongoing_requests=2.5
    )
    rng, state, wanted, load = np.random.default_rng(5), {}, 3, 8.0
    ours = RayDefault(2.5, 1, 10)
    moves = set()
    for second in range(1, 12_000):
        load = max(0.0, load + rng.normal(0, 1.5) - 0.02 * (load - 10))
        desired = policies._apply_scaling_factors(load / 2.5, wanted, config)
        desired = max(1, min(10, desired))
        theirs, state = policies._apply_delay_logic(desired, wanted, config, state, _now=float(second))
        assert ours.desired(load, wanted, wanted) == desired
        assert ours.delayed(desired, wanted, float(second)) == theirs
        moves.add((theirs > wanted) - (theirs < wanted))
        wanted = theirs
    assert moves == {-1, 0, 1}
    assert (config.look_back_period_s, config.upscale_delay_s, config.downscale_delay_s) == (30, 30, 600)
    assert config.get_upscaling_factor() == config.get_downscaling_factor() == 1


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        pytest.param([18.0], 8, id="ceil of the metric over the target"),
        pytest.param([10.9], 4, id="within ten percent nothing moves"),
        pytest.param([1000.0], 8, id="at most double or four more in one sync"),
        pytest.param([12.5, *[2.0] * 19], 5, id="down to the most of five minutes"),
        pytest.param([12.5, *[2.0] * 20], 1, id="and then down"),
    ],
)
def test_the_plain_hpa_is_the_one_of_kubernetes(loads, expected):
    hpa = PlainHpa(2.5, 1, 20)
    wanted, second = 4, 0
    for load in loads:
        for _ in range(15):
            second += 1
            wanted = hpa.replicas(seen(second, load, wanted))
    assert wanted == expected


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "length_s"), [("bursts", 2400), ("shift", 2400)])
def test_ours_misses_the_objective_for_fewer_seconds_than_the_others(name, length_s):
    traffic = replace(TRAFFIC[name], length_s=length_s)
    found = {policy: run(make(), traffic, 100, Machine(), SPEC) for policy, make in policies(SPEC, traffic).items()}
    ours = found["vedette"]
    for rival in ("Ray Serve default", "plain HPA"):
        assert ours.violation_s < found[rival].violation_s
    if name == "shift":
        planned = found["vedette (schedule)"]
        assert planned.violation_s < 0.5 * ours.violation_s


@pytest.mark.heavy
def test_a_run_repeats():
    short = replace(TRAFFIC["bursts"], length_s=300)
    first, second = (run(VedettePolicy(SPEC), short, 4, Machine(), SPEC) for _ in range(2))
    assert first == second
    assert run(VedettePolicy(SPEC), short, 5, Machine(), SPEC) != first
