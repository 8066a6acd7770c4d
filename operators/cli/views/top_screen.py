"""The screen of `vedette top`. Pure: an overview and the size of a terminal in, something rich can print out.

80 columns and 24 lines hold everything; a wider terminal gives names more room, a higher one shows more services."""

from collections.abc import Callable, Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from operators.cli.console import plain
from operators.control.figures.overview import UNREADABLE, Overview, ServiceRow
from operators.control.figures.rates import LogFigures, PlaneFigures
from operators.rollout.status import Phase, Verdict

_FIXED: Final = 69
"""Columns of the table beside the name."""
_LEAST_NAME: Final = 11
_AROUND: Final = 11
"""Lines of the screen that are not services."""
_PHASES: Final = {
    Phase.HEALTHY: "green", Phase.PROGRESSING: "cyan", Phase.PAUSED: "yellow", Phase.ABORTED: "red", Phase.EXPERIMENT: "cyan",
    UNREADABLE: "red",
}  # fmt: skip
_VERDICTS: Final = {Verdict.WORSE: "bold red", Verdict.INVALID: "magenta", Verdict.BETTER: "green", Verdict.NO_WORSE: "green"}
_ATTENTION: Final = (UNREADABLE, Phase.ABORTED, Phase.PAUSED, Phase.EXPERIMENT, Phase.PROGRESSING)

Order = Callable[[ServiceRow], tuple[object, ...]]
ORDERS: Final[dict[str, tuple[str, Order]]] = {
    "s": ("state", lambda row: (_attention(row), -_rate(row), row.name)),
    "n": ("name", lambda row: (row.name,)),
    "r": ("req/s", lambda row: (-_rate(row), row.name)),
    "p": ("p99", lambda row: (-((row.figures and row.figures.p99_ms) or 0.0), row.name)),
    "a": ("alerts", lambda row: (-((row.figures and row.figures.alerts_per_s) or 0.0), row.name)),
}
"""Key -> (what the services are sorted by, the order)."""


def screen(overview: Overview, width: int, height: int, *, order: str = "s", interval_s: float | None = None) -> RenderableType:
    """One screen. height 0: as many lines as there are services. order: a key of ORDERS. interval_s: None: it is not refreshed."""
    rows = sorted(overview.services, key=ORDERS[order][1])
    room = len(rows) if height <= 0 else max(1, height - _AROUND)
    shown = rows if len(rows) <= room else rows[: max(1, room - 1)]
    parts: list[RenderableType] = [_title(overview, width, interval_s), _table(shown, width)]
    if len(shown) < len(rows):
        parts.append(Text(f"and {len(rows) - len(shown)} more services", style="dim"))
    if not rows and overview.problem is None:
        parts.append(Text("no services, and no replica says what it serves", style="yellow"))
    if overview.plane is not None:
        parts += _plane(overview.plane, width)
    parts.append(_drift(overview, width))
    if overview.problem is not None:
        parts.append(_line("control", Text(plain(overview.problem), style="bold red"), width))
    if interval_s is not None:
        keys = "  ".join(f"{key} {what}" for key, (what, _) in ORDERS.items())
        parts.append(
            Text(f"q quits   sort: {keys}   (now: {ORDERS[order][0]})", style="dim", no_wrap=True, overflow="ellipsis")
        )
    return Group(*parts)


def _title(overview: Overview, width: int, interval_s: float | None) -> Text:
    plane = overview.plane
    words = f"{overview.at:%H:%M:%S}Z"
    if plane is not None:
        words += f"  {plane.replicas} {'replica' if plane.replicas == 1 else 'replicas'}  {_number(plane.requests_per_s)} req/s"
    if interval_s is not None:
        words += f"  every {interval_s:g} s"
    room = max(10, width - len(words) - 2)
    where = plain(overview.where)
    where = where if len(where) <= room else "…" + where[-(room - 1) :]
    return Text.assemble((where, "bold"), "  ", words, no_wrap=True, overflow="crop")


def _table(rows: Iterable[ServiceRow], width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", collapse_padding=True)
    name_width = max(_LEAST_NAME, min(40, width - _FIXED))
    table.add_column("SERVICE", no_wrap=True, overflow="ellipsis", width=name_width)
    for name, columns in (("PHASE", 11), ("STEP", 8), ("VERDICT", 9)):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=columns)
    for name, columns in (("REQ/S", 6), ("P50", 5), ("P99", 5), ("DEGR", 5), ("AGE", 5), ("ALR/S", 6)):
        table.add_column(name, no_wrap=True, overflow="crop", justify="right", width=columns)
    for row in rows:
        found = row.figures
        step = "" if row.step is None else f"{row.step}/{row.steps} "
        split = f"{row.weight:.3g}%" if row.step is not None or row.weight else ""
        figures: tuple[float | None, ...] = (None,) * 6
        if found is not None:
            figures = (
                *(found.requests_per_s, found.p50_ms, found.p99_ms, found.degraded_ratio, found.feature_age_p50_s),
                found.alerts_per_s,
            )
        rate, p50, p99, degraded, age, alerts = figures
        table.add_row(
            Text(plain(row.name)),
            Text(plain(row.phase), style=_PHASES.get(row.phase, "dim")),
            f"{step}{split}",
            Text(row.verdict, style=_VERDICTS.get(row.verdict, "")),  # type: ignore[call-overload]
            _number(rate), _milliseconds(p50), _milliseconds(p99),
            Text(_percent(degraded), style="yellow" if degraded else ""), _seconds(age), _number(alerts),
        )  # fmt: skip
    return table


