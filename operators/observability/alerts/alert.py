"""An alert rule as a value: what it asks Prometheus, for how long it must hold, whom it concerns. Pure.

Texts are templates of Prometheus (`{{ $labels.model }}`, `{{ $value }}`). The runbook of an alert is the section of its name on the page
of its group, docs/how-to/runbooks/PAGE.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Team = Literal["platform", "detection", "audit"]
"""platform: who runs the cluster. detection: who makes the models. audit: who answers for the records."""
AlertSeverity = Literal["critical", "warning", "info"]
"""critical: wakes somebody. warning: this working day. info: shown, sent to nobody by night."""
RUNBOOKS: Final = "docs/how-to/runbooks"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule. lasts: how long `expr` must hold before it fires, as Prometheus writes it."""

    name: str
    expr: str
    severity: AlertSeverity
    summary: str
    description: str
    team: Team = "platform"
    lasts: str = "0s"


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """A recording rule: computed once, asked by several alerts and panels."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """Rules that are evaluated one after the other. page: of its runbooks."""

    page: str
    alerts: tuple[Alert, ...]
    recorded: tuple[RecordedSeries, ...] = ()

    @property
    def name(self) -> str:
        """Of the group in Prometheus."""
        return f"vedette-{self.page}"

    def runbook(self, alert: Alert, base: str = RUNBOOKS) -> str:
        """Where the runbook of one of its alerts is."""
        return f"{base}/{self.page}.md#{alert.name.lower()}"
