"""Service level objectives, and alerts on how fast their error budgets burn, over several windows. Pure.

The windows and factors are those of the Google SRE workbook, chapter 5 (https://sre.google/workbook/alerting-on-slos/): an alert needs a
long window, so that it means something, and a short one, so that it ends soon after the trouble. The budget is that of 30 days."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from operators.observability.alerts.alert import Alert, AlertGroup, AlertSeverity, RecordedSeries
from serving.telemetry import names, stream_names

LEAST_BAD: Final = 10
"""Bad events in the long window below which no budget alert fires: one failure among three requests of a night is no trend."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of events that must be good. total, bad: PromQL of counters per window, with WINDOW. by: what each is counted for."""

    name: str
    title: str
    objective: float
    by: str
    total: str
    bad: str
    words: str

    @property
    def budget(self) -> float:
        """Share of events that may be bad."""
        return round(1 - self.objective, 6)

    def total_over(self, window: str) -> str:
        """All events a second, over a window."""
        return self.total.replace("WINDOW", window)

    def bad_over(self, window: str) -> str:
        """Bad events a second."""
        return self.bad.replace("WINDOW", window)

    def ratio(self, window: str) -> str:
        """Name of the recorded share of bad events."""
        return f"vedette_slo:{self.name}:bad_ratio_rate{window}"


class Burn(NamedTuple):
    """factor: how many times faster than the budget allows. budget_spent: of 30 days, within the long window."""

    factor: float
    long: str
    short: str
    budget_spent: str


FAST: Final = (Burn(14.4, "1h", "5m", "2 % in an hour"), Burn(6.0, "6h", "30m", "5 % in six hours"))
SLOW: Final = (Burn(3.0, "1d", "2h", "10 % in a day"), Burn(1.0, "3d", "6h", "10 % in three days"))
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")

_OURS: Final = f'model!="{names.UNKNOWN}"'
_MODEL: Final = "namespace, model"
LATENCY_OBJECTIVE_S: Final = 0.1
VERDICT_OBJECTIVE_S: Final = 5.0


def _share_over(metric: str, bound_s: float, matchers: str, by: str) -> tuple[str, str]:
    """Total, and those over a bound, of a histogram."""
    total = f"sum by ({by}) (rate({metric}_count{{{matchers}}}[WINDOW]))"
    within = f'sum by ({by}) (rate({metric}_bucket{{{matchers}{"," if matchers else ""}le="{bound_s}"}}[WINDOW]))'
    return total, f"{total} - {within}"


_ANSWERED_TOTAL, _ANSWERED_LATE = _share_over(names.SECONDS.name, LATENCY_OBJECTIVE_S, f'stage="total",{_OURS}', _MODEL)
_VERDICT_TOTAL, _VERDICT_LATE = _share_over(stream_names.STREAM_LATENCY.name, VERDICT_OBJECTIVE_S, "", "namespace")

OBJECTIVES: Final = (
    Objective(
        "availability",
        "Availability",
        0.999,
        _MODEL,
        f'sum by ({_MODEL}) (rate({names.REQUESTS.name}{{outcome!="client_error",{_OURS}}}[WINDOW]))',
        f'sum by ({_MODEL}) (rate({names.REQUESTS.name}{{outcome=~"failed|refused",{_OURS}}}[WINDOW]))',
        "requests of a model that were answered with a verdict, of all that were no mistake of the client",
    ),
    Objective(
        "latency",
        "Latency",
        0.99,
        _MODEL,
        _ANSWERED_TOTAL,
        _ANSWERED_LATE,
        f"answers within {LATENCY_OBJECTIVE_S * 1000:g} ms in the service",
    ),
    Objective(
        "verdict_time",
        "VerdictTime",
        0.99,
        "namespace",
        _VERDICT_TOTAL,
        _VERDICT_LATE,
        f"verdicts of streams committed within {VERDICT_OBJECTIVE_S:g} s of the event",
    ),
)


def _seconds(window: str) -> int:
    return int(window[:-1]) * {"m": 60, "h": 3600, "d": 86400}[window[-1]]


def recorded(objective: Objective) -> tuple[RecordedSeries, ...]:
    """The share of bad events over each window; absent while there are no events."""
    return tuple(
        RecordedSeries(
            objective.ratio(window),
            f"({objective.bad_over(window)}) / ({objective.total_over(window)} > 0)",
        )
        for window in WINDOWS
    )


def _burns(objective: Objective, burn: Burn) -> str:
    bound = f"{round(burn.factor * objective.budget, 6):g}"
    bad = f"({objective.bad_over(burn.long)}) * {_seconds(burn.long)}"
    return (
        f"({objective.ratio(burn.long)} > {bound} and {objective.ratio(burn.short)} > {bound} "
        f"and on ({objective.by}) {bad} >= {LEAST_BAD})"
    )


def _alert(objective: Objective, how: str, burns: tuple[Burn, ...], severity: AlertSeverity) -> Alert:
    spent = " or ".join(burn.budget_spent for burn in burns)
    of = "{{ $labels.model }}" if "model" in objective.by else "the stream in {{ $labels.namespace }}"
    return Alert(
        f"Vedette{objective.title}Burns{how}",
        " or ".join(_burns(objective, burn) for burn in burns),
        severity,
        f"{of}: {{{{ $value | humanizePercentage }}}} are bad, the objective is {objective.objective:.1%} good",
        f"Objective: {objective.words}. This pace spends of the error budget of 30 days: {spent}.",
    )


GROUP: Final = AlertGroup(
    "objectives",
    tuple(
        alert
        for objective in OBJECTIVES
        for alert in (
            _alert(objective, "Fast", FAST, "critical"),
            _alert(objective, "Slowly", SLOW, "warning"),
        )
    ),
    tuple(rule for objective in OBJECTIVES for rule in recorded(objective)),
)
