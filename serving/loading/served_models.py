"""What is served at one moment: the variants of each model, and what is not loaded and why. Core.

Made from the specification and the loaded revisions, and replaced whole. A revision that cannot be loaded takes nothing out of service: a
variant's share goes to stable, and the predecessor of a stable revision stays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from serving.errors import NotFound, Unavailable
from serving.scoring.loaded_revision import STABLE, LoadedRevision
from serving.scoring.variant_set import Variant, VariantSet, incompatibility, mirror_buckets
from serving.spec import ModelSpec, ServingSpec
from serving.telemetry.evidence import VariantEvidence

UNKNOWN: Final = "Request for unknown model"
"""The words that Triton's public example clients look for."""

LoadedKey = tuple[str, str]
"""Name and version."""
RevisionKey = tuple[str, str]
"""Name and revision digest."""
EvidenceOf = Callable[[str, str, str], VariantEvidence]
"""(model, variant, revision) -> where it is accounted for."""


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Something that should be loaded and is not."""

    name: str
    version: str
    variant: str
    revision: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServedModels:
    """variant_sets: by name and version of stable. by_version: each loaded version alone. current: the variants that answer for a name.

    failures: what should be loaded and is not. is_settled: a specification was loaded or refused as a whole before."""

    variant_sets: Mapping[LoadedKey, VariantSet] = field(default_factory=lambda: MappingProxyType({}))
    by_version: Mapping[LoadedKey, VariantSet] = field(default_factory=lambda: MappingProxyType({}))
    current: Mapping[str, VariantSet] = field(default_factory=lambda: MappingProxyType({}))
    failures: tuple[LoadFailure, ...] = ()
    is_settled: bool = False

    def find(self, name: str, version: str | None) -> VariantSet:
        """Who answers. Asked for a version, that version alone. Raises NotFound, Unavailable."""
        found = self.current.get(name) if version is None else self.by_version.get((name, version))
        if found is not None:
            return found
        reasons = [f.reason for f in self.failures if f.name == name and version in (None, f.version)]
        if reasons:
            raise Unavailable(f"model {name!r} is not loaded: {reasons[0]}")
        if not self.is_settled:  # a replica that is starting: what it will serve is not known yet
            raise Unavailable(f"model {name!r} is not loaded yet: the server is starting; try again soon")
        if name in self.current:
            raise NotFound(f"{UNKNOWN}: {name!r} version {version!r} is not loaded; loaded versions are {self.versions(name)}")
        raise NotFound(f"{UNKNOWN}: {name!r} is not found; loaded are {sorted(self.current)}")

    def versions(self, name: str) -> tuple[str, ...]:
        """Loaded versions of a model, those of its variants too, oldest first."""
        return tuple(sorted((v for n, v in self.by_version if n == name), key=int))

    def variants(self) -> tuple[Variant, ...]:
        """Everything loaded."""
        return tuple(m for variants in self.variant_sets.values() for m in (variants.stable, *variants.others))

    def reason(self, key: LoadedKey) -> str:
        """Why a version is not loaded."""
        return next((f.reason for f in self.failures if (f.name, f.version) == key), "not loaded")


def build_served_models(
    spec: ServingSpec,
    loaded: Mapping[RevisionKey, LoadedRevision],
    refused: Mapping[RevisionKey, str],
    before: ServedModels,
    evidence_of: EvidenceOf,
    *,
    is_settled: bool,
) -> ServedModels:
    """What can be served of a specification. refused: what could not be loaded, and why."""
    variant_sets: dict[LoadedKey, VariantSet] = {}
    failures: list[LoadFailure] = []
    missing: list[ModelSpec] = []
    for model in spec.models:
        stable = loaded.get((model.name, model.revision.digest))
        if stable is None:
            missing.append(model)
            failures += _failures(model.name, model.version, STABLE, model.revision.digest, refused)
        elif stable.version != model.version:
            missing.append(model)
            failures.append(
                LoadFailure(model.name, model.version, STABLE, stable.digest, _wrong_version(stable, model.version))
            )
        else:
            variant_sets[model.name, model.version] = _variant_set(model, stable, loaded, refused, failures, evidence_of)
    for model in missing:
        predecessor = before.variant_sets.get((model.name, model.version))
        if predecessor is None and not any(name == model.name for name, _ in variant_sets):
            predecessor = before.current.get(model.name)
        if predecessor is not None:
            revision = predecessor.stable.revision
            variant_sets.setdefault((revision.name, revision.version), predecessor)
    by_version: dict[LoadedKey, VariantSet] = {}
    for variants in variant_sets.values():
        _add_version(by_version, variants.stable.revision)
    for variants in variant_sets.values():
        for variant in variants.others:
            _add_version(by_version, variant.revision)
    current = {
        name: variant_sets[name, version] for name, version in sorted(variant_sets, key=lambda key: (key[0], int(key[1])))
    }
    return ServedModels(
        MappingProxyType(variant_sets),
        MappingProxyType(by_version),
        MappingProxyType(current),  # the last of a name wins: its newest version
        tuple(failures),
        is_settled,
    )


def _variant_set(
    model: ModelSpec,
    stable: LoadedRevision,
    loaded: Mapping[RevisionKey, LoadedRevision],
    refused: Mapping[RevisionKey, str],
    failures: list[LoadFailure],
    evidence_of: EvidenceOf,
) -> VariantSet:
    beside: dict[str, Variant] = {}
    for variant in model.variants:
        digest = variant.revision.digest
        found = loaded.get((model.name, digest))
        if found is None:
            failures += _failures(model.name, variant.version, variant.name, digest, refused)
            continue
        problem = incompatibility(stable, found) if found.version == variant.version else _wrong_version(found, variant.version)
        if problem is not None:
            failures.append(LoadFailure(model.name, variant.version, variant.name, digest, problem))
            continue
        evidence = evidence_of(model.name, variant.name, digest)
        beside[variant.name] = Variant(found.as_variant(variant.name), evidence, mirror_buckets(variant.mirror))
    evidence = evidence_of(model.name, STABLE, stable.digest)
    return VariantSet.of(model, Variant(stable.as_variant(STABLE), evidence), beside)


def _wrong_version(revision: LoadedRevision, version: str) -> str:
    return (
        f"bundle {revision.bundle} is {revision.name}/{revision.version}, expected {revision.name}/{version}; "
        "name the bundle of this version"
    )


def _failures(name: str, version: str, variant: str, digest: str, refused: Mapping[RevisionKey, str]) -> list[LoadFailure]:
    reason = refused.get((name, digest))
    return [] if reason is None else [LoadFailure(name, version, variant, digest, reason)]


def _add_version(by_version: dict[LoadedKey, VariantSet], revision: LoadedRevision) -> None:
    by_version.setdefault((revision.name, revision.version), VariantSet.only(revision))
