"""Columns of a declaration as Feast fields. A field's default rides in its tags: Feast has no place of its own for it."""

import json

from feast import Field
from feast.types import Bool, Float32, Float64, Int32, Int64, PrimitiveFeastType, String

from feature_repo.declaration import Column

_TYPES = {"FP32": Float32, "FP64": Float64, "INT32": Int32, "INT64": Int64, "BOOL": Bool, "BYTES": String}


def feast_type(datatype: str) -> PrimitiveFeastType:
    """Feast's type for a protocol datatype."""
    return _TYPES[datatype]


def field(column: Column) -> Field:
    """The Feast field of a feature, with its default as a JSON tag."""
    return Field(
        name=column.name,
        dtype=feast_type(column.datatype),
        description=column.description,
        tags={"default": json.dumps(column.default)},
    )
