"""What the control plane tells the data plane: which revisions to serve. The contract between the planes.

Pure. Reaches the replicas as Ray Serve's `user_config`, so it is plain JSON at the border (`ServingSpec.from_config`)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class RevisionSpec(BaseModel):
    """Everything that can change an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Digest
    operating_point: str | None = None
    """Overrides the bundle's default operating point."""

    @property
    def digest(self) -> str:
        """Identity of this revision: sha256 over its canonical JSON."""
        body = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":")).encode()
        return f"sha256:{hashlib.sha256(body).hexdigest()}"


class ModelSpec(BaseModel):
    """One model version to serve, by one revision."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    revision: RevisionSpec


class ServingSpec(BaseModel):
    """Every model version this service should serve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[ModelSpec, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ServingSpec":
        """Parse `user_config`. Raises pydantic.ValidationError."""
        return cls.model_validate(config)
