"""A rollout's evidence over time as one page that stands alone: e-values of each gate on a logarithmic scale, weight below."""

from collections.abc import Sequence
from pathlib import Path

from operators.cli.console import CommandError
from operators.control.looks import EvidencePoint
from operators.control.port import Record
from operators.control.words import thresholds


def write_page(path: Path, record: Record, looks: Sequence[EvidencePoint]) -> None:
    """Write the page. looks: of the newest rollout, the oldest first. Raises CommandError if there are none."""
    if not looks:
        raise CommandError(
            f"this machine keeps no looks of {record.ref.name}; they are kept where `vedette up` runs the rollout"
        )
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    at = [look.at for look in looks]
    gates = sorted({name for look in looks for name in look.gates})
    worse_at, fine_at = thresholds((record.status.policy or record.rollout).analysis)
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.4, 0.4, 0.2],
        subplot_titles=("worse: aborts at the line", "no worse: goes on at the line", "share of entities and mirror, %"),
    )  # fmt: skip
    for row, side, limit in ((1, 0, worse_at), (2, 1, fine_at)):
        for gate in gates:
            values = [max(look.gates[gate][side], 1e-12) if gate in look.gates else None for look in looks]
            figure.add_trace(go.Scatter(x=at, y=values, name=f"{gate}: {('worse', 'no worse')[side]}"), row=row, col=1)
        figure.add_hline(y=limit, line_dash="dash", row=row, col=1)
        figure.update_yaxes(type="log", row=row, col=1)
    figure.add_trace(go.Scatter(x=at, y=[look.weight for look in looks], name="weight", line_shape="hv"), row=3, col=1)
    figure.add_trace(go.Scatter(x=at, y=[look.mirror for look in looks], name="mirror", line_shape="hv"), row=3, col=1)
    figure.update_layout(title=f"{record.ref.name}: the evidence of the newest rollout", height=900, hovermode="x unified")
    path.write_text(figure.to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")
