"""A RayService's `serveConfigV2`, edited: our model within one deployment's `user_config`, and its `num_replicas`. Pure.

Everything else belongs to other people and stays. Comments are lost at an edit, because the YAML reader drops them; the file in people's
repository keeps them."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError

from operators.ports import BackendError
from operators.rollout.spec import Revision
from serving.files.read_back import read_back
from serving.files.safe_yaml import read_yaml
from serving.spec import ModelSpec

APPLICATION: Final = "vedette"
_NEW: Final[Mapping[str, Any]] = {
    "proxy_location": "Disabled",
    "applications": [
        {
            "name": APPLICATION,
            "import_path": "serving.app:build",
            "route_prefix": "/",
            "args": {},
            "deployments": [
                {
                    "name": "Replica",
                    "num_replicas": 1,
                    "max_replicas_per_node": 1,
                    "graceful_shutdown_timeout_s": 30,
                    "ray_actor_options": {"num_cpus": 1},
                }
            ],
        }
    ],
}
"""What a RayService without serveConfigV2 is given: the serving application as manifests/base/serving/rayservice.yaml has it."""


@dataclass(frozen=True, slots=True)
class RayServicePlace:
    """Where a model lives in a RayService. subject: how messages call it, e.g. `RayService soc/vedette`."""

    subject: str
    application: str
    deployment: str


def new_config(replicas: int) -> str:
    """The configuration of a RayService that leaves it to the operator, with this many replicas."""
    config = copy.deepcopy(dict(_NEW))
    config["applications"][0]["deployments"][0]["num_replicas"] = max(1, replicas)
    return _text(config)


def with_model(text: str, place: RayServicePlace, model: ModelSpec, replicas: int | None) -> str:
    """The configuration that serves `model` beside the models of others; the same text if it does so already.

    replicas: None leaves the count alone. Raises BackendError if the place is not in it, or has an autoscaler of its own."""
    config = _parsed(text, place)
    deployment = _deployment(config, place)
    before = copy.deepcopy(deployment)
    user_config = dict(deployment.get("user_config") or {})
    told = model.model_dump(mode="json")
    models = list(user_config.get("models") or [])
    if any(m.get("name") == model.name for m in models):
        user_config["models"] = [told if m.get("name") == model.name else m for m in models]
    else:
        user_config["models"] = [*models, told]
    deployment["user_config"] = user_config
    if replicas is not None:
        _without_autoscaler(deployment, place)
        deployment["num_replicas"] = replicas
    return text if deployment == before else _text(config)


def without_model(text: str, place: RayServicePlace, name: str) -> str:
    """The configuration without the model. If it was the last one the list is removed too, and the replicas go on as they are."""
    try:
        config = _parsed(text, place)
        deployment = _deployment(config, place)
    except BackendError:
        return text
    user_config = dict(deployment.get("user_config") or {})
    models = [m for m in user_config.get("models") or [] if m.get("name") != name]
    if len(models) == len(user_config.get("models") or []):
        return text
    user_config["models"] = models
    if not models:
        del user_config["models"]
    deployment["user_config"] = user_config
    if not user_config:
        del deployment["user_config"]
    return _text(config)


def served_model(text: str, place: RayServicePlace, name: str) -> ModelSpec | None:
    """A model's entry as it is; None: there is none, or none in our form. Raises BackendError: the place is not in it."""
    for entry in (_deployment(_parsed(text, place), place).get("user_config") or {}).get("models") or []:
        if entry.get("name") == name:
            with suppress(ValidationError):
                return ModelSpec.model_validate(entry)
    return None


def served_revision(text: str, place: RayServicePlace, name: str) -> Revision | None:
    """The revision of a model that is stable in it; None: it has no such model. Raises BackendError."""
    models = (_deployment(_parsed(text, place), place).get("user_config") or {}).get("models") or []
    for entry in models:
        if entry.get("name") == name:
            try:
                model = read_back(ModelSpec, entry)
            except ValidationError as problem:
                raise BackendError(
                    f"{place.subject}: user_config.{name} is not valid: {problem.errors()[0]['msg']}; remove it",
                    can_retry=False,
                ) from problem
            told = model.revision.model_dump()
            return Revision(version=model.version, **{**told, "thresholds": dict(model.revision.thresholds)})
    return None


