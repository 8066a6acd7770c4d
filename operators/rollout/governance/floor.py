"""The approvals that every rollout needs, independent of its steps: those of the file of people, and no fewer than the last rollout had.
Pure.

So an approval that is removed from a policy is still needed for one more rollout."""

from collections.abc import Iterable, Mapping
from typing import Any

from lifecycle.governance.approvals.recorded_state import GovernanceView
from operators.rollout.spec import ApprovalStep, ExperimentSpec, RolloutSpec, Step
from operators.rollout.status import RolloutStatus


def check_step(step: Mapping[str, Any]) -> ApprovalStep:
    """An approval step as the file of people writes it. Raises ValueError."""
    return ApprovalStep.model_validate(dict(step))


def required(policy: RolloutSpec, view: GovernanceView) -> RolloutSpec:
    """The policy with the approvals that the file of people requires of this service."""
    name = view.service.rpartition("/")[2]
    steps = [check_step(r.step) for r in view.people.require if r.is_for(name)]
    return with_approvals(policy, steps, {})


def governed(policy: RolloutSpec, view: GovernanceView) -> RolloutSpec:
    """The same, and with at least the approvals of the service's last promoted rollout."""
    policy = required(policy, view)
    floor = view.recorded.floor if view.recorded is not None else None
    if not floor:
        return policy
    before = RolloutSpec.model_validate(dict(floor))
    return with_approvals(policy, [s.approval for s in before.steps if s.approval is not None], before.role_groups)


def with_approvals(policy: RolloutSpec, needed: Iterable[ApprovalStep], role_groups: Mapping[str, Any]) -> RolloutSpec:
    """The policy with the needed approvals. Each one that no step of the policy covers becomes a step before the last weight."""
    steps = list(policy.steps)
    for need in needed:
        if not any(s.approval is not None and is_as_strict(s.approval, need) for s in steps):
            weights = [i for i, s in enumerate(steps) if s.set_weight is not None]
            steps.insert(weights[-1] if weights else len(steps), Step(approval=need))
    groups = {**policy.role_groups, **role_groups}
    if steps == list(policy.steps) and groups == policy.role_groups:
        return policy
    return policy.model_copy(update={"steps": tuple(steps), "role_groups": groups})


def unapproved(wanted: ExperimentSpec, status: RolloutStatus, policy: RolloutSpec, view: GovernanceView) -> list[str]:
    """Variants whose revision was never stable, where the policy asks for approvals. An experiment asks nobody, so they get no traffic."""
    if all(step.approval is None for step in policy.steps):
        return []
    approved = {r.digest for r in (status.stable, status.former) if r is not None}
    approved |= view.recorded.settled if view.recorded is not None else set()
    return [v.name for v in wanted.variants if v.revision is not None and v.revision.digest not in approved]


def is_as_strict(step: ApprovalStep, need: ApprovalStep) -> bool:
    """Whether every set of approvals that passes this step passes the other one too."""
    return (
        step.approvers >= need.approvers
        and set(step.roles) >= set(need.roles)
        and (not need.groups or (bool(step.groups) and set(step.groups) <= set(need.groups)))
        and (need.valid_for is None or (step.valid_for is not None and step.valid_for <= need.valid_for))
        and step.reason_required >= need.reason_required
        and step.signed >= need.signed
        and set(step.break_glass_roles) <= set(need.break_glass_roles)
    )
