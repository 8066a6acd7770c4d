"""What a challenge came to: gates with their figures, bounds and words. Values."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lifecycle.metrics.intervals import Interval
from lifecycle.retraining.challenge.paired_harm import GateVerdict

GateKind = Literal["newest", "kept", "family", "left_out"]
ChallengeFigure = Literal["recall", "false_alarm_rate"]


@dataclass(frozen=True, slots=True)
class GateResult:
    """Result of one gate of a challenge. subject: the family, or "" for all. champion, challenger: shares. harm: how much worse the
    challenger is, with bounds.

    units: entities the bounds rest on. more: about how many more would decide; None: not said."""

    kind: GateKind
    subject: str
    figure: ChallengeFigure
    champion: float | None
    challenger: float | None
    harm: Interval
    margin: float
    rows: int
    units: int
    verdict: GateVerdict
    passes: bool
    words: str
    more: int | None = None


@dataclass(frozen=True, slots=True)
class ChallengedBundle:
    """One of the two: version, digest, and the threshold it is judged at."""

    version: str
    digest: str
    threshold: float


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """Result of a challenge: every gate and the verdict. point: the operating point. data: how many rows of each kind were judged, in
    words."""

    model: str
    trigger_id: str
    point: str
    champion: ChallengedBundle
    challenger: ChallengedBundle
    gates: tuple[GateResult, ...]
    data: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate lets the challenger pass, and at least one was judged."""
        return all(g.passes for g in self.gates) and any(g.verdict != "not_judged" for g in self.gates)

    @property
    def words(self) -> str:
        """The outcome in one sentence."""
        judged = [g for g in self.gates if g.verdict != "not_judged"]
        if not judged:
            return "there are no rows to judge by, so the challenger does not pass"
        stopped = [g for g in self.gates if not g.passes]
        if stopped:
            more = f" and {len(stopped) - 1} more" if len(stopped) > 1 else ""
            return f"the challenger does not pass: {stopped[0].words}{more}"
        better = [g for g in judged if g.verdict == "better"]
        found = f", and is better on {len(better)}: {better[0].words}" if better else ""
        return f"the challenger passes all {len(judged)} gates that could be judged{found}"

    def as_record(self) -> dict[str, Any]:
        """For programs."""
        return {"passed": self.passed, "words": self.words, **dataclasses.asdict(self)}
