"""Asks for labels where a rollout or an experiment has a gate that is judged by them. Shared by both shells."""

from dataclasses import replace

from operators.ports import BackendError, BackendView, LabelEvidence, ServiceRef
from operators.rollout.judging.gates import LABELLED
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus


def wants_labels(policy: RolloutSpec, status: RolloutStatus) -> bool:
    """Whether something under way is judged by labels."""
    if status.started is None:
        return False
    if status.experiment is not None:
        return status.experiment.metric in LABELLED or any(g.name in LABELLED for g in status.experiment.analysis.gates)
    return status.candidate is not None and any(gate.name in LABELLED for gate in (status.policy or policy).analysis.gates)


async def with_labels(
    view: BackendView, source: LabelEvidence | None, service: ServiceRef, policy: RolloutSpec, status: RolloutStatus
) -> tuple[BackendView, str | None]:
    """The view with the labels of events that were answered since the rollout began, where a gate asks for them.

    source: None: there is none. The second: why they could not be read. Then those gates wait, and the others are judged."""
    if source is None or status.started is None or not wants_labels(policy, status):
        return view, None
    try:
        labels = await source.counts(service, status.started)
    except BackendError as problem:
        return view, f"labels could not be read, so the gates precision and recall wait: {problem}"
    return replace(view, observation=view.observation.model_copy(update={"labels": labels})), None
