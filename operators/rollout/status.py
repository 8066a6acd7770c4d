"""Where a rollout stands: everything that `decide` remembers between two looks. Pure, and round-trips through JSON.

Stored in a resource's status or in a file. operators.rollout.decide chooses the move, operators.rollout.transitions applies it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from operators.rollout.evidence import Tally
from operators.rollout.spec import ExperimentSpec, GateName, Revision, RolloutSpec
from operators.values import Value
from serving.spec import ModelSpec, VariantSpec

Text = Annotated[str, Field(max_length=2048)]
LATENCY_OBJECTIVE_MS: Final = 100.0
"""The default."""


class Phase(StrEnum):
    """Where the rollout stands, in one word."""

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
    """Verdict of the evidence. There are five: `undecided` and `invalid` are neither good nor bad."""

    BETTER = "better"
    NO_WORSE = "no_worse"
    WORSE = "worse"
    UNDECIDED = "undecided"
    INVALID = "invalid"


class GateView(Value):
    """One gate at the last look, for people."""

    name: str
    """Which proportion."""
    verdict: Verdict = Verdict.UNDECIDED
    """What the evidence says."""
    e_worse: float = 1.0
    """E-value against `no worse than the margin`; 1/alpha and more: worse."""
    e_no_worse: float = 1.0
    """E-value against `worse than the margin`; 1/beta and more: no worse."""
    stable: tuple[int, int] = (0, 0)
    """(n, k) of the baseline."""
    candidate: tuple[int, int] = (0, 0)
    """(n, k) of the candidate."""
    stable_interval: tuple[float, float] | None = None
    """Anytime-valid confidence sequence of the proportion."""
    candidate_interval: tuple[float, float] | None = None
    """The same of the candidate."""
    more: int | None = None
    """About how many more candidate requests until a verdict, if the estimates hold; None: unknown or not needed."""
    reason: Text = ""
    """Why the verdict is what it is."""


class Assessment(Value):
    """All gates together at one look."""

    verdict: Verdict = Verdict.UNDECIDED
    """Worse if one gate says so; no worse (or better) if all do."""
    reason: Text = ""
    """Which gate, and why."""
    gates: tuple[GateView, ...] = ()
    """Each on its own."""
    requests: int = 0
    """Candidate requests behind it (live and mirrored)."""
    more: int | None = None
    """About how many more candidate requests the slowest gate needs."""
    at: datetime | None = None
    """When it was looked at."""


class Target(Value):
    """What a backend should make true. Whole and declarative: carrying it out twice is the same as once."""

    stable: Revision
    """Serves the entities that no variant gets."""
    variants: tuple["TargetVariant", ...] = ()
    """The other loaded revisions, each with its share of the entities."""
    latency_objective_ms: float | None = LATENCY_OBJECTIVE_MS
    """A request that takes longer counts as slow in the evidence. None: the policy is not known; the objective stays as it is."""
    replicas: int | None = None
    """None: the autoscaler's own choice."""

    def objective_ms(self, served: ModelSpec | None) -> float:
        """The latency objective of a model that is served so now; None: it is not served."""
        if self.latency_objective_ms is not None:
            return self.latency_objective_ms
        return served.latency_objective_ms if served is not None else LATENCY_OBJECTIVE_MS

    def serving(self, model: str, served: ModelSpec | None = None) -> ModelSpec:
        """What replicas that hold every variant are told of this model. served: what they were told last."""
        return ModelSpec(
            name=model,
            version=self.stable.version,
            revision=self.stable.serving(),
            variants=tuple(
                VariantSpec(
                    name=v.name, version=v.revision.version, revision=v.revision.serving(), weight=v.weight, mirror=v.mirror
                )
                for v in self.variants
            ),
            latency_objective_ms=self.objective_ms(served),
        )


