"""What an experiment's spec means for a given stable revision: identity, revisions, targets, and where each variant is counted. Pure."""

import hashlib

from operators.rollout.evidence import key
from operators.rollout.spec import ExperimentSpec, ExperimentVariant, Revision
from operators.rollout.status import TargetVariant


def digest(spec: ExperimentSpec) -> str:
    """Identity of an experiment's spec."""
    return f"sha256:{hashlib.sha256(spec.model_dump_json(by_alias=True).encode()).hexdigest()}"


def revision_of(variant: ExperimentVariant, stable: Revision) -> Revision:
    """The revision that a variant serves; without one of its own, stable's."""
    return variant.revision or stable


def tally_key(spec: ExperimentSpec, variant: ExperimentVariant, stable: Revision) -> str:
    """Where a variant's evidence is counted; a baseline that is what stable serves is stable itself."""
    revision = revision_of(variant, stable)
    is_stable = variant == spec.variants[0] and revision.digest == stable.digest
    return key("stable" if is_stable else variant.name, revision.digest)


def target_variants(spec: ExperimentSpec, stable: Revision) -> tuple[TargetVariant, ...]:
    """What is served beside stable, with the weights to come."""
    return tuple(
        TargetVariant(name=v.name, revision=revision_of(v, stable), weight=v.weight)
        for v in spec.variants
        if tally_key(spec, v, stable) != key("stable", stable.digest)
    )
