"""What clients may change of what is served: a model's newest version comes, or the model goes. Core.

Functions of the specification as it stands (serving.replica.spec_owner). Refused where somebody else decides about the model: a control
plane
that manages it, or a rollout whose variants would go. What a model was served with (operating point, thresholds) stays."""

from serving.errors import BadRequest, NotFound
from serving.spec import ModelSpec, RevisionSpec, ServingSpec


def check_free(spec: ServingSpec, name: str) -> None:
    """Raises BadRequest if clients may not change this model."""
    if spec.is_managed(name):
        raise BadRequest(
            f"model {name!r} is managed by a control plane, so it is not loaded or unloaded by clients; change it by its "
            f"ModelService, e.g. `vedette rollout start {name}`"
        )
    variants = [variant.name for model in spec.models if model.name == name for variant in model.variants]
    if variants:
        raise BadRequest(
            f"model {name!r} serves the variants {variants} beside stable, which loading or unloading it would drop; "
            "end its rollout or experiment first"
        )


def revision_beside(spec: ServingSpec, name: str, version: str, bundle: str) -> RevisionSpec:
    """The revision to serve of a bundle: with the overrides that this version is served with already."""
    for model in spec.models:
        if (model.name, model.version) == (name, version):
            return model.revision.model_copy(update={"bundle": bundle})
    return RevisionSpec(bundle=bundle)


def with_version(spec: ServingSpec, name: str, version: str, bundle: str) -> ServingSpec:
    """The specification with this version of a model, beside its other versions. Raises BadRequest."""
    check_free(spec, name)
    revision = revision_beside(spec, name, version, bundle)
    entry = next((m for m in spec.models if (m.name, m.version) == (name, version)), None)
    if entry is None:
        return spec.model_copy(update={"models": (*spec.models, ModelSpec(name=name, version=version, revision=revision))})
    changed = entry.model_copy(update={"revision": revision})
    return spec.model_copy(update={"models": tuple(changed if m is entry else m for m in spec.models)})


def without_model(spec: ServingSpec, name: str) -> ServingSpec:
    """The specification without any version of a model. Raises NotFound, BadRequest."""
    check_free(spec, name)
    if not any(m.name == name for m in spec.models):
        raise NotFound(f"model {name!r} is not loaded; loaded are {sorted({m.name for m in spec.models})}")
    return spec.model_copy(update={"models": tuple(m for m in spec.models if m.name != name)})
