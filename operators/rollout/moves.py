"""What one look at a rollout can lead to: the moves, each with its reason. Pure values.

Which move is made is operators.rollout.decide's; what it changes, operators.rollout.transitions'."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from operators.rollout.spec import ExperimentSpec, Revision
from operators.rollout.status import Assessment, ExperimentReport, Phase, TargetVariant


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """reason: why, for people. by: who. request: id of the verb that this answers. assessment: the evidence it rests on, if it does."""

    reason: str = ""
    by: str = "operator"
    request: str | None = None
    assessment: Assessment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Move):
    """Nothing moves. waiting_for: what for; empty: nothing."""

    phase: Phase
    waiting_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Move):
    """Begin with `revision` as the candidate; what is under way ends as superseded.

    seen: digest the spec asks for, if the spec is why. is_full: no steps and no evidence, only loading. undo_of: what it
    takes back. how: for people."""

    revision: Revision
    seen: str | None = None
    is_full: bool = False
    undo_of: str | None = None
    started_by: str | None = None
    how: Literal["start", "retry", "restart", "undo"] = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(Move):
    """The spec asks for what is there already: only take note of it."""

    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMirror(Move):
    """The candidate scores copies of `percent` of stable's requests."""

    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight(Move):
    """`weight` percent of entities meet the candidate; more than before."""

    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas(Move):
    """No fewer replicas than this while the rollout lasts."""

    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrate(Move):
    """The candidate's threshold is set by its alert budget: `revision` is what is judged from here on, from nothing."""

    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Move):
    """The step is done; the next one begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp(Move):
    """The analysis step waited long enough: inconclusive, people decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOn(Move):
    """An inconclusive analysis waits anew, because somebody said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue(Move):
    """No progress within the deadline; reported once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Move):
    """Somebody paused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Move):
    """Somebody lets it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(Move):
    """Somebody's yes. at: when it was said."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteFull(Move):
    """Somebody takes the evidence's place: every step but approvals passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Move):
    """The candidate becomes stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort(Move):
    """Stable serves all, at once. seen: digest the spec asks for, if the spec is why. is_settled: stable is what the spec asks for,
    so nothing is left to retry."""

    seen: str | None = None
    is_settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Move):
    """The former stable is stable again, at once. seen: digest the spec asks for, if the spec is why."""

    seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartExperiment(Move):
    """Load the variants; they get their traffic once every replica has them."""

    experiment: ExperimentSpec
    variants: tuple[TargetVariant, ...]
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTraffic(Move):
    """The experiment's variants get their traffic."""

    variants: tuple[TargetVariant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopVariant(Move):
    """A guard takes a variant's traffic to the baseline; the other variants keep their entities."""

    name: str
    variants: tuple[TargetVariant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude(Move):
    """The experiment is over: stable serves all, the report stays."""

    report: ExperimentReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetExperiment(Move):
    """The spec asks for no experiment any more: the same one may be asked for again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Move):
    """A verb that makes no sense now, and what would. It is handled all the same."""

    verb: str


class IllegalMove(Exception):
    """A move that the rules do not allow here: a fault of the caller. The message says which rule."""


def require(condition: bool, rule: str) -> None:
    """Raises IllegalMove with the rule unless it holds."""
    if not condition:
        raise IllegalMove(rule)
