"""What a look at one service has in hand, and what is remembered of it until the next. Values; they decide nothing."""

from dataclasses import dataclass, field

from operators.api.service_intent import ServiceIntent
from operators.api.types import ModelService
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import ScalingState
from operators.handlers.documents import Key, ResourceDocument
from operators.handlers.looking.backends import ClusterBackend
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus, Target


@dataclass(slots=True)
class ServiceMemory:
    """What is remembered of a service between two looks. Losing it is safe: it is the status, and what can be seen again.

    base: the status that the API server has. status: the same with the evidence since, which is not written at every look."""

    uid: str
    base: RolloutStatus | None
    status: RolloutStatus
    written_s: float
    carried: Target | None = None
    scaling: ScalingState | None = None
    problem: str | None = None
    no_labels: str | None = None
    unwritten: str | None = None
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class LookContext:
    """One look's service, parsed."""

    key: Key
    document: ResourceDocument
    service: ModelService
    asked: ServiceIntent
    backend: ClusterBackend
    memory: ServiceMemory

    @property
    def rollout(self) -> RolloutSpec:
        """The policy that a rollout would start with."""
        return self.asked.rollout

    @property
    def scaling(self) -> ScalingSpec | None:
        """How it is scaled by load, if it is."""
        return self.service.spec.scaling
