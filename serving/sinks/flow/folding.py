"""Folds several alerts into one: those of a group within a window, and those over the limits of a sink. The new alert counts and lists
them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from serving.sinks.alert import FoldedAlerts, SinkAlert, digest_id
from serving.sinks.text import rfc3339

FoldKind = Literal["grouped", "throttled"]
MOST_OPEN: Final = 10_000
"""Folds that are open at a time. A further group is not folded; alerts over the limits of the sink share one fold."""
MOST_LISTED: Final = 100
WHOLE_SINK: Final = "*"
"""Key of the fold of alerts that are over the limit of the whole sink."""
_RANK: Final = {"informational": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}


class FoldKey(msgspec.Struct, frozen=True):
    """Which fold an alert belongs to."""

    kind: FoldKind
    group: str


@dataclass(slots=True)
class OpenFold:
    """Alerts of one key since it was opened. place: number of the first spool segment that holds one of them."""

    key: FoldKey
    due_s: float
    first: SinkAlert | None = None
    worst: SinkAlert | None = None
    count: int = 0
    first_us: int = 0
    last_us: int = 0
    ids: list[str] = field(default_factory=list)
    entities: dict[str, None] = field(default_factory=dict)
    place: int | None = None
    sent_rank: int = -1
    """Severity of the most severe alert of the group that was sent by itself."""

    def add(self, alert: SinkAlert, place: int) -> None:
        """Count and list one alert."""
        if self.first is None or self.worst is None:
            self.first = self.worst = alert
            self.first_us = self.last_us = alert.time_us
            self.place = place
        self.count += 1
        self.first_us, self.last_us = min(self.first_us, alert.time_us), max(self.last_us, alert.time_us)
        if len(self.ids) < MOST_LISTED:
            self.ids.append(alert.id)
        if len(self.entities) < MOST_LISTED:
            self.entities[alert.entity[:200]] = None
        if _RANK[alert.message.severity] > _RANK[self.worst.message.severity]:
            self.worst = alert

    def summary(self) -> SinkAlert:
        """One alert for all of them: the most severe one, with a title that counts."""
        if self.first is None or self.worst is None:
            raise ValueError("a fold without alerts has no summary")
        message = self.worst.message
        more = "1 more alert" if self.count == 1 else f"{self.count:,} more alerts"
        words = {
            "grouped": f"{more} of this entity: {message.title}",
            "throttled": f"{more} over the limit of this sink, among them: {message.title}",
        }[self.key.kind]
        folded = FoldedAlerts(
            kind=self.key.kind,
            count=self.count,
            first_time=rfc3339(self.first_us),
            last_time=rfc3339(self.last_us),
            ids=tuple(self.ids),
            entities=tuple(self.entities),
        )
        return SinkAlert(
            id=f"{self.key.kind}-{digest_id(f'{self.key.group}/{self.first.id}')}",
            message=msgspec.structs.replace(message, title=words),
            time_us=self.last_us,
            scored_us=self.worst.scored_us,
            folded=folded,
        )


class Folding:
    """The open folds of one sink. windows_s: how long a fold of each kind stays open; a kind that is missing is not folded."""

    def __init__(self, windows_s: dict[FoldKind, float]) -> None:
        self._windows_s = windows_s
        self._open: dict[FoldKey, OpenFold] = {}
        self._now_s = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def takes(self, key: FoldKey, alert: SinkAlert) -> bool:
        """Whether an alert belongs into an open fold. One that is more severe than all that were sent of the group does not."""
        fold = self._open.get(key)
        return fold is not None and _RANK[alert.message.severity] <= fold.sent_rank

    def sent(self, key: FoldKey, alert: SinkAlert, now_s: float) -> None:
        """An alert of a group was sent by itself: begin its window, if there is room for another."""
        if self.open(key, now_s):
            fold = self._open[key]
            fold.sent_rank = max(fold.sent_rank, _RANK[alert.message.severity])

    def open(self, key: FoldKey, now_s: float) -> bool:
        """Begin a window, if there is room for another. The fold of the whole sink always has room."""
        self._now_s = now_s
        if key not in self._open and len(self._open) >= MOST_OPEN and key.group != WHOLE_SINK:
            return False
        self._open.setdefault(key, OpenFold(key, now_s + self._windows_s[key.kind]))
        return True

    def add(self, key: FoldKey, alert: SinkAlert, place: int) -> None:
        """Fold an alert. A fold that was closed meanwhile is opened again."""
        if key not in self._open:
            self._open[key] = OpenFold(key, self._now_s + self._windows_s[key.kind])
        self._open[key].add(alert, place)

    def due(self, now_s: float) -> Iterator[OpenFold]:
        """Folds whose window is over, in the order in which they were opened."""
        yield from [fold for fold in self._open.values() if fold.due_s <= now_s]

    def close(self, key: FoldKey) -> None:
        """Forget a fold: it was empty, or its summary is in the spool."""
        self._open.pop(key, None)

    @property
    def oldest_place(self) -> int | None:
        """The first segment that an open fold needs after a restart."""
        return min((fold.place for fold in self._open.values() if fold.place is not None), default=None)
