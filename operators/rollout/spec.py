"""How a change of revision is rolled out: steps, gates, limits. The contract of the rollout core.

Pure: frozen values that exist only if they are valid; written in camelCase where people write them (resources, files), see
docs/reference. operators.rollout.decide applies them; operators.rollout.judging.judge judges the evidence.
Words follow Argo Rollouts."""

from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import Field, WrapValidator, model_validator
from pydantic.alias_generators import to_camel

from operators.suppression import Suppression, served_suppressions
from operators.triage import Triage
from operators.values import Duration, RuleBroken, Value, explained, quoted
from serving.spec import MAX_SUPPRESSIONS, RevisionSpec, problem_of_suppressions

Percent = Annotated[float, Field(ge=0, le=100)]
Probability = Annotated[float, Field(gt=0, lt=1)]
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", max_length=31)]


def _percent_of(what: str, example: str) -> WrapValidator:
    return explained("0 to 100", f"write the percentage of {what}, e.g. {example}")


class Revision(Value):
    """One revision of a model: everything that can change an answer. A change to any part is a rollout."""

    version: Annotated[str, Field(pattern=r"^[0-9]{1,18}$", max_length=18)]
    """Version of the model, as in its bundle."""
    bundle: Annotated[
        str,
        Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71),
        explained(
            "a digest, sha256: and 64 hex digits",
            "write the one that `vedette bundle show` prints; a tag can move under a running rollout",
        ),
    ]
    """Digest of the bundle, never a tag: a tag can move under a running rollout."""
    operating_point: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", max_length=63)] | None = None
    """Operating point whose thresholds give the verdict. Unset: the bundle's default."""
    thresholds: Annotated[dict[str, float], Field(max_length=16)] = Field(default_factory=dict)
    """Thresholds that replace the bundle's, by operating point."""
    feature_service: Annotated[str, Field(max_length=253)] | None = None
    """Feature service that replaces the bundle's; it must give the same features."""
    suppressions: Annotated[tuple[Suppression, ...], Field(max_length=MAX_SUPPRESSIONS)] = ()
    """Known causes of false alarms. Of those that hold of an event, the first one counts."""

    triage: Triage | None = None
    """Whether the bundle's triage ends clear cases. Unset: it is off."""

    @model_validator(mode="after")
    def _named_once(self) -> "Revision":
        problem = problem_of_suppressions(self.suppressions)
        if problem is not None:
            raise RuleBroken(problem, "suppressions")
        return self

    def serving(self) -> RevisionSpec:
        """The value for the data plane."""
        return RevisionSpec(
            bundle=self.bundle,
            operating_point=self.operating_point,
            thresholds=self.thresholds,
            feature_service=self.feature_service,
            suppressions=served_suppressions(self.suppressions),
            triage=None if self.triage is None else self.triage.serving(),
        )

    @property
    def digest(self) -> str:
        """Its identity, the same as in the data plane's answers, metrics and records."""
        thresholds = tuple((name, value.hex()) for name, value in self.thresholds.items())
        return _digest(self.bundle, self.operating_point, thresholds, self.feature_service, self.suppressions, self.triage)


@lru_cache(maxsize=256)
def _digest(
    bundle: str,
    operating_point: str | None,
    thresholds: tuple[tuple[str, str], ...],
    feature_service: str | None,
    suppressions: tuple[Suppression, ...],
    triage: Triage | None,
) -> str:
    """Remembered: one look at a rollout asks for the digests of its few revisions dozens of times. thresholds: in hexadecimal."""
    values = {name: float.fromhex(value) for name, value in thresholds}
    return RevisionSpec(
        bundle=bundle,
        operating_point=operating_point,
        thresholds=values,
        feature_service=feature_service,
        suppressions=served_suppressions(suppressions),
        triage=None if triage is None else triage.serving(),
    ).digest


class GateName(StrEnum):
    """The gates; docs/reference/judgement.md has the bad event of each."""

    ERRORS = "errors"
    LATENCY = "latency"
    DEGRADED = "degraded"
    ALERT_RATE = "alertRate"
    FLIPS = "flips"
    PRECISION = "precision"
    RECALL = "recall"
    FAIRNESS = "fairness"


