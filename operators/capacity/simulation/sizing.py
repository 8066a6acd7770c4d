"""A plan that holds: replicas are added until the simulation keeps every scenario, or until it is plain that replicas do not help.

How many a plan needs is decided by a plan of its own kind that is used to the full: after the fault each replica has the rate that is
planned for one. This is simulated at steps of the rate, which depend on neither events nor p99, with the same seed. So more events or a
tighter p99 never need less, which would not be so if each demand were judged by its own sample. Then the plan itself is simulated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from operators.capacity.assumptions import CapacityAssumptions
from operators.capacity.demand import CapacityDemand
from operators.capacity.figures import PlanFigures
from operators.capacity.plan import CapacityPlan, plan
from operators.capacity.simulation.run import SimOutcome, simulate_plan
from operators.capacity.simulation.scenarios import SimScenario
from operators.capacity.waiting import STEP

MOST_STEPS: Final = 40
"""Of the rate of a replica, down from the computed one. Where a third of the rate does not help, less does not either."""
AGAIN: Final = 4
"""What breaks is simulated once more with so many times the requests before it is believed."""
_FULL_REPLICAS: Final = 600
_ORDER: Final = ("zone", "node", "none", "shard")
"""Scenarios by their fault, the hardest first."""

Judge = Callable[[CapacityPlan, SimScenario], SimOutcome]


@dataclass(frozen=True, slots=True)
class SizedPlan:
    """A plan and its simulation. computed: replicas by the queue alone. decided: the scenario that asked for more, and why; empty if none
    did. hopeless: why more replicas do not help; empty if the plan holds."""

    plan: CapacityPlan
    outcomes: tuple[SimOutcome, ...]
    computed: int
    decided: str = ""
    hopeless: str = ""

    @property
    def is_held(self) -> bool:
        """Whether every scenario is kept."""
        return not self.hopeless and all(one.is_held for one in self.outcomes)


def sized_plan(
    demand: CapacityDemand,
    figures: PlanFigures,
    assumptions: CapacityAssumptions,
    scenarios: Sequence[SimScenario],
    *,
    seed: int = 7,
    budget: int = 60_000,
    watch: Callable[[], None] = lambda: None,
) -> SizedPlan:
    """Plan, simulate, and add replicas as needed. watch: called after each simulated scenario. Raises CapacityError if there is no plan."""

    def judge(planned: CapacityPlan, scenario: SimScenario) -> SimOutcome:
        found = simulate_plan(planned, figures, scenario, seed=seed, budget=budget)
        if not found.is_held:
            found = simulate_plan(planned, figures, scenario, seed=seed + 1, budget=budget * AGAIN)
        watch()
        return found

    found = held_plan(partial(plan, figures=figures, assumptions=assumptions), demand, scenarios, judge)
    is_lost = any(one.fault == "shard" for one in scenarios) and found.plan.sizes.store.shards > 0
    if found.hopeless or not is_lost or assumptions.platform.redis_copies:
        return found
    words = (
        "redis_copies is 0, so the features of a lost primary (or of all in a lost zone) do not come back; set it to 1 or more"
    )
    return replace(found, hopeless=f"more replicas do not help: {words}")


def held_plan(
    plan_of: Callable[..., CapacityPlan], demand: CapacityDemand, scenarios: Sequence[SimScenario], judge: Judge
) -> SizedPlan:
    """The plan of the fewest steps that every scenario keeps. plan_of: by demand and steps."""
    computed = plan_of(demand)
    replicas, decided = computed.sizes.serving.replicas, ""
    if replicas == 0:
        return SizedPlan(computed, tuple(judge(computed, one) for one in scenarios), 0)
    for steps in range(MOST_STEPS + 1):
        broken = _first_broken(plan_of(_at_full(demand, plan_of, steps), steps=steps), scenarios, judge)
        outcomes: tuple[SimOutcome, ...] = ()
        if broken is None:
            sized = plan_of(demand, steps=steps)
            outcomes = tuple(judge(sized, one) for one in scenarios)
            broken = next((one for one in outcomes if not one.is_held), None)
            if broken is None:
                return SizedPlan(sized, outcomes, replicas, decided)
        if steps == 0:
            far = _first_broken(plan_of(_at_full(demand, plan_of, MOST_STEPS), steps=MOST_STEPS), scenarios, judge)
            if far is not None:
                outcomes = outcomes or tuple(judge(computed, one) for one in scenarios)
                words = f"with {STEP**-MOST_STEPS:.1f} times as many, {far.scenario.name} still breaks: {far.broke}"
                return SizedPlan(computed, outcomes, replicas, "", f"more replicas do not help: {words}")
        decided = f"{broken.scenario.name}: {broken.broke}"
    last = plan_of(demand, steps=MOST_STEPS)
    words = f"with {last.sizes.serving.replicas} in place of {replicas}, {decided}"
    return SizedPlan(last, outcomes, replicas, decided, f"more replicas were not enough: {words}")


def _first_broken(planned: CapacityPlan, scenarios: Sequence[SimScenario], judge: Judge) -> SimOutcome | None:
    """Of what loads a full plan most: a fault, and a burst."""
    hard = sorted((s for s in scenarios if s.fault in {"zone", "node"} or s.is_beyond), key=lambda s: _ORDER.index(s.fault))
    if any(s.fault == "zone" for s in hard):
        hard = [s for s in hard if s.fault != "node"]  # a node is a part of a zone
    return next((found for one in hard if not (found := judge(planned, one)).is_held), None)


def _at_full(demand: CapacityDemand, plan_of: Callable[..., CapacityPlan], steps: int) -> CapacityDemand:
    """A demand for which many replicas are needed to the last one."""
    share = demand.door_rate / demand.events_per_day
    rate = plan_of(demand, steps=steps).sizes.serving.rate
    needed = _FULL_REPLICAS * max(demand.zones - 1, 1) * (1 - 1e-9)
    events = needed * rate / share
    return replace(demand, events_per_day=events)
