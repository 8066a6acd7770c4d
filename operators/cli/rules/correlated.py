"""Correlations over a file of events, for `vedette rules test`: events in the order of the file, each at its own time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from serving.rules.events import Fields, texts_of

if TYPE_CHECKING:
    from serving.rules.correlation.values import CorrelationHit
    from serving.rules.matcher import Matcher
    from serving.rules.tree import SigmaRule

TIME_FIELDS: Final = (
    "@timestamp", "TimeCreated_SystemTime", "UtcTime", "eventTime", "published", "TimeGenerated", "timestamp", "time", "ts",
    "__REALTIME_TIMESTAMP", "event_time", "EventTime", "detail.eventTime", "_time",
)  # fmt: skip
"""Where an event's time is looked for, in this order."""
_ALL_US: Final = 2**60
"""Lateness: a file's events may be in any order."""


class FileCorrelations:
    """Observes one event after the other. time_field: where its time is; empty: the first of TIME_FIELDS that it has."""

    def __init__(self, compiled: "Matcher", time_field: str = "") -> None:
        from serving.rules.correlation.engine import Correlator

        found = compiled.correlations
        self._engine = Correlator(found.rules, lateness_us=_ALL_US, hidden=found.hidden)
        self._names = (time_field,) if time_field else TIME_FIELDS
        self.hits: list[CorrelationHit] = []
        self.without_time = 0

    def observe(self, name: str, fields: Fields, matched: "Sequence[SigmaRule]") -> None:
        """Take an event in, with the rules that it matches."""
        if not self._engine.rules or not matched:
            return
        at_us = self._time_us(fields)
        if at_us is None:
            self.without_time += 1
        else:
            self.hits += self._engine.observe(at_us, [rule.id for rule in matched], fields, name)

    def records(self) -> list[dict[str, Any]]:
        """For programs."""
        return [
            {
                "id": hit.rule.id,
                "title": hit.rule.title,
                "level": hit.rule.level,
                "group": dict(zip(hit.rule.group_by, hit.group, strict=True)),
                "at": _text(hit.at_us),
                "measure": hit.measure,
                "events": list(hit.events),
                "techniques": list(hit.rule.techniques),
            }
            for hit in self.hits
        ]

    def _time_us(self, fields: Fields) -> int | None:
        from serving.rules.predicates import moment_of

        for name in self._names:
            value = fields.get(name)
            moment = None if value is None else moment_of(texts_of(value)[0])
            if moment is not None:
                return round(moment.timestamp() * 1e6)
        return None


def _text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