class TargetVariant(Value):
    """One revision beside stable."""

    name: str
    """Names it in answers and metrics."""
    revision: Revision
    """What it serves."""
    weight: float = 0.0
    """Percentage of entities that meet it."""
    mirror: float = 0.0
    """Percentage of stable's requests that it scores a copy of."""


class VerbRequest(Value):
    """A verb that a person requested. Handled once, by id."""

    id: Annotated[str, Field(max_length=64)]
    """Its identity, made by the requester."""
    verb: Literal[
        "promote", "promote-full", "pause", "resume", "abort", "retry", "undo", "restart", "conclude",
        "approve", "reject", "break-glass", "review",
    ]  # fmt: skip
    """The verb."""
    by: Annotated[str, Field(max_length=253)]
    """Who requested it."""
    why: Annotated[str, Field(max_length=1024)] = ""
    """Why."""
    at: datetime
    """When it was requested."""
    args: Mapping[str, str] = Field(default_factory=dict)
    """Further arguments, by verb."""


class HistoryEntry(Value):
    """One move and what was behind it."""

    at: datetime
    """When."""
    move: str
    """start, setWeight, mirror, pause, resume, calibrate, promote, abort, approve, undo, retry, conclude..."""
    step: int | None = None
    """Step it was made in, from 1."""
    weight: float | None = None
    """Weight after it."""
    by: str = "operator"
    """Who made it."""
    reason: Text = ""
    """Why."""
    assessment: Assessment | None = None
    """The evidence at that moment, if the move rests on it."""


class Approval(Value):
    """One person's approval."""

    by: str
    """Who."""
    at: datetime
    """When."""
    why: str = ""
    """Why."""
    role: str | None = None
    """In which role."""
    expires: datetime | None = None
    """When it lapses; unset: it does not."""
    note: str = ""
    """The signed note; empty: it is not signed."""


class BreakGlassUse(Value):
    """An approval step that one person passed alone, in an emergency."""

    by: str
    """Who."""
    at: datetime
    """When."""
    why: str
    """Why."""
    role: str | None = None
    """The role that allows it."""
    revision: str
    """Digest of the revision that passed."""
    attempt: str = ""
    """Which start of the rollout."""
    step: int
    """The step, from 1."""


class VariantReport(Value):
    """One variant of an experiment: what it did by the experiment's metric."""

    name: str
    """Names it."""
    revision: str
    """Digest."""
    n: int = 0
    """Observations."""
    k: int = 0
    """Bad events among them."""
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
    """What the winner is judged by."""
    goal: Literal["lower", "higher"]
    """Which way is better."""
    started: datetime
    """When the experiment began."""
    at: datetime
    """When this was judged."""
    is_final: bool = False
    """Whether the experiment has ended."""
    variants: tuple[VariantReport, ...] = ()
    """The first is the baseline."""
    winner: str | None = None
    """Name of the variant that beats every other; None: no winner (yet)."""
    reason: Text = ""
    """Why this is the result."""


class FinishedRollout(Value):
    """A rollout that ended."""

    candidate: Revision
    """What was rolled out."""
    stable: Revision | None
    """What it was to replace; None: it was the first."""
    started: datetime
    """When it began."""
    ended: datetime
    """When it ended."""
    outcome: Literal["promoted", "aborted", "superseded", "undone", "concluded"]
    """How it ended."""
    by: str = "operator"
    """Who or what ended it."""
    reason: Text = ""
    """Why it ended so."""
    moves: tuple[HistoryEntry, ...] = ()
    """The first and the newest 39; fewer, and without their evidence, where the status would become too large."""
    report: ExperimentReport | None = None
    """Of an experiment (its candidate is the first variant that is not the baseline)."""


