"""What a decision about retraining is made of: the champion, alarms, labels. Values; run.py reads them."""

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Self

from lifecycle.monitoring.alarm import Alarm


@dataclass(frozen=True, slots=True)
class Champion:
    """The model that serves. bundle: its digest. revision: digest of everything that can change an answer.

    operating_point, threshold: those in place of the bundle's own; None: the bundle's."""

    version: str
    bundle: str
    revision: str
    operating_point: str | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Signals:
    """Facts about one model on which the decision to retrain rests. busy: the rollout or experiment that is under way, in words.

    labels_us: when each usable label was given, ascending. queued_us: when each of those that the queue asked for was, ascending."""

    champion: Champion | None
    busy: str | None = None
    alarms: tuple[Alarm, ...] = ()
    labels_us: tuple[int, ...] = field(default=())
    queued_us: tuple[int, ...] = field(default=())

    def known_at(self, now_us: int) -> Self:
        """The same, without labels of later times: a training leaves them out, so they start none either."""
        known, queued = (bisect_right(times, now_us) for times in (self.labels_us, self.queued_us))
        return replace(self, labels_us=self.labels_us[:known], queued_us=self.queued_us[:queued])

    def labels_since(self, since_us: int) -> int:
        """Labels given after a time."""
        return len(self.labels_us) - bisect_right(self.labels_us, since_us)

    def queued_since(self, since_us: int) -> int:
        """Labels that the queue asked for, given after a time."""
        return len(self.queued_us) - bisect_right(self.queued_us, since_us)
