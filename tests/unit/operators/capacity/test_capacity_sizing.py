import random
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.capacity.assumptions import default_assumptions
from operators.capacity.demand import CapacityDemand
from operators.capacity.errors import CapacityError
from operators.capacity.plan import CapacityPlan, plan
from operators.capacity.simulation.run import SimOutcome, simulate_plan
from operators.capacity.simulation.scenarios import SimScenario, scenarios
from operators.capacity.simulation.sizing import MOST_STEPS, held_plan, sized_plan
from tests.unit.operators.capacity.figures_of import door, figure, plan_figures

ASSUMED = default_assumptions()
DEMAND = CapacityDemand(5e8, 0.3)
CHOSEN = scenarios(2.0, 1.25, 9.0)
REFUSING = plan_figures(
    doors={"http/features": msgspec.structs.replace(door(2e-3), pause_per_s=figure(0.5, 0.0), pause_s=figure(0.06, 0.0))}
)
"""By the queue, 99 of 100 requests are in time at 80 % of the loop; but after a long pause so many wait that the replica refuses."""
STALLING = plan_figures(
    doors={"http/features": msgspec.structs.replace(door(2e-3), pause_per_s=figure(0.2, 0.0), pause_s=figure(0.8, 0.0))}
)
"""Pauses that are long enough for refusals at any rate."""


@pytest.mark.heavy
def test_replicas_are_added_until_every_scenario_holds_and_the_plan_says_which_one_asked_for_them():
    found = sized_plan(DEMAND, REFUSING, ASSUMED, CHOSEN, budget=4000)
    assert found.is_held
    assert [one.scenario for one in found.outcomes] == list(CHOSEN)
    assert found.plan.sizes.serving.replicas > found.computed == plan(DEMAND, REFUSING, ASSUMED).sizes.serving.replicas
    assert found.decided.partition(":")[0] in {one.name for one in CHOSEN}
    assert "so that the simulation holds" in found.plan.line("serving/rate of a replica").formula


@pytest.mark.heavy
def test_where_replicas_do_not_help_the_plan_says_so_and_asks_for_none():
    found = sized_plan(replace(DEMAND, p99_s=4.0), STALLING, ASSUMED, CHOSEN[:5], budget=4000)
    assert not found.is_held
    assert "more replicas do not help" in found.hopeless
    assert found.plan.sizes.serving.replicas == found.computed


def _judged(planned: CapacityPlan, scenario: SimScenario, *, noise: int) -> SimOutcome:
    """A sample that knows nothing of events and p99, only of the rate: a fifth around what it should be, at random."""
    rate = planned.sizes.serving.rate
    p99_s = 0.02 + 3e-4 * rate * random.Random(f"{noise} {rate:.6g} {scenario.name}").uniform(0.8, 1.2)
    broke = f"p99 {p99_s * 1000:.1f} ms" if p99_s > planned.demand.p99_s else ""
    return SimOutcome(scenario, 3, 1.0, 1, 0.0, 0.0, 0.0, p99_s, p99_s, p99_s, 0.0, broke, ())


@pytest.mark.heavy
@given(st.floats(1e7, 1e10), st.floats(1, 10), st.floats(0.08, 0.2), st.floats(1, 2), st.integers(1, 4), st.integers(0, 9))
def test_more_events_or_a_tighter_p99_never_need_less_however_the_samples_fall(
    one: float, times: float, p99_s: float, tighter: float, zone_count: int, noise: int
):
    figures = plan_figures(doors={"http/features": door(2e-3)})
    plan_of, chosen = partial(plan, figures=figures, assumptions=ASSUMED), scenarios(2.0, 1.25, 9.0, zones=zone_count)
    small, more, tight = (
        held_plan(plan_of, CapacityDemand(events, p99, zones=zone_count), chosen, partial(_judged, noise=noise))
        for events, p99 in ((one, p99_s), (one * times, p99_s), (one, p99_s / tighter))
    )
    assert small.is_held
    assert more.plan.sizes.serving.replicas >= small.plan.sizes.serving.replicas
    assert tight.plan.sizes.serving.replicas >= small.plan.sizes.serving.replicas or tight.hopeless


@pytest.mark.heavy
def test_without_copies_of_redis_no_number_of_replicas_keeps_the_features():
    alone = msgspec.structs.replace(ASSUMED, platform=msgspec.structs.replace(ASSUMED.platform, redis_copies=0))
    figures = plan_figures(doors={"http/features": door(2e-3), "http": door(2e-3)})
    found = sized_plan(DEMAND, figures, alone, CHOSEN, budget=3000)
    assert not found.is_held
    assert "more replicas do not help: redis_copies is 0" in found.hopeless
    assert sized_plan(replace(DEMAND, door="http", stream_share=0.0), figures, alone, CHOSEN, budget=3000).is_held


def test_what_holds_at_no_step_in_reach_ends():
    def judge(planned: CapacityPlan, scenario: SimScenario) -> SimOutcome:
        is_last = planned.steps >= MOST_STEPS and planned.sizes.serving.replicas > 1000
        return SimOutcome(scenario, 3, 1.0, 1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.0, "" if is_last else "p99 100.0 ms", ())

    found = held_plan(partial(plan, figures=REFUSING, assumptions=ASSUMED), replace(DEMAND, events_per_day=1e6), CHOSEN, judge)
    assert "more replicas were not enough" in found.hopeless


def test_a_simulation_of_more_than_its_budget_is_refused_by_its_options():
    planned = plan(DEMAND, REFUSING, ASSUMED)
    with pytest.raises(CapacityError, match=r"--simulate-s 3600.*--budget 1000"):
        simulate_plan(planned, REFUSING, scenarios(2.0, 1.25, 3600.0)[1], budget=1000)


def test_a_replica_that_keeps_rows_is_simulated_with_its_store_and_sized_for_all_reads():
    figures = plan_figures(doors={"http/near": door(2e-3)})
    planned = plan(replace(DEMAND, door="http/near"), figures, ASSUMED)
    assert planned.sizes.store.shards >= 1
    assert simulate_plan(planned, figures, CHOSEN[-1], budget=4000).degraded > 0
