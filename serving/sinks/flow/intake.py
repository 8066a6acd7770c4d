"""Decides about each alert that arrives for a sink: send, fold or leave out. Pure: one decision an alert, and the state behind it."""

from dataclasses import dataclass, field
from typing import Final, Literal

from serving.sinks.alert import SinkAlert
from serving.sinks.flow.folding import WHOLE_SINK, Folding, FoldKey, FoldKind
from serving.sinks.flow.repeats import RecentIds
from serving.sinks.flow.throttle import Throttle, ThrottleLimits
from serving.stream.contract import Level

SEVERITIES: Final[tuple[Level, ...]] = ("informational", "low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What a sink wants of the alerts. group_s: window of grouping, None: alerts are not grouped. summary_s: window in which throttled
    alerts become one."""

    min_severity: Level = "informational"
    repeats_s: float = 3600.0
    group_s: float | None = None
    summary_s: float = 60.0
    throttle: ThrottleLimits = field(default_factory=ThrottleLimits)


@dataclass(frozen=True, slots=True)
class Intake:
    """What becomes of an alert: `send` it, `fold` it into others, or leave it out (`filtered`, `repeated`)."""

    what: Literal["send", "fold", "filtered", "repeated"]
    key: FoldKey | None = None


class IntakeState:
    """Repeats, buckets and folds of one sink. now_s: a clock that does not go back."""

    def __init__(self, rules: IntakeRules, now_s: float) -> None:
        self._rules = rules
        self._least = SEVERITIES.index(rules.min_severity)
        self.recent = RecentIds(rules.repeats_s)
        self._throttle = Throttle(rules.throttle, now_s)
        windows: dict[FoldKind, float] = {"throttled": rules.summary_s, "grouped": rules.group_s or rules.summary_s}
        self.folds = Folding(windows)

    def decide(self, alert: SinkAlert, now_s: float) -> Intake:
        """Decide on one alert; takes tokens, opens folds, and remembers the id."""
        if SEVERITIES.index(alert.message.severity) < self._least:
            return Intake("filtered")
        if self.recent.knows(alert.id, now_s):
            return Intake("repeated")
        self.recent.add(alert.id, now_s)
        group = FoldKey("grouped", alert.message.group)
        if self._rules.group_s is not None and self.folds.takes(group, alert):
            return Intake("fold", group)
        over = self._throttle.refuses(alert.message.group, now_s)
        if over is not None:
            key = FoldKey("throttled", alert.message.group if over == "group" else WHOLE_SINK)
            if not self.folds.open(key, now_s):
                key = FoldKey("throttled", WHOLE_SINK)
                self.folds.open(key, now_s)
            return Intake("fold", key)
        if self._rules.group_s is not None:
            self.folds.sent(group, alert, now_s)
        return Intake("send")
