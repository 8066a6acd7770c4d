"""A rollout's status as the resource shows it: columns for people, and the state that the next look reads. Pure."""

from operators.api.types import Condition, ModelServiceStatus
from operators.rollout.spec import Revision
from operators.rollout.status import Phase, RolloutStatus


def resource_status(
    rollout: RolloutStatus,
    *,
    generation: int,
    conditions: tuple[Condition, ...] = (),
    replicas: int = 0,
    selector: str = "",
) -> ModelServiceStatus:
    """The resource's whole status. generation: of the spec that was looked at."""
    steps = len(rollout.policy.steps) if rollout.policy is not None else 0
    is_judged = rollout.is_under_way or rollout.phase in (Phase.EXPERIMENT, Phase.ABORTED)
    return ModelServiceStatus(
        observed_generation=generation,
        conditions=conditions,
        phase=rollout.phase,
        stable=short(rollout.stable),
        candidate=short(rollout.candidate) if rollout.is_under_way else "",
        step=f"{min(rollout.step_index + 1, steps)}/{steps}" if rollout.is_under_way and steps else "",
        weight=rollout.weight if rollout.is_under_way else 0.0,
        verdict=rollout.assessment.verdict if is_judged and rollout.assessment.at is not None else "",
        waiting_for=rollout.waiting_for,
        replicas=replicas,
        selector=selector,
        rollout=rollout,
    )


def short(revision: Revision | None) -> str:
    """A revision for a column: version and the beginning of its digest."""
    return "" if revision is None else f"{revision.version} {revision.digest.removeprefix('sha256:')[:8]}"