def deployment_of(text: str, place: RayServicePlace) -> Mapping[str, Any]:
    """The deployment as it is written. Raises BackendError."""
    return _deployment(_parsed(text, place), place)


def replicas_of(text: str, place: RayServicePlace) -> int | None:
    """How many replicas it asks for; None: an autoscaler decides, or it does not say. Raises BackendError."""
    count = deployment_of(text, place).get("num_replicas")
    return count if isinstance(count, int) else None


def entry_of(text: str, place: RayServicePlace, name: str) -> tuple[Any, Any]:
    """Our part of it, for comparison: the model's entry and the count; Nones if the place is not there."""
    try:
        deployment = deployment_of(text, place)
    except BackendError:
        return None, None
    models = (deployment.get("user_config") or {}).get("models") or []
    return next((m for m in models if m.get("name") == name), None), deployment.get("num_replicas")


def _parsed(text: str, place: RayServicePlace) -> dict[str, Any]:
    try:
        config = read_yaml(text) if text.strip() else None
    except yaml.YAMLError as problem:
        raise BackendError(f"{place.subject}: spec.serveConfigV2 is not YAML: {problem}", can_retry=False) from problem
    if not isinstance(config, dict):
        raise BackendError(
            f"{place.subject}: spec.serveConfigV2 is empty; it must have the application {place.application!r}", can_retry=False
        )
    return config


def _deployment(config: Mapping[str, Any], place: RayServicePlace) -> dict[str, Any]:
    """Find the deployment, adding it to an application that leaves it to its defaults."""
    applications = _items(config, "applications", place)
    names = [a.get("name") for a in applications]
    if place.application not in names:
        raise BackendError(
            f"{place.subject}: spec.serveConfigV2 has the applications {names}, not {place.application!r}; "
            "write one of them in spec.backend.ray.application",
            can_retry=False,
        )
    application = applications[names.index(place.application)]
    deployments = application["deployments"] = _items(application, "deployments", place)
    found = next((d for d in deployments if d.get("name") == place.deployment), None)
    if found is None:
        found = {"name": place.deployment}
        deployments.append(found)
    _mapping(found, "ray_actor_options", place)
    _items(_mapping(found, "user_config", place), "models", place)
    return found


def _items(holder: Mapping[str, Any], field: str, place: RayServicePlace) -> list[dict[str, Any]]:
    """A list of mappings that may be missing. Raises BackendError."""
    found = holder.get(field) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _misshapen(field, "list of mappings", place)
    return found


def _mapping(holder: Mapping[str, Any], field: str, place: RayServicePlace) -> dict[str, Any]:
    """A mapping that may be missing. Raises BackendError."""
    found = holder.get(field) or {}
    if not isinstance(found, dict):
        raise _misshapen(field, "mapping", place)
    return found


def _misshapen(field: str, shape: str, place: RayServicePlace) -> BackendError:
    return BackendError(
        f"{place.subject}: {field} in spec.serveConfigV2 is not a {shape}, which Ray Serve cannot read; write it as "
        "manifests/base/serving/rayservice.yaml does",
        can_retry=False,
    )


def _without_autoscaler(deployment: Mapping[str, Any], place: RayServicePlace) -> None:
    if deployment.get("num_replicas") == "auto" or "autoscaling_config" in deployment:
        raise BackendError(
            f"{place.subject}: deployment {place.deployment!r} has an autoscaling_config, but the ModelService sets the count too, "
            "and only one may: remove autoscaling_config, or the ModelService's replicas and scaling",
            can_retry=False,
        )


def _text(config: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(config, sort_keys=False, width=120)
    return text
