"""Connects a rollout with the autoscaler: the replicas the rollout will need, and the steps that wait for them. Pure.

The autoscaler owns the count. A rollout's extra work (a mirrored copy is scored by the same replicas) is planned for one step
ahead, and the mirror begins when the replicas for it are there."""

from operators.autoscaling.values import ScalingDecision, ScalingFacts
from operators.ports import Load
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import Phase, RolloutStatus, Target

_UNDER_WAY = (Phase.PROGRESSING, Phase.PAUSED, Phase.EXPERIMENT)


def facts_of(
    spec: RolloutSpec,
    status: RolloutStatus,
    *,
    shares_replicas: bool = True,
    can_sleep: bool = False,
    cost_ratio: float = 1.0,
    most: int | None = None,
) -> ScalingFacts:
    """What the autoscaler should know of a rollout: the larger need of the step under way and the next one.

    shares_replicas, can_sleep, cost_ratio, most: as in ScalingFacts; the first two are properties of the backend."""
    if status.phase not in _UNDER_WAY or (status.candidate is None and not status.variants):
        return ScalingFacts(shares_replicas=shares_replicas, can_sleep=can_sleep, most=most)
    others = status.variants
    steps = spec.steps[status.step_index : status.step_index + 2] if status.candidate is not None else ()
    mirrors = [status.mirror, sum(v.mirror for v in others), *(s.mirror.percent for s in steps if s.mirror is not None)]
    weights = [status.weight, sum(v.weight for v in others), *(s.set_weight for s in steps if s.set_weight is not None)]
    least = [status.min_replicas, *(s.set_replicas.replicas for s in steps if s.set_replicas is not None)]
    given = [n for n in least if n is not None]
    return ScalingFacts(
        is_rolling_out=True,
        mirror_ratio=max(mirrors) / 100,
        weight_ratio=min(max(weights) / 100, 1.0),
        cost_ratio=cost_ratio,
        rollout_min=max(given) if given else None,
        shares_replicas=shares_replicas,
        can_sleep=can_sleep,
        most=most,
    )


def why_no_room(decision: ScalingDecision, load: Load) -> str | None:
    """Why a step that adds work should not begin yet; None: it may begin. If the load is not known, no step waits: the evidence is still
    judged, and an abort takes effect at once."""
    if load.problem is not None or load.ready_replicas >= decision.replicas:
        return None
    return f"{load.ready_replicas} of {decision.replicas} replicas are ready; the mirror begins when there is room for its work"


def with_room(target: Target, carried_out: Target | None, decision: ScalingDecision, load: Load) -> Target:
    """The target with the decided count, and with the mirrors that are there now until there is room for more.

    carried_out: the target before. None: not known; then a mirror that runs goes on, and no mirror begins. A mirror grows only when its
    replicas are ready and shrinks at once."""
    counted = target.model_copy(update={"replicas": decision.replicas})
    if why_no_room(decision, load) is None or (carried_out is None and load.mirror_ratio > 0):
        return counted
    now = {v.name: v.mirror for v in carried_out.variants} if carried_out is not None else {}
    held = tuple(v.model_copy(update={"mirror": min(v.mirror, now.get(v.name, 0.0))}) for v in target.variants)
    return counted.model_copy(update={"variants": held})
