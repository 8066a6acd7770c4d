import math
from dataclasses import replace

import numpy as np
import pytest

from operators.capacity.assumptions import default_assumptions
from operators.capacity.demand import CapacityDemand
from operators.capacity.plan import CapacityPlan, plan
from operators.capacity.simulation.run import simulate_plan
from operators.capacity.simulation.scenarios import SimScenario, day, scenarios
from operators.capacity.simulation.sim_replica import RefusalLimits, SimReplica
from operators.capacity.waiting import ReplicaWork, quantile_s
from tests.unit.operators.capacity.figures_of import door, plan_figures

pytestmark = pytest.mark.heavy

FIGURES = plan_figures(doors={"http/features": door(2e-3)})
"""Slow requests, so that few are simulated."""
DEMAND = CapacityDemand(5e8, 0.06)
REQUESTS = 20_000


def _gaps(rate: float) -> list[float]:
    return np.random.default_rng(3).exponential(1 / rate, REQUESTS).tolist()


def queue_latencies(work: ReplicaWork, gaps: list[float], *, slots: int = 1) -> "np.ndarray":
    """Latencies of requests at one replica. gaps: between arrivals, in seconds."""
    replica, now, found = SimReplica(work, np.random.default_rng(1), slots=slots), 0.0, []
    for gap in gaps:
        now += gap
        done = replica.take(now)
        assert done is not None
        found.append(done - now)
    return np.asarray(found)


def test_exponential_services_take_as_long_as_in_the_closed_form():
    """M/M/1: the latency is exponential with rate mu - lambda."""
    found = queue_latencies(ReplicaWork(0.001, 1.0), _gaps(500))
    assert found.mean() == pytest.approx(1 / 500, rel=0.05)
    assert np.quantile(found, 0.99) == pytest.approx(math.log(100) / 500, rel=0.08)


def test_equal_services_wait_as_long_as_in_the_closed_form():
    """M/D/1: the mean wait is rho / (2 mu (1 - rho))."""
    found = queue_latencies(ReplicaWork(0.001, 0.0), _gaps(600))
    assert found.mean() == pytest.approx(0.001 + 0.6 / (2 * 1000 * 0.4), rel=0.05)


def test_several_servers_wait_as_long_as_in_the_closed_form():
    """M/M/4: the mean wait is C(4, a) / (4 mu - lambda), with Erlang's C."""
    rate, slots = 3000.0, 4
    load = rate * 0.001
    blocked = load**slots / math.factorial(slots) * slots / (slots - load)
    waits = blocked / (sum(load**k / math.factorial(k) for k in range(slots)) + blocked)
    found = queue_latencies(ReplicaWork(0.001, 1.0), _gaps(rate), slots=slots)
    assert found.mean() == pytest.approx(0.001 + waits / (slots * 1000 - rate), rel=0.06)


def test_the_queue_that_plans_are_made_of_is_the_one_that_is_simulated():
    work = ReplicaWork(200e-6, 0.25)
    found = queue_latencies(work, _gaps(3500))
    assert np.quantile(found, 0.99) == pytest.approx(quantile_s(work, 3500), rel=0.1)


def test_a_pause_puts_off_the_request_that_is_being_served():
    """Work of a second with pauses for half of the time takes two: the mean of a delay busy period (Kleinrock 1975, 5.8)."""
    rng = np.random.default_rng(1)
    took = [SimReplica(ReplicaWork(1.0, 0.0, 0.0, 10.0, 0.05), rng).take(0.0) for _ in range(400)]
    assert np.mean([done for done in took if done is not None]) == pytest.approx(2.0, rel=0.1)


def test_a_burst_is_worked_off_and_lasting_overload_is_refused():
    limits = RefusalLimits(max_wait_s=0.015, strained_s=0.1, always=32)
    replica = SimReplica(ReplicaWork(0.001, 0.0), np.random.default_rng(1), limits=limits)
    assert all(replica.take(0.0) is not None for _ in range(200))
    lasting = SimReplica(ReplicaWork(0.001, 0.0), np.random.default_rng(1), limits=limits)
    taken = [lasting.take(at / 2000) for at in range(2000)]
    assert None not in taken[:200]
    assert taken.count(None) == pytest.approx(1000, abs=250)  # twice what it can answer comes
    assert max(done - at / 2000 for at, done in enumerate(taken) if done is not None) < 0.2


