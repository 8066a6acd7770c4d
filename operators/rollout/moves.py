"""What one look at a rollout can lead to: the moves, each with its reason. Pure values.

operators.rollout.decide chooses the move, operators.rollout.transitions applies it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from operators.rollout.spec import ExperimentSpec, Revision
from operators.rollout.status import Approval, Assessment, ExperimentReport, Phase, TargetVariant


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step that the rules decide on; each kind is a class below. reason: for people. by: who made it. request: id of the verb
    that it answers. assessment: the evidence behind it, if any."""

    reason: str = ""
    by: str = "operator"
    request: str | None = None
    assessment: Assessment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Move):
    """No move: the rollout waits. waiting_for: what the rollout waits for; empty: nothing."""

    phase: Phase
    waiting_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Move):
    """Begin with `revision` as the candidate; a rollout under way ends as superseded.

    seen: digest that the spec asks for, if the spec caused it. is_full: no steps and no evidence, only loading. undo_of: digest of
    the revision it takes back. how: for people."""

    revision: Revision
    seen: str | None = None
    is_full: bool = False
    undo_of: str | None = None
    started_by: str | None = None
    how: Literal["start", "retry", "restart", "undo"] = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSpec(Move):
    """The spec asks for what is there already; only its digest is recorded."""

    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMirror(Move):
    """The candidate scores copies of `percent` of stable's requests."""

    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight(Move):
    """The candidate serves `weight` percent of the entities, more than before."""

    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas(Move):
    """The least number of replicas while the rollout lasts."""

    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrate(Move):
    """The alert budget sets the candidate's threshold: from now on `revision` is judged, with new evidence."""

    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class PassStep(Move):
    """The step is done; the next one begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkInconclusive(Move):
    """The analysis step reached its maxDuration without a verdict; people decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeAnalysis(Move):
    """A person lets an inconclusive analysis wait once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOverdue(Move):
    """There was no progress within the deadline; reported once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Move):
    """A person pauses the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Move):
    """A person lets it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(Move):
    """A person approves the current approval step. at: when it was requested. approval: as it is kept."""

    at: datetime
    approval: Approval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass(Move):
    """A person passes an approval step alone, in an emergency. role: the one that allows it."""

    at: datetime
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review(Move):
    """Another person has looked at what was passed in an emergency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correct(Move):
    """The status claims more than the log of governed acts shows. is_ended: the rollout ends, and `stable` serves all; else only
    `approvals` are left. settled: digests of the revisions that were ever stable by a recorded act."""

    stable: Revision | None = None
    approvals: tuple[Approval, ...] = ()
    settled: frozenset[str] = frozenset()
    is_ended: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteFull(Move):
    """A person promotes without evidence: every step but approvals passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Move):
    """The candidate becomes stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort(Move):
    """Stable serves all, at once. seen: digest that the spec asks for, if the spec caused it. is_settled: the spec asks for
    stable, so there is nothing to retry. is_rejection: a person who was asked to approve refused."""

    seen: str | None = None
    is_settled: bool = False
    is_rejection: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Move):
    """The former stable is stable again, at once. seen: digest that the spec asks for, if the spec caused it."""

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
    """A guard moves a variant's traffic to the baseline; the other variants keep their entities."""

    name: str
    variants: tuple[TargetVariant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude(Move):
    """The experiment is over: stable serves all, the report stays."""

    report: ExperimentReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetExperiment(Move):
    """The spec names no experiment any more; the same one may start again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Move):
    """A verb cannot be carried out now; the reason says what can. It counts as handled."""

    verb: str


class IllegalMove(Exception):
    """A move that the rules do not allow here: a fault of the caller. The message says which rule."""


def require(condition: bool, rule: str) -> None:
    """Raises IllegalMove with the rule unless it holds."""
    if not condition:
        raise IllegalMove(rule)