class Gate(Value):
    """One proportion that is compared between stable and candidate."""

    name: GateName
    """The proportion that the gate compares."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How much worse the candidate may be, as an absolute difference of proportions."""
    unit: Literal["request", "entity"] = "request"
    """The unit of one observation: a request (a row, for verdicts), or the first request of each entity. Requests of one entity are similar
    and all go to one variant. If few entities make most of the traffic, the error bounds hold only with `entity`."""
    two_sided: bool | None = None
    """Whether a lower proportion is a fault too (too few alerts, not only too many). Default: true for alertRate and fairness only."""
    by: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,30}$", max_length=31)] | None = None
    """For `fairness`: the column of the segment mapping whose segments are compared. Unset: all columns."""

    @property
    def is_two_sided(self) -> bool:
        """The choice, or its default."""
        return self.name in (GateName.ALERT_RATE, GateName.FAIRNESS) if self.two_sided is None else self.two_sided

    @model_validator(mode="after")
    def _segmented(self) -> "Gate":
        if self.by is not None and self.name is not GateName.FAIRNESS:
            raise RuleBroken(
                f"is {self.by!r}, and only the gate fairness compares segments; take `by` out of {self.name}", "by"
            )
        return self


class Analysis(Value):
    """The gates that judge the candidate, and their error bounds. The tests run continuously and are valid at every look."""

    gates: Annotated[tuple[Gate, ...], Field(min_length=1, max_length=8)] = (
        Gate(name=GateName.ERRORS, margin=0.01),
        Gate(name=GateName.LATENCY, margin=0.02),
        Gate(name=GateName.ALERT_RATE, margin=0.02),
    )
    """The gates. The verdict worse of one gate aborts the rollout. A step passes if the verdict of every gate is no_worse or better."""
    alpha: Probability = 0.05
    """Bound on the probability that a sound candidate ever gets the verdict worse, over all gates and looks together."""
    beta: Probability = 0.05
    """Bound on the probability that a candidate beyond its margin ever gets the verdict no_worse."""
    combine: Literal["bonferroni", "average"] = "bonferroni"
    """How gates share alpha: each gate gets a part of it, or the e-values are averaged."""
    min_requests: Annotated[int, Field(ge=0, le=1_000_000_000)] = 100
    """Minimum number of candidate requests before the verdict no_worse counts."""
    stale_after: Duration = timedelta(seconds=60)
    """Maximum age of evidence. Older evidence is invalid."""
    latency_objective: Duration = timedelta(milliseconds=100)
    """Latency objective: a request that takes longer counts as slow."""

    @property
    def entity_gates(self) -> tuple[str, ...]:
        """Names of the gates whose observations are entities."""
        return tuple(g.name for g in self.gates if g.unit == "entity")

    @model_validator(mode="after")
    def _distinct(self) -> "Analysis":
        names = [g.name for g in self.gates]
        if len(set(names)) != len(names):
            raise RuleBroken(f"gates {quoted(names)} repeat a name; name each once", "gates")
        return self


class MirrorStep(Value):
    """The candidate scores copies of stable's requests, after stable has answered. Clients never get the candidate's answers."""

    percent: Annotated[Percent, _percent_of("requests that are mirrored", "percent: 100")] = 100.0
    """Share of requests that are mirrored."""


class PauseStep(Value):
    """Wait for a duration, or, without one, until a person promotes."""

    duration: Duration | None = None
    """Length of the pause. Unset: until a person promotes."""


class AnalysisStep(Value):
    """Wait until the verdict of every gate is no_worse or better. The verdict worse aborts the rollout."""

    min_requests: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    """Replaces the `minRequests` of the analysis for this step."""
    max_duration: Duration | None = None
    """Maximum wait. After it the rollout pauses as inconclusive: the candidate is neither promoted nor aborted."""


GroupNames = Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=16)]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", max_length=63)]
RoleNames = Annotated[tuple[RoleName, ...], Field(max_length=16)]