def test_beyond_the_requests_under_way_each_one_is_refused():
    replica = SimReplica(
        ReplicaWork(1.0, 0.0), np.random.default_rng(1), limits=RefusalLimits(strained_s=math.inf, max_ongoing=10)
    )
    assert [replica.take(0.0) is None for _ in range(12)] == [False] * 10 + [True] * 2


@pytest.fixture(scope="module")
def planned() -> CapacityPlan:
    return plan(DEMAND, FIGURES, default_assumptions())


@pytest.mark.parametrize("scenario", scenarios(2.0, 1.25, 9.0), ids=lambda s: s.name)
def test_a_plan_holds_what_it_is_made_for(planned: CapacityPlan, scenario: SimScenario):
    found = simulate_plan(planned, FIGURES, scenario, budget=6000)
    assert found.is_held, found.broke
    assert found.recovery_s is not None
    assert (found.lost > 0) == (scenario.fault in {"node", "zone"})
    assert (found.degraded > 0) == (scenario.fault == "shard")


@pytest.mark.parametrize("events", [1e6, 5e8])
def test_a_plan_of_one_zone_holds_without_a_node_and_is_asked_for_no_zone(events: float):
    chosen = {one.fault: one for one in scenarios(2.0, 1.25, 9.0, zones=1)}
    assert "zone" not in chosen
    demand = replace(DEMAND, events_per_day=events, zones=1)
    found = simulate_plan(plan(demand, FIGURES, default_assumptions()), FIGURES, chosen["node"], budget=3000)
    assert found.is_held, found.broke


def test_a_plan_without_requests_at_the_door_is_held_by_nobody():
    demand = replace(DEMAND, stream_share=1.0)
    found = simulate_plan(plan(demand, FIGURES, default_assumptions()), FIGURES, scenarios(2.0, 1.25, 9.0)[1])
    assert (found.is_held, found.lost, found.p99_s) == (True, 0.0, 0.0)


def test_a_plan_that_is_too_small_breaks_and_says_what_first(planned: CapacityPlan):
    found = simulate_plan(planned, FIGURES, SimScenario("too much", ((0.0, 3.0),), end_s=2.0), budget=3000)
    assert not found.is_held
    assert "p99" in found.broke or "refused" in found.broke


def test_a_run_repeats_itself_and_another_seed_differs(planned: CapacityPlan):
    scenario = SimScenario("peak", ((0.0, 1.0),), end_s=1.0)
    one, same, other = (simulate_plan(planned, FIGURES, scenario, seed=seed, budget=3000) for seed in (1, 1, 2))
    assert one == same
    assert one.p99_s != other.p99_s


@pytest.mark.parametrize("factor", [1.0, 2.0, 5.0])
def test_a_day_has_its_busiest_hour_with_a_burst_at_the_planned_peak(factor: float):
    found = day(factor, 1.25, 24.0)
    assert max(times for _, times in found.rates) <= 1.0 + 1e-9
    assert found.rate(0.0) == found.rates[0][1]
    assert day(1.0, 1.25, 24.0, [1.0] * 12 + [3.0] * 12).rate(13.0) == pytest.approx(0.8)


def test_a_node_is_lost_as_the_part_of_the_plan_that_it_is():
    """Of one zone with many nodes six replicas are simulated, and one of six is more than a node."""
    demand = replace(DEMAND, events_per_day=1e10, zones=1)
    planned = plan(demand, FIGURES, default_assumptions())
    chosen = {one.fault: one for one in scenarios(2.0, 1.25, 9.0, zones=1)}
    found = simulate_plan(planned, FIGURES, chosen["node"], budget=3000)
    assert planned.sizes.serving.nodes > 12
    assert found.lost == pytest.approx(2 / 9 / planned.sizes.serving.nodes, rel=0.4)


def test_of_zones_with_many_nodes_a_node_is_not_a_zone():
    demand = replace(DEMAND, events_per_day=1e10)
    planned = plan(demand, FIGURES, default_assumptions())
    chosen = {one.fault: one for one in scenarios(2.0, 1.25, 9.0)}
    node, zone = (simulate_plan(planned, FIGURES, chosen[fault], budget=3000).lost for fault in ("node", "zone"))
    assert planned.sizes.serving.nodes > 12
    assert 0 < node < zone / 3
