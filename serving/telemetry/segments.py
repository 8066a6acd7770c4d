"""Rows and alerts by segment, of one variant's revision: the evidence of the fairness gate. Core: a few additions a row.

Which segment an entity is in is serving.segments.mapping's. Nothing is counted unless a mapping is set, and only of rows whose entity is
named: a row that is its own entity is in no segment and in no rest."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from serving.segments.mapping import SegmentMap

EVERYBODY: Final = "_all"
"""Stands for all rows of a named entity, in a segment or not; no segment can be called so."""
MOST_COUNTED: Final = 24
"""Most segments that a replica counts: each has series of its own for every variant."""

SegmentUnit = Literal["live", "mirror", "entity"]
UNITS: Final[tuple[SegmentUnit, ...]] = ("live", "mirror", "entity")


class SegmentCounts:
    """Counters by segment; the last place is EVERYBODY's."""

    __slots__ = ("_alerts", "_rows", "names")

    def __init__(self, mapping: SegmentMap) -> None:
        self.names = (*mapping.segments, EVERYBODY)
        self._rows: dict[SegmentUnit, list[int]] = {unit: [0] * len(self.names) for unit in UNITS}
        self._alerts: dict[SegmentUnit, list[int]] = {unit: [0] * len(self.names) for unit in UNITS}

    def add(self, unit: SegmentUnit, rows: Iterable[tuple[tuple[int, ...], bool]]) -> None:
        """Count rows (or first rows of entities): the segments of each, by place, and whether it alerted."""
        counted, alerts = self._rows[unit], self._alerts[unit]
        for places, is_alert in rows:
            for place in places:
                counted[place] += 1
                alerts[place] += is_alert
            counted[-1] += 1
            alerts[-1] += is_alert

    def rows(self, unit: SegmentUnit) -> Mapping[str, int]:
        """By segment; also those at 0, so that a scrape tells which there are."""
        return dict(zip(self.names, self._rows[unit], strict=True))

    def alerts(self, unit: SegmentUnit) -> Mapping[str, int]:
        """The alerts among them."""
        return dict(zip(self.names, self._alerts[unit], strict=True))
