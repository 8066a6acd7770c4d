"""Changes of the specification that clients may make: add a model's newest version, or remove the model. Core.

Each is a function of the current specification (serving.replica.spec_owner). Refused if a control plane manages the model, or if it has
variants, which would be lost. The overrides of a model (operating point, thresholds) are kept."""

from serving.errors import BadRequest, NotFound
from serving.spec import ModelSpec, RevisionSpec, ServingSpec


def check_free(spec: ServingSpec, name: str) -> None:
    """Raises BadRequest if clients may not change this model."""
    if spec.is_managed(name):
        raise BadRequest(
            f"model {name!r} is managed by a control plane, so clients cannot load or unload it; change it by its "
            f"ModelService, e.g. `vedette rollout start {name}`"
        )
    variants = [variant.name for model in spec.models if model.name == name for variant in model.variants]
    if variants:
        raise BadRequest(
            f"model {name!r} serves the variants {variants} beside stable, which loading or unloading it would drop; "
            "end its rollout or experiment first"
        )


def revision_beside(spec: ServingSpec, name: str, version: str, bundle: str) -> RevisionSpec:
    """The revision for a bundle, with the overrides that this version has already."""
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
