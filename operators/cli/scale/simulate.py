"""`vedette scale simulate`: scaling policies side by side on the same simulated traffic, before one is trusted with the real one."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, finite_option, print_json, print_table, progress

if TYPE_CHECKING:
    from operators.autoscaling.spec import ScalingSpec
    from operators.labs.scaling_simulation import PolicyResult


def simulate(
    spec: Annotated[
        Path | None, typer.Option(help="YAML file with the scaling to simulate: its fields, or a ModelService that has them.")
    ] = None,
    traffic: Annotated[list[str] | None, typer.Option(help="diurnal, bursts or shift; repeat (default: all).")] = None,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Number of runs of each, every run with its own seed.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 7,
    service_ms: Annotated[
        float, typer.Option(min=1, callback=finite_option, help="Mean service time of one request, in one slot of a replica.")
    ] = 80.0,
    slots: Annotated[int, typer.Option(min=1, help="Requests that a replica works on at once.")] = 4,
    start_up_s: Annotated[float, typer.Option(min=0, callback=finite_option, help="Time until a new replica answers.")] = 20.0,
    objective_ms: Annotated[
        float, typer.Option(min=1, callback=finite_option, help="A request that takes longer misses the objective.")
    ] = 400.0,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare policies on simulated traffic: seconds outside the objective, and replicas paid for.

    A queueing model of replicas, seeded and repeatable; no server is asked and nothing is measured. Beside ours: Ray Serve's
    default policy and a plain HorizontalPodAutoscaler, with the same target and bounds."""
    from operators.labs.queueing import Machine
    from operators.labs.scaling_simulation import SPEC, simulate
    from operators.labs.scaling_traffic import TRAFFIC

    unknown = sorted(set(traffic or ()) - set(TRAFFIC))
    if unknown:
        raise CommandError(f"--traffic {unknown[0]}: unknown traffic; expected one of {', '.join(TRAFFIC)}")
    machine = Machine(slots, service_ms / 1000, start_up_s, objective_ms / 1000)
    chosen = tuple(traffic or TRAFFIC)
    results = []
    with progress() as display:
        task = display.add_task("simulating", total=len(chosen) * 3 + ("shift" in chosen))
        for result in simulate(_read(spec) if spec else SPEC, traffic=chosen, runs=runs, seed=seed, machine=machine):
            results.append(result)
            display.advance(task)
    if html is not None:
        from operators.labs.scaling_plot import write_html

        write_html(results, html)
        errors.print(f"drawn: {html}", markup=False)
    if as_json:
        print_json(
            {"simulated": True, "machine": asdict(machine), "runs": runs, "seed": seed, "results": [_json(r) for r in results]}
        )
        return
    columns = ("traffic", "policy", "violation s", "(range)", "replica-seconds", "(range)", "late", "peak")
    right = ("violation s", "(range)", "replica-seconds", "late", "peak")
    print_table(f"Simulated, {runs} runs each; medians", columns, [_row(r) for r in results], right)


def _read(path: Path) -> "ScalingSpec":
    """Raises CommandError with the words of the file."""
    from pydantic import ValidationError

    from operators.autoscaling.spec import ScalingSpec
    from operators.cli.documents import read_document
    from operators.values import words

    told: Any = read_document(path, "fields of scaling, or a ModelService with spec.scaling")
    if isinstance(told, dict) and isinstance(told.get("spec"), dict):
        told = told["spec"].get("scaling")
    if not isinstance(told, dict):
        raise CommandError(
            f"{path}: has no scaling; write its fields, e.g. `maxReplicas: 8`, or a ModelService with spec.scaling"
        )
    try:
        return ScalingSpec.model_validate(told)
    except ValidationError as problem:
        raise CommandError(f"{path}: " + "; ".join(words(problem, "scaling"))) from problem


def _row(result: "PolicyResult") -> list[object]:
    violation, cost = result.violation_s(), result.replica_s()
    return [
        result.traffic, result.policy, f"{violation[0]:.0f}", f"{violation[1]:.0f}..{violation[2]:.0f}",
        f"{cost[0]:,.0f}", f"{cost[1]:,.0f}..{cost[2]:,.0f}", f"{result.late_ratio():.2%}", max(r.peak for r in result.runs),
    ]  # fmt: skip


def _json(result: "PolicyResult") -> dict[str, object]:
    return {
        "traffic": result.traffic,
        "policy": result.policy,
        "violationSeconds": [r.violation_s for r in result.runs],
        "replicaSeconds": [round(r.replica_s, 1) for r in result.runs],
        "late": [r.late for r in result.runs],
        "requests": [r.requests for r in result.runs],
        "peakReplicas": [r.peak for r in result.runs],
    }
