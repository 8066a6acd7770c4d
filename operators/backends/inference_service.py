"""A KServe InferenceService for a target: one predictor a revision, named by it, with weights in `spec.canary`. Pure.

KServe (0.20, Standard mode) makes a Deployment of each predictor's name, so that a promotion renames nothing: the stable
predictor takes the candidate's name and its pods stay. KServe splits by request, not by entity, in whole percents, and cannot mirror. A
target that needs more is refused here, with the reason."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from operators.api.types import KserveBackend
from operators.ports import BackendError, ServiceRef
from operators.rollout.replicas import candidate_replicas
from operators.rollout.spec import Revision
from operators.rollout.status import Target
from serving.spec import ModelSpec, ServingSpec

VARIANTS: Final = "vedette.dev/variants"
"""Annotation: {variant: [predictor's name, revision digest]} as JSON."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
CONTAINER: Final = "kserve-container"
"""KServe's name for the one that serves; its CRD wants it said for a canary."""
SERVED: Final = "VEDETTE_SERVED"
"""Environment variable of the pods: the ServingSpec of their one revision, as JSON."""


@dataclass(frozen=True, slots=True)
class Held:
    """One predictor of an InferenceService: which variant it is, and by which revision."""

    variant: str
    predictor: str
    revision: str


_HELD: Final = TypeAdapter(dict[str, tuple[str, str]])


def predictor_name(revision: Revision) -> str:
    """Name of a revision's predictor, within what a DNS label leaves."""
    return f"r{revision.digest.removeprefix('sha256:')[:12]}"


def fields_of(service: ServiceRef, place: KserveBackend, target: Target, replicas: int) -> dict[str, Any]:
    """What we own of the InferenceService. replicas: least of stable and candidate together.

    Raises BackendError for a target that KServe cannot carry out."""
    subject = f"InferenceService {service.namespace}/{place.inference_service or service.name}"
    _check(subject, target)
    objective_ms = target.objective_ms(None)
    held = {"stable": [predictor_name(target.stable), target.stable.digest]}
    held |= {v.name: [predictor_name(v.revision), v.revision.digest] for v in target.variants}
    return {
        "metadata": {
            "labels": {MANAGED_BY: "vedette-operator", "app.kubernetes.io/name": "vedette"},
            "annotations": {"serving.kserve.io/deploymentMode": "Standard", VARIANTS: json.dumps(held, sort_keys=True)},
        },
        "spec": {
            "predictor": {"minReplicas": replicas, **_predictor(service, place, target.stable, objective_ms)},
            "canary": [
                {
                    "trafficPercent": round(v.weight),
                    "predictor": {
                        "minReplicas": candidate_replicas(replicas, v.weight),
                        **_predictor(service, place, v.revision, objective_ms),
                    },
                }
                for v in target.variants
            ],
        },
    }


def held_by(found: Mapping[str, Any]) -> tuple[Held, ...]:
    """The predictors of an InferenceService that `fields_of` made. Raises BackendError if somebody else overwrote its annotation."""
    text = (found["metadata"].get("annotations") or {}).get(VARIANTS)
    try:
        told = _HELD.validate_json(text or "")
    except ValidationError as problem:
        name = f"InferenceService {found['metadata'].get('namespace')}/{found['metadata'].get('name')}"
        raise BackendError(
            f"{name}: its annotation {VARIANTS} is {str(text)[:80]!r}, which the operator did not write; it will be replaced"
        ) from problem
    return tuple(Held(variant, predictor, revision) for variant, (predictor, revision) in told.items())


def served_by(found: Mapping[str, Any] | None) -> ModelSpec | None:
    """What the predictor of an InferenceService serves; None: nothing that `fields_of` wrote."""
    model = (((found or {}).get("spec") or {}).get("predictor") or {}).get("model") or {}
    told = next((e.get("value") for e in model.get("env") or () if e.get("name") == SERVED), None)
    try:
        return ServingSpec.model_validate_json(told or "").models[0]
    except (ValidationError, IndexError):
        return None


def is_within(wanted: object, found: object) -> bool:
    """Whether the fields that we own have their values already; fields of others and the cluster's defaults do not count.

    >>> is_within({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}], "d": 3})
    True
    """
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(k in found and is_within(v, found[k]) for k, v in wanted.items())
    if isinstance(wanted, list):
        if not wanted and found is None:
            return True
        return isinstance(found, list) and len(found) == len(wanted) and all(map(is_within, wanted, found))
    return wanted == found


def _predictor(service: ServiceRef, place: KserveBackend, revision: Revision, latency_objective_ms: float) -> dict[str, Any]:
    served = ServingSpec(
        models=(
            ModelSpec(
                name=service.model,
                version=revision.version,
                revision=revision.serving(),
                latency_objective_ms=latency_objective_ms,
            ),
        )
    )
    digest = revision.bundle.removeprefix("sha256:")
    uri = place.storage_uri.replace("{digest}", digest).replace("{version}", revision.version).replace("{model}", service.model)
    told = json.dumps(served.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return {
        "name": predictor_name(revision),
        "enableServiceLinks": False,  # a ServingRuntime cannot say it; a variable of a Service would look like a setting
        "model": {
            "name": CONTAINER,
            "runtime": place.runtime,
            "modelFormat": {"name": "vedette"},
            "protocolVersion": "v2",
            "storageUri": uri,
            "env": [{"name": SERVED, "value": told}],
        },
    }


def _check(subject: str, target: Target) -> None:
    mirrored = [v.name for v in target.variants if v.mirror > 0]
    if mirrored:
        raise BackendError(
            f"{subject}: KServe cannot mirror requests, but {', '.join(mirrored)} needs them; take the mirror steps and "
            "alertBudget out of the rollout's policy, or serve by the ray backend",
            can_retry=False,
        )
    broken = [f"{v.name} {v.weight:g}" for v in target.variants if v.weight != round(v.weight)]
    if broken:
        raise BackendError(
            f"{subject}: KServe takes only whole percentages, but {', '.join(broken)} is not one; write setWeight as a whole number",
            can_retry=False,
        )
    names = [predictor_name(target.stable), *(predictor_name(v.revision) for v in target.variants)]
    if len(set(names)) != len(names):
        raise BackendError(
            f"{subject}: two variants have the same revision, and KServe names a predictor by its revision; give each its own",
            can_retry=False,
        )
