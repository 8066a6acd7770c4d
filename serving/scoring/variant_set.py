"""The variants of one model: stable, the others, and how entities are split between them. Core.

A VariantSet is immutable and replaced whole; a request keeps the one it began with. A variant that is not loaded or does not fit keeps its
range of the split, and stable answers in its place, so that no other range moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

from serving.errors import BadRequest
from serving.messages import InferRequest
from serving.scoring.entity import BUCKETS, ENTITY, EntityHash, entity_hashes, salt_of
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.loaded_revision import STABLE, LoadedRevision
from serving.scoring.split import Split
from serving.spec import ModelSpec
from serving.telemetry.evidence import VariantEvidence

VARIANT: Final = "variant"
"""Request parameter that asks for a variant by name; also the output that says each row's variant."""


NO_SPLIT: Final = Split(())


@dataclass(frozen=True, slots=True)
class Variant:
    """A loaded revision in the part it plays: stable, candidate or a named variant. evidence: its counters, None for a variant
    that a request named. mirror: number of buckets it mirrors."""

    revision: LoadedRevision
    evidence: VariantEvidence | None = None
    mirror: int = 0


@dataclass(frozen=True)
class VariantSet:
    """The loaded variants of one model, and which entities each answers. others: loaded variants in declared order. ranges: the variant
    that answers each range of the split, stable last.

    objective_s: a request that takes longer is slow."""

    stable: Variant
    others: tuple[Variant, ...] = ()
    split: Split = NO_SPLIT
    ranges: tuple[Variant, ...] = ()
    objective_s: float = 0.1

    @classmethod
    def only(cls, revision: LoadedRevision) -> "VariantSet":
        """One revision that a request named: no split, no evidence."""
        return cls(Variant(revision))

    @classmethod
    def of(cls, spec: ModelSpec, stable: Variant, loaded: Mapping[str, Variant]) -> "VariantSet":
        """By the specification. loaded: the variants that are loaded and fit, by name."""
        declared = spec.variants
        return cls(
            stable,
            tuple(loaded[v.name] for v in declared if v.name in loaded),
            Split.of([v.weight for v in declared]),
            (*(loaded.get(v.name, stable) for v in declared), stable),
            spec.latency_objective_ms / 1000,
        )

    @cached_property
    def by_name(self) -> Mapping[str, "VariantSet"]:
        """Each loaded variant alone, for requests that name it."""
        return MappingProxyType({m.revision.variant: VariantSet.only(m.revision) for m in (self.stable, *self.others)})

    @cached_property
    def reads_features(self) -> bool:
        """Whether any of them reads stored features."""
        return any(m.revision.feature_service is not None for m in (self.stable, *self.others))

    @cached_property
    def mirrors(self) -> tuple[Variant, ...]:
        """Variants that score copies of stable's rows."""
        return tuple(m for m in self.others if m.mirror)

    @cached_property
    def layout(self) -> tuple[object, ...]:
        """The split and the revisions behind it; entities are counted anew when it changes."""
        return self.split.ends, tuple((m.revision.variant, m.revision.digest) for m in (*self.ranges, *self.others))

    @cached_property
    def _salt(self) -> bytes:
        return salt_of(self.stable.revision.name)

    @cached_property
    def _outputs(self) -> frozenset[str]:
        """Outputs that every variant can answer."""
        known = [m.revision.model_outputs | set(m.revision.verdict_outputs) for m in (self.stable, *self.others)]
        return frozenset.intersection(*known)

    @cached_property
    def _takes_tensors(self) -> bool:
        return all(m.revision.inputs.tensors == self.stable.revision.inputs.tensors for m in self.others)

    def named(self, name: object) -> "VariantSet":
        """The variant of that name alone. Raises BadRequest, listing those there are."""
        found = self.by_name.get(name) if isinstance(name, str) else None
        if found is None:
            shown = f"{name!r:.60}"
            raise BadRequest(f"variant {shown} is not loaded; model {self.stable.revision.name!r} has {list(self.by_name)}")
        return found

    def can_split(self, request: InferRequest, rows: TensorRows | ColumnRows) -> bool:
        """Whether every variant can answer this request. If not, stable answers it and it does not count as evidence."""
        if not self._takes_tensors and isinstance(rows, TensorRows):
            return False
        return not request.outputs or all(o.name in self._outputs or o.name == VARIANT for o in request.outputs)

    def entity_hashes(self, request: InferRequest, rows: TensorRows | ColumnRows) -> list[EntityHash]:
        """The hash of each row's entity; a single one means that all rows are of one entity. Raises BadRequest."""
        named = request.parameters.get(ENTITY) if request.parameters else None
        return entity_hashes(self._salt, rows, named, by_row=self.stable.revision.manifest.score is not None)


def mirror_buckets(percent: float) -> int:
    """A mirror's percentage as a number of buckets."""
    return round(percent * BUCKETS / 100)


def incompatibility(stable: LoadedRevision, other: LoadedRevision) -> str | None:
    """Why this revision cannot serve beside stable, or None if it takes the same inputs and gives the same outputs."""
    ours, theirs = stable.inputs, other.inputs
    problems = []
    if (ours.keys, ours.fields, ours.event_time) != (theirs.keys, theirs.fields, theirs.event_time):
        problems.append(f"takes the columns {[*theirs.keys, *theirs.fields]}, stable takes {[*ours.keys, *ours.fields]}")
    if not ours.takes_columns and ours.tensors != theirs.tensors:
        problems.append(f"takes the tensors {list(theirs.tensors)}, stable takes {list(ours.tensors)}, or their shapes differ")
    if ours.allow_nonfinite and not theirs.allow_nonfinite:
        problems.append("refuses NaN and infinities, which stable takes")
    gone = [name for name in stable.verdict_outputs if name not in other.verdict_outputs]
    if not stable.verdict_outputs:
        has = {(o.name, o.datatype) for o in other.manifest.outputs}
        gone = [o.name for o in stable.manifest.outputs if (o.name, o.datatype) not in has]
    if gone:
        problems.append(f"lacks the outputs {gone}")
    points = sorted(stable.points.keys() - other.points.keys())
    if points:
        problems.append(f"lacks the operating points {points}")
    if not problems:
        return None
    return f"it cannot be served beside {STABLE}: it {'; it '.join(problems)}; serve it under another model name"