class ApprovalStep(Value):
    """Wait until people approve."""

    approvers: Annotated[int, Field(ge=1, le=16)] = 1
    """How many different people must approve. An approval by the person who started the rollout does not count."""
    groups: GroupNames = ()
    """Groups whose members may approve. Empty: everyone who may edit the resource."""
    roles: RoleNames = ()
    """One approval in each of these roles, by different people. Approvals by the people who trained, pushed or promoted the bundle do not
    count then."""
    valid_for: Duration | None = None
    """Time after which an approval expires. Unset: when the rollout ends."""
    reason_required: bool = False
    """Whether an approval needs a reason."""
    signed: bool = False
    """Whether only signed approvals count. A person with a known key must always sign."""
    break_glass_roles: RoleNames = ()
    """Roles that may pass this step alone in an emergency, with a reason (break-glass). An alarm stays on until the use is reviewed. Empty:
    break-glass is not allowed."""


class ReplicasStep(Value):
    """Keep at least this number of replicas during the rollout."""

    replicas: Annotated[int, Field(ge=0, le=1000)]
    """Minimum number of replicas."""


class Step(Value):
    """One step; exactly one of its fields is set."""

    mirror: MirrorStep | None = None
    """Mirror: send the candidate copies of requests."""
    set_weight: Annotated[Percent, _percent_of("entities that meet the candidate", "setWeight: 20")] | None = None
    """Percentage of entities that the candidate serves, 0 to 100. 0 is dark: only requests that name the candidate reach it."""
    pause: PauseStep | None = None
    """Pause: wait for a duration or for a person."""
    analysis: AnalysisStep | None = None
    """Analysis: wait for enough evidence."""
    approval: ApprovalStep | None = None
    """Approval: wait until people approve."""
    set_replicas: ReplicasStep | None = None
    """Keep at least this number of replicas ready."""

    @model_validator(mode="after")
    def _one(self) -> "Step":
        chosen = [
            n for n in ("mirror", "set_weight", "pause", "analysis", "approval", "set_replicas") if getattr(self, n) is not None
        ]
        if len(chosen) != 1:
            raise RuleBroken(
                f"a step does one thing, this one says {quoted(map(to_camel, chosen))}; "
                "write exactly one of mirror, setWeight, pause, analysis, approval, setReplicas"
            )
        return self

    @property
    def what(self) -> "MirrorStep | float | PauseStep | AnalysisStep | ApprovalStep | ReplicasStep":
        """The one thing it does; a number is a weight."""
        each = (self.mirror, self.set_weight, self.pause, self.analysis, self.approval, self.set_replicas)
        return next(e for e in each if e is not None)

    @property
    def kind(self) -> str:
        """Its camelCase name."""
        names = ("mirror", "set_weight", "pause", "analysis", "approval", "set_replicas")
        return next(to_camel(n) for n in names if getattr(self, n) is not None)


class AlertBudget(Value):
    """Compare at equal numbers of alerts instead of equal thresholds. The candidate's threshold is set on mirrored scores so that both
    variants raise the same number of alerts a day. A mirror step must come first."""

    min_requests: Annotated[int, Field(ge=100, le=1_000_000_000)] = 2000
    """Minimum number of mirrored rows before the threshold is set."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Maximum relative difference between the alerts at the new threshold and stable's."""


