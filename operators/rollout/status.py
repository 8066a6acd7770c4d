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
"""Default time, in milliseconds, beyond which a request counts as slow in the evidence."""


class Phase(StrEnum):
    """State of a rollout, in one word."""

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
    """Name of the gate: the proportion that is compared, e.g. `alertRate`."""
    verdict: Verdict = Verdict.UNDECIDED
    """Verdict of this gate's evidence."""
    e_worse: float = 1.0
    """E-value against `no worse than the margin`; 1/alpha and more: worse."""
    e_no_worse: float = 1.0
    """E-value against `worse than the margin`; 1/beta and more: no worse."""
    stable: tuple[int, int] = (0, 0)
    """Observations and bad events among them (n, k) of the baseline."""
    candidate: tuple[int, int] = (0, 0)
    """Observations and bad events among them (n, k) of the candidate."""
    stable_interval: tuple[float, float] | None = None
    """Anytime-valid confidence interval of the baseline's proportion."""
    candidate_interval: tuple[float, float] | None = None
    """Anytime-valid confidence interval of the candidate's proportion."""
    more: int | None = None
    """About how many more candidate requests until a verdict, if the estimates hold; None: unknown or not needed."""
    reason: Text = ""
    """Reason of the verdict."""


class Assessment(Value):
    """All gates together at one look."""

    verdict: Verdict = Verdict.UNDECIDED
    """Worse if one gate says so; no worse (or better) if all do."""
    reason: Text = ""
    """The gate that decided, and why."""
    gates: tuple[GateView, ...] = ()
    """Evidence and verdict of each gate."""
    requests: int = 0
    """Number of candidate requests in the evidence, live and mirrored."""
    more: int | None = None
    """About how many more candidate requests the slowest gate needs."""
    at: datetime | None = None
    """Time of this look at the evidence."""


class Target(Value):
    """The state that a backend should reach: stable, the variants and their weights. Carrying it out twice is the same as once."""

    stable: Revision
    """Serves the entities that no variant gets."""
    variants: tuple["TargetVariant", ...] = ()
    """The other loaded revisions, each with its share of the entities."""
    latency_objective_ms: float | None = LATENCY_OBJECTIVE_MS
    """A request that takes longer counts as slow in the evidence. None: the policy is not known; the objective stays as it is."""
    replicas: int | None = None
    """Number of replicas. None: the autoscaler chooses."""

    def objective_ms(self, served: ModelSpec | None) -> float:
        """The latency objective of a model that is served so now; None: it is not served."""
        if self.latency_objective_ms is not None:
            return self.latency_objective_ms
        return served.latency_objective_ms if served is not None else LATENCY_OBJECTIVE_MS

    def serving(self, model: str, served: ModelSpec | None = None) -> ModelSpec:
        """The specification of this model for replicas that hold every variant. served: the specification that they got last."""
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
    """Name of the variant in answers and metrics."""
    revision: Revision
    """The revision that the variant serves."""
    weight: float = 0.0
    """Percentage of entities that the variant answers."""
    mirror: float = 0.0
    """Percentage of stable's requests of which the variant scores a copy."""


class VerbRequest(Value):
    """A verb that a person requested. Handled once, by id."""

    id: Annotated[str, Field(max_length=64)]
    """Identifier of the request, made by the requester."""
    verb: Literal[
        "promote", "promote-full", "pause", "resume", "abort", "retry", "undo", "restart", "conclude",
        "approve", "reject", "break-glass", "review",
    ]  # fmt: skip
    """The verb to carry out."""
    by: Annotated[str, Field(max_length=253)]
    """Person who requested the verb."""
    why: Annotated[str, Field(max_length=1024)] = ""
    """Reason that the person gave."""
    at: datetime
    """Time of the request."""
    args: Mapping[str, str] = Field(default_factory=dict)
    """Further arguments, by verb."""


class HistoryEntry(Value):
    """One move of a rollout, its author, its reason and its evidence."""

    at: datetime
    """Time of the move."""
    move: str
    """start, setWeight, mirror, pause, resume, calibrate, promote, abort, approve, undo, retry, conclude..."""
    step: int | None = None
    """Step in which the move was made, from 1."""
    weight: float | None = None
    """Weight of the candidate after the move."""
    by: str = "operator"
    """Author of the move: `operator` or a person."""
    reason: Text = ""
    """Reason of the move."""
    assessment: Assessment | None = None
    """The evidence at that moment, if the move rests on it."""


