"""Finds a status that claims more than the log of governed acts shows: somebody changed it by hand. Pure.

Such claims are not followed. False approvals are dropped. A revision that serves, or a step that was passed, without a recorded act
ends the rollout: stable is again the revision that was settled last."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lifecycle.governance.approvals.judge import counting
from lifecycle.governance.approvals.recorded_state import GovernanceView, OpenRollout, RecordedState
from operators.rollout.governance.approving import given, involved, rule_of, subject_of
from operators.rollout.moves import Correct
from operators.rollout.spec import Revision, RolloutSpec
from operators.rollout.status import Approval, RolloutStatus


def correction(status: RolloutStatus, spec: RolloutSpec, view: GovernanceView, now: datetime) -> Correct | None:
    """What is to be put right; None: the status claims no more than is recorded."""
    recorded = view.recorded
    if recorded is not None and not recorded.is_new:
        claims = tuple(_claims(status, recorded))
        if claims:
            last = _last_stable(status, recorded)
            why = f"the status was changed by hand: {'; '.join(claims)}"
            return Correct(reason=why, stable=last, settled=recorded.settled)
    approvals, why = _approvals(status, spec, view, now)
    if why and not view.people_problem:
        return Correct(reason=f"an approval does not count: {why}", approvals=approvals, is_ended=False)
    return None


def policy_json(policy: RolloutSpec | None) -> dict[str, Any]:
    """A policy as it is recorded."""
    return {} if policy is None else policy.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def analyses(policy: RolloutSpec | None) -> list[int]:
    """Indexes of the steps that wait for evidence."""
    return [] if policy is None else [i for i, step in enumerate(policy.steps) if step.analysis is not None]


def unpassed(policy: RolloutSpec, opened: OpenRollout) -> int:
    """Index of the first step that needs an act to be passed, and has none: an approval, or an analysis unless somebody said that the
    rollout goes on without evidence. The number of steps if there is none."""
    judged = frozenset() if opened.analyses is None or opened.full_by is not None else opened.analyses
    needed = (i for i, step in enumerate(policy.steps) if step.approval is not None or i in judged)
    return next((i for i in needed if i not in opened.passed), len(policy.steps))


def _claims(status: RolloutStatus, recorded: RecordedState) -> Iterator[str]:
    former = [f.stable for f in status.history if f.outcome == "promoted" and f.candidate == status.stable]
    for what, revision in (
        ("stable", status.stable),
        ("the former stable", status.former),
        *(("before it", f) for f in former),
    ):
        if revision is not None and revision.digest not in recorded.settled:
            yield f"{what} is {revision.digest[:19]}, but no recorded act made it so"
    for variant in status.variants:
        if variant.revision.digest not in recorded.settled | recorded.variants:
            yield f"the variant {variant.name} is {variant.revision.digest[:19]}, but no recorded experiment has it"
    if status.stable is None and recorded.settled:
        yield "no revision is stable, but a recorded act made one stable"
    if status.candidate is not None:  # whatever the phase says: a candidate gets its weight
        opened = recorded.opened
        if opened is None or opened.attempt != status.attempt:
            yield f"a rollout of {status.candidate.digest[:19]} is under way, but no recorded act started it"
        else:
            yield from _of_rollout(status, status.candidate, opened)


def _of_rollout(status: RolloutStatus, candidate: Revision, opened: OpenRollout) -> Iterator[str]:
    if candidate.digest not in opened.revisions:
        yield f"the candidate is {candidate.digest[:19]}, but another one was started"
    if status.policy is None or policy_json(status.policy) != opened.policy:
        yield "its policy is not the one that it was started with"
        return
    if status.full_by is not None and opened.full_by is None and opened.analyses is not None:
        yield f"it goes on without evidence, by {status.full_by}, but no recorded act says so"
    first = unpassed(status.policy, opened)
    kind = "analysis" if first < len(status.policy.steps) and status.policy.steps[first].approval is None else "approval"
    if status.step_index > first:
        yield f"the {kind} of step {first + 1} is passed, but no recorded act passed it"
    before = [s.set_weight for s in status.policy.steps[:first] if s.set_weight is not None]
    most = 100.0 if first == len(status.policy.steps) else max(before, default=0.0)
    if status.weight > most:
        yield f"the weight is {status.weight:g}, but before the {kind} of step {first + 1} it may be at most {most:g}"


def _approvals(
    status: RolloutStatus, spec: RolloutSpec, view: GovernanceView, now: datetime
) -> tuple[tuple[Approval, ...], str]:
    """The approvals that may stay, and why others may not; empty: all may."""
    index = status.step_index
    step = spec.steps[index].approval if status.candidate is not None and index < len(spec.steps) else None
    if step is None:
        return (), "no step asks for one" if status.approvals else ""
    barred = involved(step, status, view)
    _, false = counting(rule_of(step, spec), subject_of(status, view), map(given, status.approvals), view.people, barred, now)
    opened = view.recorded.opened if view.recorded is not None else None
    for approval in status.approvals if opened is not None else ():
        if opened is not None and (approval.by, index + 1) not in opened.approvals and approval.by not in false:
            false = {**false, approval.by: f"no recorded act is an approval of this step by {approval.by}"}
    return tuple(a for a in status.approvals if a.by not in false), "; ".join(false.values())


def _last_stable(status: RolloutStatus, recorded: RecordedState) -> Revision | None:
    """The revision that was settled last; the status' stable revision if that was ever settled."""
    if status.stable is not None and status.stable.digest in recorded.settled:
        return status.stable
    return Revision.model_validate(recorded.stable) if recorded.stable else None