class RolloutStatus(Value):
    """Everything that is remembered of a service's rollouts and experiments between two looks."""

    phase: Phase = Phase.HEALTHY
    """Where it stands."""
    stable: Revision | None = None
    """The revision that serves every entity outside the split."""
    candidate: Revision | None = None
    """The revision being rolled out, if any."""
    candidate_wanted: Revision | None = None
    """The candidate as it was asked for, where alertBudget set a threshold of its own."""
    stable_wanted: Revision | None = None
    """Stable as it was asked for, where alertBudget set a threshold of its own."""
    seen: str | None = None
    """Digest of the revision that the spec asked for when it was last acted on. Another digest is a change of the spec; the same
    one is not, so what was aborted or undone is not tried again by itself."""
    policy: RolloutSpec | None = None
    """Steps and gates as they were when the rollout started. An edited policy counts from the next start or `restart`: judging half a
    rollout by one margin and half by another would bound nothing."""
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
    """Step under way, from 0."""
    step_started: datetime | None = None
    """When that step began."""
    started: datetime | None = None
    """When the rollout began."""
    started_by: str = "operator"
    """Who began it."""
    weight: float = 0.0
    """Percentage of entities that meet the candidate."""
    mirror: float = 0.0
    """Percentage of requests mirrored to it."""
    split_since: datetime | None = None
    """When weight, mirror or an experiment's split last changed; an experiment's duration counts from its split."""
    requests_before: int = 0
    """The candidate's requests when the step under way began; an analysis step counts from there."""
    full_by: str | None = None
    """Who requested promote-full: every step but approvals passes without evidence."""
    is_inconclusive: bool = False
    """The analysis step under way reached its maxDuration; people decide."""
    undo_of: str | None = None
    """Digest of the promoted revision that this rollout takes back."""
    variants: tuple[TargetVariant, ...] = ()
    """An experiment's split as it stands."""
    min_replicas: int | None = None
    """Set by setReplicas for as long as the rollout lasts."""
    is_ready: bool = False
    """Every replica has the candidate loaded, probed and warm."""
    paused_by: str | None = None
    """Who paused it; unset: nobody did."""
    waiting_for: Text = ""
    """For people and the WAITING-FOR column; empty: nothing."""
    message: Text = ""
    """Why the phase is what it is."""
    assessment: Assessment = Assessment()
    """What the evidence said at the last look."""
    approvals: tuple[Approval, ...] = ()
    """Of the step under way."""
    attempt: str = ""
    """Which start of a rollout this is: an approval of an earlier one does not count."""
    break_glass: tuple[BreakGlassUse, ...] = ()
    """Steps that somebody passed alone in an emergency, until somebody else has reviewed it."""
    ledger: Mapping[str, Any] = Field(default_factory=dict)
    """Judge's memory: counters last seen per replica, e-processes. Only operators.rollout.judging.judge reads it."""
    totals: Mapping[str, Tally] = Field(default_factory=dict)
    """What the variants have done since the evidence began, by `variant@revision`, summed over replicas, also gone ones."""
    former: Revision | None = None
    """Stable before the last promotion, kept loaded within the rollback window."""
    promoted_at: datetime | None = None
    """When that promotion was."""
    aborted_revision: str | None = None
    """Digest of the candidate that was aborted: it is not tried again by itself."""
    moves: tuple[HistoryEntry, ...] = ()
    """Of the rollout under way."""
    history: tuple[FinishedRollout, ...] = ()
    """Rollouts that ended, the newest first."""
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


UNDER_WAY_FIELDS: Final = (
    "candidate", "candidate_wanted", "policy", "weight", "mirror", "split_since", "step_index", "step_started",
    "requests_before", "full_by", "is_inconclusive", "undo_of", "min_replicas", "is_ready", "paused_by", "approvals", "attempt",
    "ledger", "totals", "is_overdue", "last_progress", "variants", "experiment", "variant_assessments", "stopped",
)  # fmt: skip
"""Fields that describe the rollout or experiment under way."""
NOTHING_UNDER_WAY: Final[Mapping[str, Any]] = {name: getattr(RolloutStatus(), name) for name in UNDER_WAY_FIELDS}
"""Their values when nothing is under way: what the end of a rollout or experiment resets."""
