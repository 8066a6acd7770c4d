"""What the drift demonstration has seen: answers of known truth, what was promised, and the figures of each phase. Pure."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lifecycle.metrics.intervals import Interval, wilson

QUIET: Final = "quiet"
DRIFTED: Final = "drifted"


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """One answer to an event whose truth is known. family: "" for a benign one. phase: of the stream when it was drawn."""

    receipt: str
    family: str
    phase: str
    is_alert: bool
    version: str

    @property
    def is_attack(self) -> bool:
        """Whether it should have been an alert."""
        return self.family != ""


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """Of one phase: shares with their 95 % bounds. recall: of attacks; false_alarms: of benign sessions; precision: of alerts."""

    title: str
    version: str
    answers: int
    attacks: int
    recall: Interval
    false_alarms: Interval
    precision: Interval


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """One line of `vedette lineage show` about what happened. what: alarm, labels, trigger, training, gate, challenge, rollout, act."""

    time: str
    what: str
    words: str


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise, in words."""

    words: str
    is_kept: bool


@dataclass(slots=True)
class DriftResult:
    """The whole. moments: how many answers there were when something happened. alarms, gates: as JSON has them."""

    seed: int
    answers: list[KnownAnswer] = field(default_factory=list)
    moments: dict[str, int] = field(default_factory=dict)
    phases: list[PhaseFigures] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    alarms: list[dict[str, str]] = field(default_factory=list)
    labels: int = 0
    gates: list[dict[str, Any]] = field(default_factory=list)
    story: list[StoryEvent] = field(default_factory=list)
    rate_per_s: float = 0.0
    answered: int = 0
    failed: int = 0
    took_s: float = 0.0

    @property
    def broken(self) -> list[str]:
        """Promises that were not kept."""
        return [promise.words for promise in self.promises if not promise.is_kept]

    def as_record(self) -> dict[str, Any]:
        """For programs: everything but the single answers."""
        names = (
            "seed", "rate_per_s", "took_s", "answered", "failed", "moments", "phases", "alarms", "labels", "gates", "story", "promises"
        )  # fmt: skip
        return {"is_as_promised": not self.broken, **{name: _plain(getattr(self, name)) for name in names}}


def _plain(value: Any) -> Any:
    return (
        [dataclasses.asdict(v) if dataclasses.is_dataclass(v) and not isinstance(v, type) else v for v in value]
        if isinstance(value, list)
        else value
    )


def figures(title: str, version: str, answers: Sequence[KnownAnswer]) -> PhaseFigures:
    """Count the answers that one version gave."""
    own = [a for a in answers if a.version == version]
    attacks, alerts = sum(a.is_attack for a in own), sum(a.is_alert for a in own)
    hits = sum(a.is_attack and a.is_alert for a in own)
    benign = len(own) - attacks
    return PhaseFigures(
        title, version, len(own), attacks, wilson(hits, attacks), wilson(alerts - hits, benign), wilson(hits, alerts)
    )


def is_clearly_above(upper: Interval, lower: Interval) -> bool:
    """Whether the bounds lie apart."""
    return upper.low is not None and lower.high is not None and upper.low > lower.high


@dataclass(frozen=True, slots=True)
class RecallPoint:
    """Recall of consecutive answers. until: how many answers there were at their end."""

    until: int
    recall: Interval


def recall_over_time(answers: Sequence[KnownAnswer], attacks: int = 60) -> list[RecallPoint]:
    """Recall of each so many attacks in turn; attacks that are left over at the end are not shown."""
    found, hits, seen = list[RecallPoint](), 0, 0
    for place, answer in enumerate(answers, start=1):
        if not answer.is_attack:
            continue
        seen += 1
        hits += answer.is_alert
        if seen == attacks:
            found.append(RecallPoint(place, wilson(hits, seen)))
            hits = seen = 0
    return found


TOLD: Final[Sequence[tuple[str, str]]] = (
    ("alarm", ""), ("labels", ""), ("trigger", ""), ("training", ""), ("gate", "passed"), ("challenge", "passes"),
    ("rollout", "mirror"), ("rollout", "setWeight"), ("rollout", "promote"),
)  # fmt: skip
"""What the story must tell, in this order: the kind of each line, and a word in it."""


def story_in(shown: str) -> list[StoryEvent]:
    """The lines about what happened, out of what `vedette lineage show` printed."""
    _, _, told = shown.partition("what happened, in order (UTC)\n")
    found = []
    for line in told.splitlines():
        day, clock, what, words = (*line.split(maxsplit=3), "", "", "", "")[:4]
        if words:
            found.append(StoryEvent(f"{day} {clock}", what, words))
    return found


def untold(story: Sequence[StoryEvent]) -> list[str]:
    """What of TOLD is missing in a story, or comes in another order."""
    left = iter(story)
    return [f"{what} {word}".strip() for what, word in TOLD if not any(one.what == what and word in one.words for one in left)]
