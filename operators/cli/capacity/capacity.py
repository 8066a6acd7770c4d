"""`vedette capacity`: a plan from measured figures, carried out in a simulation. Exit code 0: it holds, 1: it does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from operators.cli.console import CommandError, Json, finite_option, print_json, progress
from operators.cli.document_view import HtmlFile, MarkdownFile, show, write_files

if TYPE_CHECKING:
    from operators.capacity.assumptions import CapacityAssumptions
    from operators.capacity.demand import CapacityDemand
    from operators.capacity.figures import PlanFigures
    from operators.capacity.simulation.sizing import SizedPlan

FACTORS: Final = (1.0, 10.0, 100.0)
_MOST_BYTES: Final = 1_000_000


def _number(help_text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(callback=finite_option, help=help_text)
    return found


def capacity(
    events_per_day: Annotated[float, _number("Events a day, e.g. 5e9.")],
    p99: Annotated[str, typer.Option(help="Time within which 99 of 100 requests are answered, e.g. 10ms.")],
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Measured figures, by `python -m loadtests.bench capacity` (default: those in docs/reference/capacity.md)."
        ),
    ] = None,
    assumptions: Annotated[
        Path | None, typer.Option(help="YAML with sizes of nodes and prices (default: those in docs/reference/capacity.md).")
    ] = None,
    door: Annotated[
        str, typer.Option(help="Door of the requests: http or grpc, /features where features are read.")
    ] = "http/features",
    peak_factor: Annotated[float, _number("Ratio of the busiest hour to the mean of the day.")] = 2.0,
    profile: Annotated[Path | None, typer.Option(help="File with 24 numbers, one an hour, in place of --peak-factor.")] = None,
    burst_factor: Annotated[float, _number("Ratio of bursts, which last minutes, to the busiest hour.")] = 1.25,
    zones: Annotated[
        int, typer.Option(help="Number of zones. The plan survives the loss of one; with 1 zone, of one node.")
    ] = 3,
    stream_share: Annotated[float, _number("Share of the events that come through Kafka.")] = 0.5,
    batch_share: Annotated[float, _number("Rows scored in batch a day, per event.")] = 1.0,
    batch_hours: Annotated[float, _number("Hours within which a day's batch is scored.")] = 6.0,
    entities: Annotated[float, _number("Hosts and users that have features.")] = 10e6,
    hot_days: Annotated[float, _number("Days of records on the replicas' disks.")] = 7.0,
    years: Annotated[float, _number("Years of records in the archive.")] = 3.0,
    simulate_s: Annotated[
        float,
        typer.Option(
            callback=finite_option, help="Length of each simulated scenario in seconds, at least 9; 0: simulate nothing."
        ),
    ] = 12.0,
    budget: Annotated[
        int, typer.Option(min=1000, max=10_000_000, help="Approximate maximum of simulated requests per scenario.")
    ] = 60_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 7,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: Json = False,
) -> None:
    """Plan replicas, nodes, Redis, Kafka, logs and cost for a number of events a day, and simulate the plan. Exit code 1 if it breaks.

    Every size has its formula, the measured figures it comes from, and bounds. The figures are those of the machine that the file names."""
    from operators.capacity.demand import CapacityDemand, peak_of
    from operators.capacity.simulation.scenarios import SHORTEST_S
    from operators.cli.capacity.page import capacity_page
    from operators.values import parse_duration

    try:
        p99_s = parse_duration(p99).total_seconds()
    except ValueError as problem:
        raise CommandError(f"--p99 {problem}") from problem
    if simulate_s and not SHORTEST_S <= simulate_s <= 3600:
        raise CommandError(f"--simulate-s is {simulate_s:g}, expected 0, or {SHORTEST_S:g} to 3600")
    hours = None if profile is None else _profile(profile)
    demand = CapacityDemand(
        events_per_day, p99_s, door, peak_factor if hours is None else peak_of(hours), burst_factor, zones, stream_share, batch_share,
        batch_hours, entities, hot_days, years,
    )  # fmt: skip
    measured, assumed = read_inputs(figures, assumptions)
    sized = _sized(demand, measured, assumed, simulate_s, hours or (), budget, seed)
    document = capacity_page(sized, measured, assumed, FACTORS)
    write_files(document, markdown, html)
    if as_json:
        print_json(document.record)
    else:
        show(document)
        print(_verdict(sized))
    if not sized.is_held:
        raise typer.Exit(1)


def _verdict(sized: "SizedPlan") -> str:
    if not sized.outcomes:
        return "the plan was not simulated"
    if sized.is_held:
        return "the plan holds" + (f"; {sized.decided.partition(':')[0]} decided on the replicas" if sized.decided else "")
    broken = [one.scenario.name for one in sized.outcomes if not one.is_held]
    return "; ".join([f"the plan breaks: {', '.join(broken)}" if broken else "the plan breaks", sized.hopeless])


def read_inputs(figures: Path | None, assumptions: Path | None) -> "tuple[PlanFigures, CapacityAssumptions]":
    """The measured figures and the assumptions, of files or by default. Raises CapacityError, OSError."""
    from operators.capacity.assumptions import default_assumptions, parse_assumptions
    from operators.capacity.figures import REFERENCE, parse_figures
    from serving.files.bounded_files import read_bounded

    place = figures or REFERENCE
    measured = parse_figures(read_bounded(place, _MOST_BYTES), str(place))
    if assumptions is None:
        return measured, default_assumptions()
    text = read_bounded(assumptions, _MOST_BYTES).decode("utf-8", "replace")
    return measured, parse_assumptions(text, str(assumptions))


def _profile(path: Path) -> list[float]:
    from serving.files.bounded_files import read_bounded

    words = read_bounded(path, _MOST_BYTES).decode("utf-8", "replace").replace(",", " ").split()
    try:
        return [float(word) for word in words]
    except ValueError as problem:
        raise CommandError(f"{path}: {problem}; expected 24 numbers, one an hour, in any unit") from problem


def _sized(
    demand: "CapacityDemand",
    measured: "PlanFigures",
    assumed: "CapacityAssumptions",
    length_s: float,
    hours: Sequence[float],
    budget: int,
    seed: int,
) -> "SizedPlan":
    from operators.capacity.plan import plan
    from operators.capacity.simulation.scenarios import scenarios
    from operators.capacity.simulation.sizing import SizedPlan, sized_plan

    if not length_s:
        planned = plan(demand, measured, assumed)
        return SizedPlan(planned, (), planned.sizes.serving.replicas)
    chosen = scenarios(demand.peak_factor, demand.burst_factor, length_s, hours, zones=demand.zones)
    with progress() as display:
        task = display.add_task("simulating", total=None)
        return sized_plan(demand, measured, assumed, chosen, seed=seed, budget=budget, watch=lambda: display.advance(task))
