"""`vedette rollout simulate`: how often and how early the judge is right on simulated rollouts, compared with a fixed threshold."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, print_json, print_table, progress

if TYPE_CHECKING:
    from operators.labs.rollout_simulation import Played, SimulatedOutcome


def simulate(
    runs: Annotated[int, typer.Option(min=10, max=100_000, help="Simulated rollouts for each row.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 1,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the plots as a page.")] = None,
    as_json: Json = False,
) -> None:
    """Simulate rollouts with known error rates: how often and how early the judge is right, compared with a fixed threshold.

    Exit code 1 if a row misses its target."""
    from operators.labs.rollout_simulation import BESIDES, TABLE, play

    if html is not None and not html.parent.is_dir():
        raise CommandError(f"--html {html}: there is no folder {html.parent}; make it first")
    rows = (*TABLE, *BESIDES)
    with progress() as display:
        task = display.add_task("", total=100 * len(rows))
        done: dict[str, float] = {}

        def tell(name: str, share: float) -> None:
            done[name] = share
            display.update(task, description=name, completed=round(100 * sum(done.values())))

        played = list(play(rows, runs, seed, tell))
    if html is not None:
        _write_page(html, played, seed)
    if as_json:
        print_json({"seed": seed, "runs": runs, "rows": [as_record(p) for p in played]})
    else:
        _show(
            "Verdict `worse`: share of rollouts aborted, median requests until then (of them the candidate's)",
            played[: len(TABLE)],
        )
        _show("Margins, the mirror image, pairs, and requests that are not independent", played[len(TABLE) :])
        errors.print(f"seed {seed}, {runs:,} rollouts a row (a fifth where few entities make the traffic)")
    missed = [p.row.name for p in played if p.is_met is False]
    if missed:
        raise CommandError(f"{len(missed)} of {len(played)} rows do not hold what they must: {'; '.join(missed)}")


def as_record(played: "Played") -> dict[str, Any]:
    """One row, for programs."""
    return {**dataclasses.asdict(played), "is_met": played.is_met}


def _show(title: str, played: "list[Played]") -> None:
    columns = ["stable : candidate", "must", "reference", "vedette", "fixed threshold", "holds"]
    print_table(title, columns, [_line(p) for p in played])


def _line(played: "Played") -> list[str]:
    row = played.row
    if row.most is not None:
        must = f"at most {row.most:.0%} (false)"
    elif row.least is not None:
        must = f"at least {row.least:.0%}" + (f" by {row.median:,}" if row.median else "")
    else:
        must = "shown to break"
    holds = {True: "yes", False: "NO", None: "-"}[played.is_met]
    fixed = "-" if played.threshold is None else _figures(played.threshold)
    return [row.name, must, row.reference, _figures(played.ours), fixed, holds]


def _figures(outcome: "SimulatedOutcome") -> str:
    if outcome.median is None or outcome.median_candidate is None:
        return f"{outcome.stopped:.1%}"
    return f"{outcome.stopped:.1%} at {outcome.median:,.0f} ({outcome.median_candidate:,.0f})"


def _write_page(path: Path, played: "list[Played]", seed: int) -> None:
    """False verdicts and times to a verdict over requests; one self-contained page."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    false = [p for p in played if p.row.is_false or p.is_met is None]
    true = [p for p in played if p not in false]
    titles = ("Share of rollouts with a false verdict, by requests", "Share with the right verdict, by requests")
    figure = make_subplots(rows=2, cols=1, subplot_titles=titles, vertical_spacing=0.12)
    for place, group in ((1, false), (2, true)):
        for number, one in enumerate(group):
            for outcome, dash, judge in ((one.ours, "solid", "vedette"), (one.threshold, "dot", "fixed threshold")):
                if outcome is None:
                    continue
                x, y = zip(*outcome.curve, strict=True)
                name = f"{one.row.name} ({judge})"
                line = {"dash": dash, "color": f"hsl({number * 360 // len(group)}, 70%, 40%)"}
                figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines", line=line), row=place, col=1)
    figure.add_hline(y=0.05, line_color="red", annotation_text="alpha", row=1, col=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    figure.update_layout(height=1100, title=f"vedette rollout simulate: {played[0].runs:,} rollouts a row, seed {seed}")
    path.write_text(figure.to_html(include_plotlyjs=True), encoding="utf-8")
