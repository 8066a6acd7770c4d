"""Turns columns of a declaration into Feast fields. A field's default is stored in its tags, because Feast has no place for it."""

import json

from feast import Field
from feast.types import Bool, Float32, Float64, Int32, Int64, PrimitiveFeastType, String

from feature_repo.declaration import Column

_TYPES = {"FP32": Float32, "FP64": Float64, "INT32": Int32, "INT64": Int64, "BOOL": Bool, "BYTES": String}


def feast_type(datatype: str) -> PrimitiveFeastType:
    """Feast's type for a datatype of the Open Inference Protocol. Raises KeyError for any other."""
    return _TYPES[datatype]


def field(column: Column) -> Field:
    """The Feast field of a feature. Its tag `default` holds the default as JSON."""
    return Field(
        name=column.name,
        dtype=feast_type(column.datatype),
        description=column.description,
        tags={"default": json.dumps(column.default)},
    )
