"""The autoscaler's input, state and decision. Pure values, JSON outside; the rules are in operators.autoscaling.decide."""

from dataclasses import dataclass
from datetime import datetime

from operators.values import Value


@dataclass(frozen=True, slots=True)
class ScalingFacts:
    """Facts of the rollout and of the backend at this moment.

    is_rolling_out: a candidate or an experiment is there. mirror_ratio, weight_ratio: share of the requests that the candidate
    scores a copy of, or answers, in the step under way or the one that comes, whichever is more (0..1). cost_ratio: the
    candidate's work for a request relative to stable's. rollout_min: setReplicas. shares_replicas: both variants live in the
    same replicas (not so on kserve). can_sleep: the backend starts a replica of a service that has none. most: the most replicas the
    backend has room for."""

    is_rolling_out: bool = False
    mirror_ratio: float = 0.0
    weight_ratio: float = 0.0
    cost_ratio: float = 1.0
    rollout_min: int | None = None
    shares_replicas: bool = True
    can_sleep: bool = False
    most: int | None = None


class LoadSample(Value):
    """One measured load, as far as later looks need it."""

    at: datetime
    ongoing: float


class Point(Value):
    """A number of replicas at a moment."""

    at: datetime
    replicas: int


class ScalingState(Value):
    """What is remembered between two looks: at most an hour, and only what can still matter. Empty: the first look. Losing it is safe: the
    present count then replaces what was forgotten."""

    looks: tuple[LoadSample, ...] = ()
    """Known loads within lookBack, the oldest first."""
    peaks: tuple[Point, ...] = ()
    """What was wanted within downWindow; only falling numbers, since a later higher one covers those before it."""
    troughs: tuple[Point, ...] = ()
    """What was wanted within upWindow; only rising numbers."""
    counts: tuple[Point, ...] = ()
    """What was decided, where it changed; the last one before the limits' stretches and all after."""
    idle_since: datetime | None = None
    """Since when there has been nothing to do; None: there is, or it is not known."""


class ScalingDecision(Value):
    """How many replicas, and why. Deciding again from `state` on the same facts gives the same."""

    replicas: int
    """The count. Where variants have replicas of their own: stable's."""
    lower: int
    """The least it may be now: spec, open windows, the rollout's setReplicas."""
    upper: int
    """The most it may be now."""
    candidate: int | None = None
    """The candidate's own replicas, where it has some."""
    reason: str
    """For people: why the count moved or stayed."""
    state: ScalingState