class RolloutSpec(Value):
    """The steps and the analysis of a rollout."""

    steps: Annotated[tuple[Step, ...], Field(max_length=64)] = (
        Step(mirror=MirrorStep()),
        Step(analysis=AnalysisStep()),
        Step(set_weight=5.0),
        Step(analysis=AnalysisStep()),
        Step(set_weight=25.0),
        Step(analysis=AnalysisStep()),
        Step(set_weight=100.0),
    )
    """The steps, in order. After the last one the candidate gets all traffic and is promoted. If no step is an `analysis`, promotion waits
    for `analysis.minRequests` requests of the candidate."""
    analysis: Analysis = Analysis()
    """Runs from the first step to the end. The verdict worse aborts the rollout at once."""
    progress_deadline: Duration | None = timedelta(hours=24)
    """After this time without progress a step is reported (condition Progressing=False). It is aborted only if
    `abortOnDeadline` is true."""
    abort_on_deadline: bool = False
    """Whether a step without progress for `progressDeadline` aborts the rollout."""
    rollback_window: Duration = timedelta(hours=24)
    """Time for which the former stable stays loaded at weight 0 after a promotion. During this time `undo` takes effect
    at once, without steps."""
    alert_budget: AlertBudget | None = None
    """Compare at equal alerts a day instead of at equal thresholds."""
    history_limit: Annotated[int, Field(ge=1, le=100)] = 10
    """Number of finished rollouts that the status keeps."""
    role_groups: Annotated[dict[str, GroupNames], Field(max_length=16)] = Field(default_factory=dict)
    """Groups by role, in a cluster: members of the groups have the role. A file of people takes precedence."""

    @model_validator(mode="after")
    def _weights_rise(self) -> "RolloutSpec":
        weights = [step.set_weight for step in self.steps if step.set_weight is not None]
        if weights != sorted(weights):
            shown = quoted(f"{weight:g}" for weight in weights)
            raise RuleBroken(
                f"weights are {shown}, and a fall would move entities back and forth; write them in rising order", "steps"
            )
        kinds = [s.kind for s in self.steps if s.mirror or s.set_weight]
        if self.alert_budget is not None and kinds[:1] != ["mirror"]:
            raise RuleBroken(
                "needs mirrored scores before the candidate gets traffic; add a mirror step before the first setWeight above 0",
                "alertBudget",
            )
        return self


UNMIRRORED_STEPS: Final = (
    Step(set_weight=5.0),
    Step(analysis=AnalysisStep()),
    Step(set_weight=25.0),
    Step(analysis=AnalysisStep()),
    Step(set_weight=100.0),
)
"""The default steps where nothing can be mirrored."""


class ExperimentVariant(Value):
    """One named variant of an A/B experiment."""

    name: VariantName
    """Name of the variant in answers, metrics and the report."""
    weight: Annotated[Percent, _percent_of("entities that meet the variant", "weight: 50")]
    """Percentage of entities that the variant serves."""
    revision: Revision | None = None
    """Revision of the variant. Unset: the current stable revision."""


class ExperimentSpec(Value):
    """An A/B test: named variants serve side by side for a limited time. It reports a winner; it does not promote it."""

    variants: Annotated[tuple[ExperimentVariant, ...], Field(min_length=2, max_length=8)]
    """The first is the baseline. Weights sum to 100."""
    duration: Duration = timedelta(days=7)
    """Duration. At its end the experiment is concluded and stable serves all requests."""
    metric: GateName = GateName.ALERT_RATE
    """Gate that chooses the winner."""
    goal: Literal["lower", "higher"] = "lower"
    """Whether a lower or a higher proportion is better."""
    analysis: Analysis = Analysis()
    """Guard gates. A variant that is worse than the baseline on one of them loses its traffic to the baseline."""

    @model_validator(mode="after")
    def _whole(self) -> "ExperimentSpec":
        names = [v.name for v in self.variants]
        if len(set(names)) != len(names):
            raise RuleBroken(f"variants {quoted(names)} repeat a name; name each once", "variants")
        taken = [
            v.name
            for i, v in enumerate(self.variants)
            if v.name in ("former", "undone") or (v.name == "stable" and (i or v.revision))
        ]
        if taken:
            raise RuleBroken(
                f"variant {taken[0]!r} has a name that rollouts use; only a baseline without a revision is `stable`", "variants"
            )
        if self.metric is GateName.FAIRNESS:
            raise RuleBroken("is fairness, which is not a proportion of one variant; make it a gate of `analysis`", "metric")
        if len(self.variants) > 2 and any(g.name is GateName.FAIRNESS for g in self.analysis.gates):
            raise RuleBroken(
                f"has the gate fairness for {len(self.variants)} variants, but a status has room for the segments of only two; "
                "compare two at a time",
                "analysis",
            )
        total = sum(v.weight for v in self.variants)
        if abs(total - 100) > 1e-6:
            raise RuleBroken(f"weights sum to {total:g}, expected 100; write percentages of all entities", "variants")
        return self
