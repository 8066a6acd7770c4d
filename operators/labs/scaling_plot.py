"""The simulation drawn: requests, replicas and what was missed, one column a traffic. The one user of plotly here, when asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from operators.labs.scaling_simulation import PolicyResult

_COLOURS: Final = ("#0f766e", "#14b8a6", "#b45309", "#6d28d9")
_EVERY_S: Final = 10


def write_html(results: Sequence[PolicyResult], path: Path) -> None:
    """One page that needs nothing else: the first run of each policy on each traffic, and the table of all runs."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    traffic = list(dict.fromkeys(r.traffic for r in results))
    policies = list(dict.fromkeys(r.policy for r in results))
    figure = make_subplots(
        rows=3,
        cols=len(traffic),
        subplot_titles=[*traffic, *(["replicas"] * len(traffic)), *(["requests under way"] * len(traffic))],
        vertical_spacing=0.09,
        horizontal_spacing=0.05,
        shared_xaxes=True,
    )
    for column, name in enumerate(traffic, start=1):
        of_this = [r for r in results if r.traffic == name]
        rate = of_this[0].runs[0].trace.rate[::_EVERY_S]
        minutes = [i * _EVERY_S / 60 for i in range(len(rate))]
        figure.add_trace(
            go.Scatter(x=minutes, y=rate, line={"color": "#64748b"}, name="requests/s", showlegend=column == 1), 1, column
        )
        for result in of_this:
            trace, colour = result.runs[0].trace, _COLOURS[policies.index(result.policy) % len(_COLOURS)]
            same = {"name": result.policy, "legendgroup": result.policy, "line": {"color": colour}}
            is_new = name == next(r.traffic for r in results if r.policy == result.policy)
            stairs = {"shape": "hv", "color": colour}
            figure.add_trace(
                go.Scatter(x=minutes, y=trace.wanted[::_EVERY_S], **{**same, "line": stairs}, showlegend=is_new), 2, column
            )
            figure.add_trace(go.Scatter(x=minutes, y=trace.ongoing[::_EVERY_S], **same, showlegend=False), 3, column)
        figure.update_xaxes(title_text="minutes", row=3, col=column)
    figure.update_layout(
        title="Simulated: a queueing model of replicas, one seed of several; not measured", height=900, template="plotly_white"
    )
    path.write_text(figure.to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")
