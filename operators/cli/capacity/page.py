"""A capacity plan as a document: sizes with their formulas, the simulation, what bites first, and p99 over the load."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import msgspec

from lifecycle.documents.charts import Chart, Line
from lifecycle.documents.document import Document, Grid, Section
from operators.capacity.assumptions import CapacityAssumptions, CapacityPlatform
from operators.capacity.demand import CapacityDemand
from operators.capacity.figures import PlanFigures
from operators.capacity.limits import LimitUse, bites
from operators.capacity.plan import CapacityPlan, PlannedFigure
from operators.capacity.simulation.sizing import SizedPlan
from operators.capacity.waiting import quantile_s

_TITLES = {
    "peak": "Demand", "serving": "Replicas and Ray nodes", "redis": "Redis", "stream": "Stream workers", "kafka": "Kafka",
    "audit": "Prediction log", "batch": "Batch", "network": "Network", "operator": "Operator", "all": "All", "cost": "Cost",
}  # fmt: skip


def capacity_page(
    sized: SizedPlan, figures: PlanFigures, assumptions: CapacityAssumptions, factors: Sequence[float]
) -> Document:
    """The document. factors: of the events, for what bites first."""
    plan = sized.plan
    demand = plan.demand
    scales = bites_of(demand, figures, assumptions.platform, factors, plan.steps)
    return Document(
        f"Capacity for {demand.events_per_day:,.0f} events a day, p99 {demand.p99_s * 1000:g} ms",
        "A plan from measured figures. Low and high are the same plan with the lower and the upper bounds of all of them.",
        (_where(figures), *_sizes(plan), _simulated(sized), bites_section(scales), _load(plan, figures)),
        _record(sized, figures, assumptions, scales),
    )


def amount(value: float) -> str:
    """A size for people: whole pieces as such, else three digits.

    >>> amount(24.0), amount(0.93567), amount(1234567.8), amount(math.inf)
    ('24', '0.936', '1,234,568', 'no bound')
    """
    if math.isinf(value):
        return "no bound"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _where(figures: PlanFigures) -> Section:
    place = figures.measured
    words = f"{place.processor}, {place.cores} cores, load {place.load:g} before the start"
    facts = (("measured on", words), ("at", place.at), ("commit", place.commit))
    warning = ("These figures are of a quick run, which shows that it works: order nothing by them.",) if place.is_quick else ()
    return Section("Figures", facts=facts, text=(*warning, *((place.note,) if place.note else ())))


def _sizes(plan: CapacityPlan) -> list[Section]:
    columns = ("figure", "plan", "low", "high", "unit", "formula")
    found = []
    for group, lines in groupby(plan.lines, lambda line: line.name.split("/")[0]):
        rows = tuple(_cells(line) for line in lines)
        found.append(Section(_TITLES[group], grid=Grid(columns, rows, ("plan", "low", "high"))))
    return found


def _cells(line: PlannedFigure) -> tuple[str, ...]:
    name = line.name.partition("/")[2]
    return (name, amount(line.value), amount(line.low), amount(line.high), line.unit, line.formula)


def _simulated(sized: SizedPlan) -> Section:
    outcomes = sized.outcomes
    columns = ("scenario", "requests", "p50 ms", "p99 ms", "worst p99 ms", "refused", "lost", "degraded", "recovery s", "held")
    rows = tuple(
        (
            one.scenario.name, f"{one.requests:,}", f"{one.p50_s * 1000:.2f}", f"{one.p99_s * 1000:.2f}", f"{one.worst_p99_s * 1000:.1f}",
            f"{one.refused:.2%}", f"{one.lost:.2%}", f"{one.degraded:.2%}",
            "never" if one.recovery_s is None else f"{one.recovery_s:g}", one.broke or "yes",
        )
        for one in outcomes
    )  # fmt: skip
    text: tuple[str, ...] = ()
    if outcomes:
        text = (
            f"{outcomes[0].replicas} replicas with {outcomes[0].share:.1%} of the load stand for the plan; worst p99: of half a second.",
            *sizing_words(sized),
        )
    return Section("Carried out in a simulation", text=text, grid=Grid(columns, rows, columns[1:9]), empty="not simulated")


def sizing_words(sized: SizedPlan) -> tuple[str, ...]:
    """Which scenario decided on the number of replicas, and whether more of them help."""
    if sized.hopeless:
        return (f"{sized.hopeless[0].upper()}{sized.hopeless[1:]}.",)
    if not sized.decided:
        return (f"The {sized.computed} replicas that the queue asks for are enough.",)
    more = f"The queue asks for {sized.computed} replicas, the simulation for {sized.plan.sizes.serving.replicas}"
    return (f"{more}: with fewer breaks {sized.decided}.",)


def bites_of(
    demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, factors: Sequence[float], steps: int = 0
) -> list[tuple[float, Sequence[LimitUse]]]:
    """Every resource at each factor of the events."""
    return [(factor, bites(demand, figures, platform, factor, steps)) for factor in factors]


def bites_section(scales: Sequence[tuple[float, Sequence[LimitUse]]]) -> Section:
    """What bites at each factor: every resource over its limit, in the order in which it is reached, and then the next one."""
    rows = []
    for factor, found in scales:
        over = sorted((b for b in found if b.used > 1), key=lambda b: b.reached_at)
        for bite in (*over, *[b for b in found if b.used <= 1][:1]):
            one = bite.resource
            reached = "never" if bite.reached_at == float("inf") else f"{bite.reached_at:.2g}"
            change = one.change if bite.used > 1 else f"nothing yet; then {one.change}"
            rows.append(
                (f"{factor:g}x", one.name, f"{bite.used:.0%}", f"{one.limit:,g} {one.unit}", reached, change, one.source)
            )
    columns = ("events", "resource", "used", "limit", "reached at events a day", "change", "limit's source")
    return Section("What bites first", grid=Grid(columns, tuple(rows), ("used",)))


def _load(plan: CapacityPlan, figures: PlanFigures) -> Section:
    """p99 of one replica over its rate, with its bounds and the plan's points."""
    demand, placed = plan.demand, plan.sizes.serving
    door = figures.door(demand.door)
    rates = [placed.rate * share / 20 for share in range(1, 25)]

    def p99_ms(rate: float, bound: Any) -> float | None:
        found = quantile_s(door.replica(bound), rate)
        return found * 1000 if found < 10 * demand.p99_s else None

    values = [p99_ms(rate, "value") for rate in rates]
    line = Line(
        "p99", rates, values, low=[p99_ms(r, "low") for r in rates], high=[p99_ms(r, "high") for r in rates], is_band=True
    )
    lines = [line, Line("asked for", [rates[0], rates[-1]], [demand.p99_s * 1000] * 2, is_dashed=True)]
    if placed.replicas:
        at_peak = demand.door_rate / placed.replicas
        points = [at_peak, at_peak * demand.zones / (demand.zones - 1)] if demand.zones > 1 else [at_peak]
        names = ["at the planned peak", "a zone lost"][: len(points)]
        lines.append(Line("the plan", points, [p99_ms(r, "value") for r in points], text=names, is_points=True))
    about = f"p99 of one replica at {demand.door} over its requests a second, with bounds, and the plan's points"
    return Section("p99 over the load of a replica", charts=(Chart(about, "requests a second", "p99, ms", tuple(lines)),))