def _plane(plane: PlaneFigures, width: int) -> list[RenderableType]:
    refused = sum(plane.refusals_per_s.values())
    by = ", ".join(
        f"{plain(reason)} {_number(rate)}" for reason, rate in sorted(plane.refusals_per_s.items(), key=lambda r: -r[1])
    )
    failed = sum(m.failed_per_s or 0.0 for m in plane.models.values())
    words = (
        Text("not known yet: the first look", "dim") if plane.over_s is None else Text(f"{_number(refused)}/s {by}".rstrip())
    )
    if refused:
        words.stylize("yellow")
    words.append(f"   failed {_number(failed)}/s" if plane.over_s is not None else "", style="bold red" if failed else "dim")
    lines: list[RenderableType] = [_line("refused", words, width), _line("breakers", _breakers(plane), width)]
    lines.append(_line("log", _log(plane.log), width))
    if plane.away:
        rest = f" (and {len(plane.away) - 1} more)" if len(plane.away) > 1 else ""
        lines.append(_line("away", Text(plain(plane.away[0]) + rest, style="bold red"), width))
    return lines


def _breakers(plane: PlaneFigures) -> Text:
    if not plane.breakers:
        return Text("none known", style="dim")
    words = Text()
    for state, style in (("open", "bold red"), ("half-open", "yellow")):
        names = [plain(name) for name, is_in in plane.breakers.items() if is_in == state]
        if names:
            words.append(f"{state}: {', '.join(names)}   ", style=style)
    closed = sum(state == "closed" for state in plane.breakers.values())
    return words.append(f"{closed} closed", style="green" if closed == len(plane.breakers) else "")


def _log(log: LogFigures) -> Text:
    if log.is_failing is None and log.is_signed is None:
        return Text("not known: no replica says", style="dim")
    words = Text("CANNOT BE WRITTEN", "bold red") if log.is_failing else Text("written", "green")
    if log.is_signed is not None:
        words.append(", signed" if log.is_signed else ", NOT SIGNED", style="green" if log.is_signed else "bold red")
    if log.written_per_s is not None:
        words.append(f"   {_number(log.written_per_s)} records/s")
    if log.lost_per_s:
        words.append(f"   {_number(log.lost_per_s)}/s LOST", style="bold red")
    return words.append("" if log.lag_s is None else f"   {_seconds(log.lag_s)} behind", style="dim")


def _drift(overview: Overview, width: int) -> Text:
    drifting = [(row, row.drift) for row in overview.services if row.drift]
    if overview.drift_problem is not None:
        return _line("drift", Text(plain(overview.drift_problem), style="red"), width)
    if not drifting:
        return _line("drift", Text("no open alarm", style="dim"), width)
    total = {severity: sum(d.get(severity, 0) for _, d in drifting) for severity in ("major", "minor")}
    words = ", ".join(f"{count} {severity}" for severity, count in total.items() if count)
    names = ", ".join(plain(row.name) for row, _ in drifting[:6])
    return _line("drift", Text(f"{words}: {names}", style="bold red" if total["major"] else "yellow"), width)


def _line(name: str, words: Text, width: int) -> Text:
    line = Text.assemble((f"{name:<9}", "bold"), words, no_wrap=True, overflow="ellipsis")
    line.truncate(width, overflow="ellipsis")
    return line


def _attention(row: ServiceRow) -> int:
    if row.verdict == Verdict.WORSE:
        return -1
    return _ATTENTION.index(row.phase) if row.phase in _ATTENTION else len(_ATTENTION) + (0 if row.drift else 1)


def _rate(row: ServiceRow) -> float:
    return (row.figures.requests_per_s or 0.0) if row.figures is not None else 0.0


def _number(value: float | None) -> str:
    """At most five characters.

    >>> [_number(v) for v in (None, 0, 0.004, 12.34, 1234.5, 123456)]
    ['–', '0', '0.004', '12.3', '1234', '123k']
    """
    if value is None:
        return "–"
    if value >= 10_000:
        return f"{value / 1000:.0f}k" if value < 10_000_000 else f"{value / 1e6:.0f}M"
    if value == 0:
        return "0"
    return (
        f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.1g}" if value < 0.1 else f"{value:.2f}"
    )


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value / 1000:.2g}s" if value >= 1000 else _number(value)


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else "0%" if ratio == 0 else f"{100 * ratio:.2g}%" if ratio < 0.0995 else f"{100 * ratio:.0f}%"


def _seconds(value: float | None) -> str:
    """How old.

    >>> [_seconds(v) for v in (None, 0.05, 42, 600, 90000)]
    ['–', '0.05s', '42s', '10m', '25h']
    """
    if value is None:
        return "–"
    if value < 100:
        return f"{value:.2g}s"
    return f"{value / 60:.0f}m" if value < 6000 else f"{value / 3600:.0f}h"
