"""Finds what is valid but likely a mistake: a rollout without a judgement, a jump in weight, a gate that can never decide.

Pure; advice, never a refusal. operators.api.read finds what is wrong."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from operators.api.read import Resource
from operators.api.schema_check import Finding, Path
from operators.api.types import ModelService, ModelServiceSpec
from operators.rollout.spec import Analysis, ExperimentSpec, GateName, RolloutSpec
from operators.values import format_duration

JUMP: Final = 5.0
"""How many times as many entities one step may take without a hint; the default steps take 5."""
FIRST: Final = 10.0
"""Percentage that a candidate may meet at first, if nothing was mirrored to it."""
FEW: Final = 30
"""Requests below which no proportion says much."""


def hints(resource: Resource) -> tuple[Finding, ...]:
    """All hints on a valid resource, by the fields they are about."""
    if not isinstance(resource, ModelService):
        return tuple(_of_rollout(resource.spec, ("spec",)))
    return tuple(_of_service(resource))


def _of_service(service: ModelService) -> Iterator[Finding]:
    spec = service.spec
    on_kserve = spec.backend.kserve is not None
    if spec.rollout.policy is not None:
        yield from _of_rollout(spec.rollout.policy, ("spec", "rollout", "policy"), counts_entities=not on_kserve)
    if spec.experiment is not None:
        yield from _of_experiment(spec.experiment, ("spec", "experiment"))
    if spec.backend.kserve is not None:
        yield from _of_kserve(spec)
    steps = spec.rollout.policy.steps if spec.rollout.policy else ()
    for index, step in enumerate(steps):
        if step.set_replicas and spec.scaling and step.set_replicas.replicas > spec.scaling.max_replicas:
            yield Finding(
                ("spec", "rollout", "policy", "steps", index, "setReplicas", "replicas"),
                f"is {step.set_replicas.replicas}, above scaling.maxReplicas {spec.scaling.max_replicas}, which is never exceeded; "
                "raise maxReplicas",
            )


def _of_kserve(spec: ModelServiceSpec) -> Iterator[Finding]:
    """Steps that KServe cannot do: the backend refuses them when they are reached, and the rollout waits there."""
    if spec.rollout.policy is None:
        return
    for index, step in enumerate(spec.rollout.policy.steps):
        place = ("spec", "rollout", "policy", "steps", index)
        if step.mirror is not None and step.mirror.percent > 0:
            yield Finding(
                place, "mirrors requests, which KServe cannot do; write a policy without a mirror step and alertBudget"
            )
        if step.set_weight is not None and step.set_weight != round(step.set_weight):
            yield Finding(
                place, f"is setWeight: {step.set_weight:g}, but KServe takes only whole percentages; write a whole number"
            )


def _of_rollout(spec: RolloutSpec, at: Path, *, counts_entities: bool = True) -> Iterator[Finding]:
    yield from _of_weights(spec, (*at, "steps"))
    yield from _of_gates(spec, (*at, "analysis"), counts_entities)
    longest = max((s.analysis.max_duration for s in spec.steps if s.analysis and s.analysis.max_duration), default=timedelta(0))
    if spec.progress_deadline is not None and longest > spec.progress_deadline:
        yield Finding(
            (*at, "progressDeadline"),
            f"is {format_duration(spec.progress_deadline)}, and an analysis may take {format_duration(longest)}; the rollout would "
            f"miss its deadline{' and be aborted' if spec.abort_on_deadline else ''} before the analysis ends: make it longer",
        )
    if spec.rollback_window == timedelta(0):
        yield Finding((*at, "rollbackWindow"), "is 0s; `undo` would take every step again: leave it at 24h")


def _of_weights(spec: RolloutSpec, at: Path) -> Iterator[Finding]:
    before, is_judged, is_mirrored, is_reached = 0.0, False, False, False
    for index, step in enumerate(spec.steps):
        is_reached |= bool(step.set_weight) or (step.mirror is not None and step.mirror.percent > 0)
        if step.analysis is not None and not is_reached:
            yield Finding(
                (*at, index, "analysis"),
                "waits for evidence that cannot come: nothing reaches the candidate before it; put a mirror step or a setWeight first",
            )
        is_judged |= step.analysis is not None or step.approval is not None
        is_mirrored |= step.mirror is not None
        if step.set_weight is None or step.set_weight <= before:
            continue
        place, weight = (*at, index, "setWeight"), step.set_weight
        if before == 0 and not is_mirrored and weight > FIRST:
            yield Finding(
                place, f"is {weight:g} at once, and nothing was mirrored before; begin with a mirror step or a smaller weight"
            )
        elif before > 0 and weight > before * JUMP:
            yield Finding(place, f"is {weight:g} after {before:g}, {weight / before:.0f} times as many; put a step between")
        if before > 0 and not is_judged:
            yield Finding(
                place, f"is {weight:g}, and nothing judges the candidate at {before:g}; put an analysis step before it"
            )
        before, is_judged = weight, False
    if before < 100:
        yield Finding(
            at,
            f"end at {before:g}; after the last step the candidate is promoted to 100 at once: end with an analysis and setWeight: 100",
        )


def _of_gates(spec: RolloutSpec, at: Path, counts_entities: bool) -> Iterator[Finding]:
    analysis = spec.analysis
    is_mirrored = any(s.mirror for s in spec.steps)
    for index, gate in enumerate(analysis.gates if analysis.gates != Analysis().gates else ()):
        place: Path = (*at, "gates", index)
        if gate.margin == 0:
            yield Finding(
                (*place, "margin"),
                f"of {gate.name} is 0; a candidate that is exactly as good is never shown to be no worse: allow e.g. 0.01",
            )
        if gate.name is GateName.FLIPS and not is_mirrored:
            yield Finding((*place, "name"), "is flips, which only a mirrored request can show; add a mirror step")
        if gate.name in {GateName.PRECISION, GateName.RECALL}:
            yield Finding(
                (*place, "name"),
                f"is {gate.name}, which stays undecided until analysts' labels arrive; have them label what `vedette label queue` draws, "
                "and pause for that long",
            )
        if gate.name is GateName.FAIRNESS:
            yield Finding(
                (*place, "name"),
                "is fairness, which stays undecided unless the replicas have a segment mapping (VEDETTE_SEGMENTS)"
                if counts_entities
                else "is fairness, which KServe's split cannot show: no entity is counted there; take it out",
            )
        if counts_entities and gate.unit == "request" and gate.name in {GateName.ALERT_RATE, GateName.FLIPS, GateName.FAIRNESS}:
            yield Finding(
                (*place, "unit"),
                f"of {gate.name} is request; where few entities make most of the traffic, only unit: entity keeps the error bounds "
                "(not on KServe, where no entity is counted)",
            )
    if analysis.min_requests < FEW:
        yield Finding(
            (*at, "minRequests"), f"is {analysis.min_requests}; fewer than {FEW} requests say little about a proportion"
        )
    if analysis.alpha > 0.2:
        yield Finding(
            (*at, "alpha"),
            f"is {analysis.alpha:g}, so up to {analysis.alpha:.0%} of good candidates may be aborted; 0.05 is usual",
        )


def _of_experiment(spec: ExperimentSpec, at: Path) -> Iterator[Finding]:
    if spec.duration < timedelta(days=1):
        yield Finding(
            (*at, "duration"),
            f"is {format_duration(spec.duration)}; traffic changes by day and by week: write 7d to cover both",
        )
    same = [v.name for v in spec.variants[1:] if v.revision == spec.variants[0].revision]
    if same:
        yield Finding(
            (*at, "variants"),
            f"{', '.join(same)} has the baseline's own revision; such an A/A test shows only how often the judge is wrong",
        )