def _record(
    sized: SizedPlan,
    figures: PlanFigures,
    assumptions: CapacityAssumptions,
    scales: Sequence[tuple[float, Sequence[LimitUse]]],
) -> dict[str, Any]:
    plan, outcomes = sized.plan, sized.outcomes
    simulated = [
        {
            "scenario": one.scenario.name, "replicas": one.replicas, "share": one.share, "requests": one.requests, "p50_s": one.p50_s,
            "p99_s": one.p99_s, "worst_p99_s": one.worst_p99_s, "refused": one.refused, "lost": one.lost, "degraded": one.degraded,
            "recovery_s": one.recovery_s, "is_held": one.is_held, "broke": one.broke,
        }
        for one in outcomes
    ]  # fmt: skip
    return {
        "demand": asdict(plan.demand),
        "measured": msgspec.to_builtins(figures.measured),
        "assumptions": msgspec.to_builtins(assumptions),
        "plan": [{**asdict(line), "high": None if math.isinf(line.high) else line.high} for line in plan.lines],
        "simulated": simulated,
        "sizing": {"computed_replicas": sized.computed, "decided": sized.decided, "hopeless": sized.hopeless, "is_held": sized.is_held},
        "bites": [
            {
                "factor": factor, "resource": b.resource.name, "used": b.used, "limit": b.resource.limit, "unit": b.resource.unit,
                "reached_at_events_per_day": None if b.reached_at == float("inf") else b.reached_at, "change": b.resource.change,
            }
            for factor, found in scales
            for b in found
        ],
    }  # fmt: skip
