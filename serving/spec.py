"""What the control plane tells the data plane: which revisions to serve. The contract between the planes.

Pure. Reaches the replicas as Ray Serve's `user_config`, so it is plain JSON at the border (`ServingSpec.from_config`)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class RevisionSpec(BaseModel):
    """Everything that can change an answer. The model, its feature view and its rules are in the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Digest
    operating_point: str | None = None
    """Overrides the bundle's default operating point."""
    thresholds: Mapping[str, Finite] = {}
    """Alert thresholds that replace the bundle's, by operating point."""
    feature_service: str | None = None
    """Replaces the bundle's feature service; it must give the same features."""

    @property
    def digest(self) -> str:
        """Identity of this revision: sha256 over its canonical JSON. Overrides that are not used do not count."""
        content: dict[str, Any] = {"bundle": self.bundle, "operating_point": self.operating_point}
        if self.thresholds:
            content["thresholds"] = dict(self.thresholds)
        if self.feature_service is not None:
            content["feature_service"] = self.feature_service
        body = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return f"sha256:{hashlib.sha256(body).hexdigest()}"


class VariantSpec(BaseModel):
    """A revision beside stable in the same replica."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: VariantName
    """`candidate`, or any name in an experiment."""
    version: str
    revision: RevisionSpec
    weight: Percent = 0.0
    """Percentage of entities that it answers; 0 is dark: it is loaded, and answers only requests that name it."""
    mirror: Percent = 0.0
    """Percentage of stable's requests it scores a copy of, after the answer has left."""


class ModelSpec(BaseModel):
    """One model version to serve as stable, and the variants beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    revision: RevisionSpec
    variants: tuple[VariantSpec, ...] = ()
    """In a fixed order; stable takes what their weights leave of 100."""
    latency_objective_ms: Finite = 100.0
    """A request that takes longer counts as slow in the evidence."""

    @model_validator(mode="after")
    def _split(self) -> "ModelSpec":
        names = [v.name for v in self.variants]
        if len(set(names)) != len(names) or "stable" in names:
            raise ValueError(
                f"variants of {self.name!r} are {names}; names must be distinct, and `stable` is reserved for the model itself"
            )
        total = sum(v.weight for v in self.variants)
        if total > 100 + 1e-9:
            raise ValueError(
                f"weights of the variants of {self.name!r} sum to {total:g}; they are percentages and must not sum to more than 100"
            )
        return self


class ServingSpec(BaseModel):
    """Every model version this service should serve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[ModelSpec, ...] = ()
    managed: tuple[str, ...] | Literal["all"] = ()
    """Models that a control plane changes, and clients may not."""

    def is_managed(self, name: str) -> bool:
        """Whether a control plane changes this model."""
        return self.managed == "all" or name in self.managed

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ServingSpec":
        """Parse `user_config`. Raises pydantic.ValidationError."""
        return cls.model_validate(config)
