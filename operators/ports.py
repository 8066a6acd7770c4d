"""The port of a backend: apply a target, observe evidence and load, remove the service.

`local`, `ray` and `kserve` implement it, tests.fakes has a fake that keeps state, and one contract suite tests them all. The further calls
of the operator are in operators.handlers.looking.backends.ClusterBackend. Decisions are made elsewhere (operators.rollout,
operators.autoscaling)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from operators.rollout.evidence import Observation
from operators.rollout.spec import GateName
from operators.rollout.status import Target


class BackendError(Exception):
    """The backend could not do or say what was asked. The message says what, where, and the way out.

    can_retry: whether trying again by itself can help."""

    def __init__(self, message: str, *, can_retry: bool = True) -> None:
        super().__init__(message)
        self.can_retry = can_retry


@dataclass(frozen=True, slots=True)
class ServiceRef:
    """Which service: namespace (`local` on this machine), resource name, and the model's name that clients call."""

    namespace: str
    name: str
    model: str


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a service is, at one moment. Sums over ready replicas.

    ongoing: requests under way. queued: waiting, of those. rate_per_s: requests answered a second, lately. p99_ms: of the last
    window; None if nothing was answered. stream_lag: events waiting in the stream; None if there is none. ready_replicas,
    wanted_replicas: as they are. mirror_ratio: share of requests that are mirrored, 0 to 1.
    most_replicas: what there is room for; None: not known. problem: why this could not be measured."""

    at: datetime
    ongoing: float = 0.0
    queued: float = 0.0
    rate_per_s: float = 0.0
    p99_ms: float | None = None
    stream_lag: float | None = None
    ready_replicas: int = 0
    wanted_replicas: int = 0
    mirror_ratio: float = 0.0
    most_replicas: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class BackendView:
    """What one look at a service saw; both are read from the same pages."""

    observation: Observation
    load: Load

    @classmethod
    def not_seen(cls, at: datetime, problem: str) -> "BackendView":
        """Nothing could be read. problem: why."""
        return cls(Observation(at=at, problem=problem), Load(at, problem=problem))


LabelGateCounts = Mapping[str, Mapping[GateName, tuple[int, int]]]
"""By `variant@revision` and gate (precision, recall): labelled observations, and the bad ones among them."""


class LabelEvidence(Protocol):
    """Where labels of analysts are counted for the gates of rollouts. `lifecycle.labels.gate_counts` says which count."""

    async def counts(self, service: ServiceRef, since: datetime) -> LabelGateCounts:
        """Labels without bias, of events that were answered since then. For one `since` they only grow. Raises BackendError."""
        ...


class Backend(Protocol):
    """Where a service runs: carries out a target and says what was observed. Every method is idempotent."""

    async def carry_out(self, service: ServiceRef, target: Target) -> None:
        """Make the target true: revisions loaded, split and mirror as said, replicas if said. Returns when it is told, not
        when it is done; `look` says what is loaded. Raises BackendError."""
        ...

    async def look(self, service: ServiceRef) -> BackendView:
        """Counters, what is loaded in each replica and how busy it is. Each replica is asked once. Never raises for a measurement
        that fails: Observation.problem and Load.problem say so."""
        ...

    async def remove(self, service: ServiceRef) -> None:
        """Take down what this backend made for the service; nothing that was there before."""
        ...