class Approval(Value):
    """One person's approval of the current approval step."""

    by: str
    """Person who approved."""
    at: datetime
    """Time of the approval."""
    why: str = ""
    """Reason that the person gave."""
    role: str | None = None
    """Role in which the person approved."""
    expires: datetime | None = None
    """Time at which the approval expires; unset: never."""
    note: str = ""
    """The signed note of the approval; empty: it is not signed."""


class BreakGlassUse(Value):
    """An approval step that one person passed alone, in an emergency."""

    by: str
    """Person who passed the step."""
    at: datetime
    """Time at which the step was passed."""
    why: str
    """Reason that the person gave."""
    role: str | None = None
    """Role that allows the person to do this."""
    revision: str
    """Digest of the revision that passed."""
    attempt: str = ""
    """The start of the rollout to which the step belongs."""
    step: int
    """Number of the passed step, from 1."""


class VariantReport(Value):
    """One variant of an experiment, with its figures in the experiment's metric."""

    name: str
    """Name of the variant."""
    revision: str
    """Digest of the revision that the variant serves."""
    n: int = 0
    """Number of observations in the metric."""
    k: int = 0
    """Number of bad events among the observations."""
    rate: float | None = None
    """Share of bad events, k / n. None: nothing was measured."""
    interval: tuple[float, float] | None = None
    """Anytime-valid interval of the rate; all variants together keep the analysis' alpha."""
    difference: tuple[float, float] | None = None
    """Interval of its rate less the baseline's; None for the baseline itself, or if nothing was measured."""
    stopped: Text | None = None
    """Reason why a guard took the variant's traffic, if one did."""


class ExperimentReport(Value):
    """What an experiment showed, so far or in the end. It promotes nothing."""

    metric: GateName
    """Gate by which the winner is chosen."""
    goal: Literal["lower", "higher"]
    """Whether a lower or a higher rate is better."""
    started: datetime
    """Time at which the experiment began."""
    at: datetime
    """Time at which this report was made."""
    is_final: bool = False
    """Whether the experiment has ended."""
    variants: tuple[VariantReport, ...] = ()
    """Figures of each variant; the first is the baseline."""
    winner: str | None = None
    """Name of the variant that beats every other; None: no winner (yet)."""
    reason: Text = ""
    """Reason of the result."""


class FinishedRollout(Value):
    """A rollout that has ended, with its moves."""

    candidate: Revision
    """The revision that was rolled out."""
    stable: Revision | None
    """The revision that it should replace. None: there was none before."""
    started: datetime
    """Time at which the rollout began."""
    ended: datetime
    """Time at which the rollout ended."""
    outcome: Literal["promoted", "aborted", "superseded", "undone", "concluded"]
    """Result of the rollout."""
    by: str = "operator"
    """Person who ended the rollout, or `operator`."""
    reason: Text = ""
    """Reason of the result."""
    moves: tuple[HistoryEntry, ...] = ()
    """The first and the newest 39; fewer, and without their evidence, where the status would become too large."""
    report: ExperimentReport | None = None
    """Report of an experiment. Its candidate is the first variant that is not the baseline."""


class RolloutStatus(Value):
    """Everything that is remembered of a service's rollouts and experiments between two looks."""

    phase: Phase = Phase.HEALTHY
    """State of the rollout, in one word."""
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
    """The experiment that is under way."""
    experiment_seen: str | None = None
    """Digest of the experiment that the spec asked for when it was last acted on."""
    variant_assessments: Mapping[str, Assessment] = Field(default_factory=dict)
    """An experiment's guards at the last look, by variant; the baseline has none."""
    stopped: Mapping[str, Text] = Field(default_factory=dict)
    """An experiment's variants that lost their traffic to the baseline, and why."""
    report: ExperimentReport | None = None
    """Report of the experiment under way, or of the last one."""
    step_index: int = 0
    """Number of the step under way, from 0."""
    step_started: datetime | None = None
    """Time at which the step under way began."""
    started: datetime | None = None
    """Time at which the rollout began."""
    started_by: str = "operator"
    """Person who began the rollout, or `operator`."""
    weight: float = 0.0
    """Percentage of entities that the candidate answers."""
    mirror: float = 0.0
    """Percentage of requests that are mirrored to the candidate."""
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
