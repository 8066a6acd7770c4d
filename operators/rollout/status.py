"""Where a rollout stands: everything that `decide` remembers between two looks. Pure, and round-trips through JSON.

Kept in a resource's status or in a file; whoever keeps it does not look inside. Transitions are operators.rollout.decide's."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from operators.rollout.evidence import Tally
from operators.rollout.spec import ExperimentSpec, GateName, Revision, RolloutSpec, Value

Text = Annotated[str, Field(max_length=2048)]


class Phase(StrEnum):
    """The one word for where it stands."""

    HEALTHY = "Healthy"
    """Stable serves all; nothing is under way."""
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    """Waits for people: a pause step without duration, an approval, `pause`, or an inconclusive analysis."""
    ABORTED = "Aborted"
    """Stable serves all; the candidate was worse, or somebody aborted. `retry` or a new revision starts anew."""
    EXPERIMENT = "Experiment"
    """Named variants run side by side."""


class Verdict(StrEnum):
    """Of the evidence; five, never two."""

    BETTER = "better"
    NO_WORSE = "no_worse"
    WORSE = "worse"
    UNDECIDED = "undecided"
    INVALID = "invalid"


class GateView(Value):
    """One gate at the last look, for people."""

    name: str
    verdict: Verdict = Verdict.UNDECIDED
    e_worse: float = 1.0
    """E-value against `no worse than the margin`; 1/alpha and more: worse."""
    e_no_worse: float = 1.0
    """E-value against `worse than the margin`; 1/beta and more: no worse."""
    stable: tuple[int, int] = (0, 0)
    """(n, k) of the baseline."""
    candidate: tuple[int, int] = (0, 0)
    stable_interval: tuple[float, float] | None = None
    """Anytime-valid confidence sequence of the proportion."""
    candidate_interval: tuple[float, float] | None = None
    more: int | None = None
    """About how many more candidate requests until a verdict, if the estimates hold; None: unknown or not needed."""
    reason: Text = ""


class Assessment(Value):
    """All gates together at one look."""

    verdict: Verdict = Verdict.UNDECIDED
    reason: Text = ""
    gates: tuple[GateView, ...] = ()
    requests: int = 0
    """Candidate requests behind it (live and mirrored)."""
    more: int | None = None
    """About how many more candidate requests the slowest gate needs."""
    at: datetime | None = None


class Target(Value):
    """What a backend should make true. Whole and declarative: carrying it out twice is the same as once."""

    stable: Revision
    variants: tuple["TargetVariant", ...] = ()
    latency_objective_ms: float = 100.0
    replicas: int | None = None
    """None: the autoscaler's own choice."""


class TargetVariant(Value):
    """One revision beside stable."""

    name: str
    revision: Revision
    weight: float = 0.0
    mirror: float = 0.0


class Request(Value):
    """A verb somebody said. Handled once, by id."""

    id: Annotated[str, Field(max_length=64)]
    verb: Literal["promote", "promote-full", "pause", "resume", "abort", "retry", "undo", "approve", "restart", "conclude"]
    by: Annotated[str, Field(max_length=253)]
    why: Annotated[str, Field(max_length=1024)] = ""
    at: datetime
    args: Mapping[str, str] = Field(default_factory=dict)


class HistoryEntry(Value):
    """One move and what was behind it."""

    at: datetime
    move: str
    """start, setWeight, mirror, pause, resume, calibrate, promote, abort, approve, undo, retry, conclude..."""
    step: int | None = None
    weight: float | None = None
    by: str = "operator"
    reason: Text = ""
    assessment: Assessment | None = None
    """The evidence at that moment, if the move rests on it."""


class Approval(Value):
    """One person's yes."""

    by: str
    at: datetime
    why: str = ""


class VariantReport(Value):
    """One variant of an experiment: what it did by the experiment's metric."""

    name: str
    revision: str
    """Digest."""
    n: int = 0
    k: int = 0
    rate: float | None = None
    """k of n; None: nothing was measured."""
    interval: tuple[float, float] | None = None
    """Anytime-valid, all variants together at the analysis' alpha."""
    difference: tuple[float, float] | None = None
    """Interval of its rate less the baseline's; None for the baseline itself, or if nothing was measured."""
    stopped: Text | None = None
    """Why a guard took its traffic, if one did."""


class ExperimentReport(Value):
    """What an experiment showed, so far or in the end. It promotes nothing."""

    metric: GateName
    goal: Literal["lower", "higher"]
    started: datetime
    at: datetime
    is_final: bool = False
    variants: tuple[VariantReport, ...] = ()
    """The first is the baseline."""
    winner: str | None = None
    """Name of the variant that beats every other; None: no winner (yet)."""
    reason: Text = ""


