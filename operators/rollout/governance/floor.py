"""The approvals that a rollout needs whatever its steps say: those of the file of people, and no fewer than the last rollout had. Pure.

Taking an approval out of a policy therefore takes effect after one rollout that was approved as before."""

from collections.abc import Iterable, Mapping
from typing import Any

from lifecycle.governance.approvals.standing import GovernanceView
from operators.rollout.spec import ApprovalStep, RolloutSpec, Step


def check_step(step: Mapping[str, Any]) -> ApprovalStep:
    """An approval step as the file of people writes it. Raises ValueError."""
    return ApprovalStep.model_validate(dict(step))


def required(policy: RolloutSpec, view: GovernanceView) -> RolloutSpec:
    """The policy with the approvals that the file of people requires of this service."""
    name = view.service.rpartition("/")[2]
    steps = [check_step(r.step) for r in view.people.require if r.is_for(name)]
    return with_approvals(policy, steps, {})


def governed(policy: RolloutSpec, view: GovernanceView) -> RolloutSpec:
    """The same, and with no less than the last promoted rollout of the service was approved by."""
    policy = required(policy, view)
    floor = view.standing.floor if view.standing is not None else None
    if not floor:
        return policy
    before = RolloutSpec.model_validate(dict(floor))
    return with_approvals(policy, [s.approval for s in before.steps if s.approval is not None], before.role_groups)


def with_approvals(policy: RolloutSpec, needed: Iterable[ApprovalStep], role_groups: Mapping[str, Any]) -> RolloutSpec:
    """The policy, and before its last weight an approval step for each that is needed and that no step of it is as strict as."""
    steps = list(policy.steps)
    for need in needed:
        if not any(s.approval is not None and is_as_strict(s.approval, need) for s in steps):
            weights = [i for i, s in enumerate(steps) if s.set_weight is not None]
            steps.insert(weights[-1] if weights else len(steps), Step(approval=need))
    groups = {**policy.role_groups, **role_groups}
    if steps == list(policy.steps) and groups == policy.role_groups:
        return policy
    return policy.model_copy(update={"steps": tuple(steps), "role_groups": groups})


def is_as_strict(step: ApprovalStep, need: ApprovalStep) -> bool:
    """Whether who passes this step would pass the other one too."""
    return (
        step.approvers >= need.approvers
        and set(step.roles) >= set(need.roles)
        and (not need.groups or (bool(step.groups) and set(step.groups) <= set(need.groups)))
        and (need.valid_for is None or (step.valid_for is not None and step.valid_for <= need.valid_for))
        and step.reason_required >= need.reason_required
        and step.signed >= need.signed
        and set(step.break_glass_roles) <= set(need.break_glass_roles)
    )
