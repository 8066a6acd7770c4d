"""What all parts of bundle.json have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ManifestPart(BaseModel):
    """A part of bundle.json: it never changes, and has no field that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)