class FinishedRollout(Value):
    """A rollout that ended."""

    candidate: Revision
    stable: Revision | None
    """What it was to replace; None: it was the first."""
    started: datetime
    ended: datetime
    outcome: Literal["promoted", "aborted", "superseded", "undone", "concluded"]
    by: str = "operator"
    reason: Text = ""
    moves: tuple[HistoryEntry, ...] = ()
    """The newest 40."""
    report: ExperimentReport | None = None
    """Of an experiment (its candidate is the first variant that is not the baseline)."""


class RolloutStatus(Value):
    """All of it."""

    phase: Phase = Phase.HEALTHY
    stable: Revision | None = None
    """What serves everybody the split does not give away."""
    candidate: Revision | None = None
    candidate_wanted: Revision | None = None
    """The candidate as it was asked for, where alertBudget set a threshold of its own."""
    stable_wanted: Revision | None = None
    """Stable as it was asked for, where alertBudget set a threshold of its own."""
    seen: str | None = None
    """Digest of the revision that the spec asked for when it was last acted on. Another digest is a change of the spec; the same
    one is not, so what was aborted or undone is not tried again by itself."""
    policy: RolloutSpec | None = None
    """Steps and gates as they were when the rollout started. It keeps to them: an edited policy counts from the next start, or
    from `restart`; judging half a rollout by one margin and half by another would bound nothing."""
    experiment: ExperimentSpec | None = None
    """The experiment under way."""
    experiment_seen: str | None = None
    """Digest of the experiment that the spec asked for when it was last acted on."""
    variant_assessments: Mapping[str, Assessment] = Field(default_factory=dict)
    """An experiment's guards at the last look, by variant; the baseline has none."""
    stopped: Mapping[str, Text] = Field(default_factory=dict)
    """An experiment's variants that lost their traffic to the baseline, and why."""
    report: ExperimentReport | None = None
    """Of the experiment under way, or of the last one."""
    step_index: int = 0
    step_started: datetime | None = None
    started: datetime | None = None
    started_by: str = "operator"
    weight: float = 0.0
    mirror: float = 0.0
    split_since: datetime | None = None
    """When weight, mirror or an experiment's split last changed. Traffic follows a moment later: until the evidence is all from
    after it, the expected split is unknown and the sample ratio is not tested."""
    requests_before: int = 0
    """The candidate's requests when the step under way began; an analysis step counts from there."""
    full_by: str | None = None
    """Who said promote-full: every step but approvals passes, and the evidence does not have to."""
    is_inconclusive: bool = False
    """The analysis step under way gave up waiting; people decide."""
    undo_of: str | None = None
    """Digest of the promoted revision that this rollout takes back."""
    variants: tuple[TargetVariant, ...] = ()
    """An experiment's split as it stands."""
    min_replicas: int | None = None
    """Set by setReplicas for as long as the rollout lasts."""
    is_ready: bool = False
    """Every replica has the candidate loaded, probed and warm."""
    paused_by: str | None = None
    waiting_for: Text = ""
    """For people and the WAITING-FOR column; empty: nothing."""
    message: Text = ""
    """Why the phase is what it is."""
    assessment: Assessment = Assessment()
    approvals: tuple[Approval, ...] = ()
    ledger: Mapping[str, Any] = Field(default_factory=dict)
    """Judge's memory: counters last seen per replica, e-processes. Only operators.rollout.judge reads it."""
    totals: Mapping[str, Tally] = Field(default_factory=dict)
    """What the variants have done since the evidence began, by `variant@revision`, summed over replicas, also gone ones."""
    former: Revision | None = None
    """Stable before the last promotion, kept loaded within the rollback window."""
    promoted_at: datetime | None = None
    aborted_revision: str | None = None
    """Digest of the candidate that was aborted: it is not tried again by itself."""
    moves: tuple[HistoryEntry, ...] = ()
    """Of the rollout under way."""
    history: tuple[FinishedRollout, ...] = ()
    handled: tuple[str, ...] = ()
    """Ids of the requests already acted on, the newest last."""
    last_progress: datetime | None = None
    """The last move that changed step, weight or revision, or the end of a wait for people."""
    is_overdue: bool = False
    """No progress for longer than the policy's progressDeadline."""

    @property
    def is_under_way(self) -> bool:
        """Whether a rollout (not an experiment) is."""
        return self.candidate is not None and self.phase in (Phase.PROGRESSING, Phase.PAUSED)

    @property
    def wanted(self) -> Revision | None:
        """The candidate as the spec asks for it."""
        return self.candidate_wanted or self.candidate

    def is_stable(self, digest: str) -> bool:
        """Whether the spec's revision `digest` is what stable serves, with or without a threshold set by alertBudget."""
        return digest in {r.digest for r in (self.stable, self.stable_wanted) if r is not None}
