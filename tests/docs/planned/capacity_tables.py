"""The generated parts of docs/reference/capacity.md: a plan of the figures that come along."""

from functools import cache

from operators.capacity.assumptions import DEFAULTS, default_assumptions
from operators.capacity.demand import CapacityDemand
from operators.capacity.figures import REFERENCE, MeasuredFigure, PlanFigures, parse_figures
from operators.capacity.plan import plan
from operators.cli.capacity.capacity import FACTORS
from operators.cli.capacity.page import amount, bites_of, bites_section

DEMAND = CapacityDemand(5e9, 0.01)


@cache
def figures() -> PlanFigures:
    return parse_figures(REFERENCE.read_bytes(), REFERENCE.name)


def bites_table() -> tuple[list[str], list[list[str]]]:
    grid = bites_section(bites_of(DEMAND, figures(), default_assumptions().platform, FACTORS)).grid
    assert grid is not None
    return [c.capitalize() for c in grid.columns], [list(row) for row in grid.rows]


def plan_table() -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            line.name,
            amount(line.value),
            f"{amount(line.low)} to {amount(line.high)}",
            line.unit,
            line.formula,
            ", ".join(line.inputs),
        ]
        for line in plan(DEMAND, figures(), default_assumptions()).lines
    ]
    return ["Figure", "Plan", "Low to high", "Unit", "Formula", "From"], rows


def measured_table() -> tuple[list[str], list[list[str]]]:
    found, place = figures(), figures().measured
    rows = [
        [
            "measured",
            f"{place.processor}, {place.cores} cores, {place.memory_gb:g} GB",
            f"{place.at[:10]}, `{place.commit}`, load {place.load:g}",
        ]
    ]
    groups = {**{f"doors.{name}": work for name, work in found.doors.items()}, "redis": found.redis, "stream": found.stream}
    groups |= {"record": found.record}
    for group, work in groups.items():
        rows += [_row(f"{group}.{name}", getattr(work, name)) for name in work.__struct_fields__]
    return ["Figure", "Value", "Low to high"], [
        *rows,
        *(_row(n, getattr(found, n)) for n in ("row_s", "replica_bytes", "page_s")),
    ]


def _row(name: str, figure: MeasuredFigure) -> list[str]:
    value, low, high = (_words(name, v) for v in (figure.value, figure.low, figure.high))
    return [f"`{name}`", value, f"{low} to {high}"]


def _words(name: str, value: float) -> str:
    if name.endswith("per_s"):
        return f"{value:.3g} 1/s"
    if name.endswith("_s"):
        return f"{value * 1e6:,.1f} us" if value < 1e-3 else f"{value * 1e3:,.2f} ms"
    return f"{value:,.0f} B" if name.endswith("_bytes") else f"{value:.3g}"


def assumptions_text() -> str:
    return f"```yaml\n{DEFAULTS.read_text(encoding='utf-8')}```\n"
