"""Further arguments of `decide` besides status and evidence: the wanted state, and what the replicas have loaded. Pure.

`facts_at_look` builds them from one observation. The backend decides which replicas are observed."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lifecycle.governance.approvals.recorded_state import UNGOVERNED, GovernanceView
from operators.rollout.evidence import Observation, ReplicaEvidence, Tally, key
from operators.rollout.spec import ExperimentSpec, Revision, RolloutSpec
from operators.rollout.status import RolloutStatus


@dataclass(frozen=True, slots=True)
class Desired:
    """What the resource asks for, by whom and why.

    revision: what should be stable in the end; None: nothing is asked. experiment: an A/B test to run. replicas: the count, if no
    autoscaler owns it; min_replicas, max_replicas: bounds, for every owner of the count. is_paused: steps should not move. by, why: who
    changed this and why, where known; `by` may not approve the rollout. is_by_checked: whether `by` was authenticated. is_rollout_known:
    whether `rollout` is what people wrote; else it is a default in place of a policy that is gone. governance: who may approve, and what
    is recorded of the service."""

    revision: Revision | None
    rollout: RolloutSpec = field(default_factory=RolloutSpec)
    experiment: ExperimentSpec | None = None
    replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    is_paused: bool = False
    by: str = "operator"
    why: str = ""
    is_by_checked: bool = True
    is_rollout_known: bool = True
    governance: GovernanceView = UNGOVERNED


@dataclass(frozen=True, slots=True)
class Loading:
    """How far one revision is loaded. ready, expected: replicas; failure: why one could not load it."""

    ready: int = 0
    expected: int = 0
    failure: str | None = None
    is_fresh: bool = True

    @property
    def is_everywhere(self) -> bool:
        """Whether every replica that should be there has it loaded, probed and warm, as of now."""
        return self.is_fresh and self.failure is None and 0 < self.expected <= self.ready

    @property
    def words(self) -> str:
        """For people."""
        stale = "" if self.is_fresh else ", as of an old look"
        return f"{self.ready} of {self.expected} replicas have it loaded{stale}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an alert budget gave: the candidate's threshold, or why there is none. threshold: where the candidate alerts as often
    as stable; None: there is none, see reason."""

    threshold: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """candidate, former: how far they are loaded (of an experiment: every variant together). tally: the candidate's, since the
    evidence began. replicas: how many reported. calibration: None until there are rows enough."""

    desired: Desired
    candidate: Loading = Loading()
    former: Loading = Loading()
    tally: Tally = field(default_factory=Tally)
    replicas: int = 0
    calibration: Calibration | None = None

    def judged_requests(self, status: RolloutStatus) -> int:
        """The candidate's requests that an analysis step counts: live ones once it has a weight, mirrored ones before."""
        return self.tally.requests if status.weight > 0 else self.tally.mirrored


def loading(
    observation: Observation, variant: str, revision: Revision | None, now: datetime, stale_after: timedelta
) -> Loading:
    """How far `revision` is loaded in the replicas that should hold `variant`.

    A replica that reports but has not loaded it counts as missing, even if more replicas report than expected."""
    if revision is None:
        return Loading()
    holders = [r for r in observation.replicas if r.holds is None or variant in r.holds]
    expected = max(observation.expected_by_variant.get(variant, observation.expected_replicas), len(holders))
    return Loading(
        ready=sum(revision.digest in r.loaded for r in holders),
        expected=expected,
        failure=_failure(holders, revision),
        is_fresh=now - observation.at <= stale_after,
    )


def _failure(holders: list[ReplicaEvidence], revision: Revision) -> str | None:
    for replica in holders:
        if revision.digest in replica.failed:
            return f"replica {replica.replica} could not load it: {replica.failed[revision.digest]}"
    return None


def facts_at_look(desired: Desired, status: RolloutStatus, observation: Observation, now: datetime) -> Facts:
    """The facts of one look. A failure to load observed before the rollout started belongs to an earlier attempt, and is ignored."""
    stale_after = (status.policy or desired.rollout).analysis.stale_after
    if status.experiment is not None:
        loadings = [loading(observation, v.name, v.revision, now, stale_after) for v in status.variants]
        candidate = _combined(loadings)
    else:
        candidate = loading(observation, "candidate", status.candidate, now, stale_after)
    if status.started is not None and observation.at <= status.started:
        candidate = Loading(candidate.ready, candidate.expected, None, candidate.is_fresh)
    return Facts(
        desired=desired,
        candidate=candidate,
        former=loading(observation, "former", status.former, now, stale_after),
        tally=status.totals.get(key("candidate", status.candidate.digest), Tally()) if status.candidate else Tally(),
        replicas=len(observation.replicas),
    )


def _combined(loadings: list[Loading]) -> Loading:
    """Several revisions as one: the least loaded, and the first failure."""
    worst = min(loadings, key=lambda x: x.ready - x.expected)
    failure = next((x.failure for x in loadings if x.failure), None)
    return Loading(worst.ready, worst.expected, failure, all(x.is_fresh for x in loadings))


def within_rollback_window(status: RolloutStatus, window: timedelta, now: datetime) -> bool:
    """Whether the former stable is still kept loaded."""
    return status.promoted_at is not None and now - status.promoted_at < window
