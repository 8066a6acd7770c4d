"""What one look at one service leads to, on this machine as in a cluster: the rollout's moves, and the replicas by load. Pure.

The shells (operators.control.loop, operators.handlers.looking.look) parse and observe before it; after it they record, tell and act, in
this order (docs/decisions/0014-record-then-act.md)."""

from dataclasses import dataclass, replace
from datetime import datetime

from operators.autoscaling.decide import decide
from operators.autoscaling.plan import facts_of, with_room
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import ScalingDecision, ScalingState
from operators.ports import BackendView
from operators.rollout.advance import Advance, advance
from operators.rollout.facts import Desired
from operators.rollout.status import RolloutStatus, Target, VerbRequest


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a service is scaled by load. last: state of the last decision. carried: the target that was carried out last. most: replicas
    that there is room for; None: not known. shares_replicas: whether variants live in the same replicas."""

    spec: ScalingSpec
    last: ScalingState | None = None
    carried: Target | None = None
    most: int | None = None
    shares_replicas: bool = True


@dataclass(frozen=True, slots=True)
class LookOutcome:
    """rollout: what to record, tell and carry out, with the count of replicas in its target. scaling: why that count; None: the
    service is not scaled by load."""

    rollout: Advance
    scaling: ScalingDecision | None = None


def look_outcome(
    desired: Desired,
    before: RolloutStatus,
    view: BackendView,
    requests: tuple[VerbRequest, ...],
    scaling: Scaling | None,
    now: datetime,
) -> LookOutcome:
    """Advance the rollout; then the target gets the autoscaler's count, and its mirrors once there is room for them."""
    rollout = advance(desired, before, view.observation, requests, now)
    if scaling is None or rollout.target is None:
        return LookOutcome(rollout)
    policy = rollout.status.policy or desired.rollout
    facts = facts_of(policy, rollout.status, shares_replicas=scaling.shares_replicas, most=scaling.most)
    decision = decide(scaling.spec, scaling.last, view.load, facts, now)
    target = with_room(rollout.target, scaling.carried, decision, view.load)
    return LookOutcome(replace(rollout, target=target), decision)
