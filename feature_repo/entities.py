"""The entities of the feature repository: the keys by which features are looked up."""

from feast import Entity, ValueType

from feature_repo.declaration import Column
from feature_repo.flows import HOST

_KEY_TYPES = {"BYTES": ValueType.STRING, "INT64": ValueType.INT64, "INT32": ValueType.INT32}


def entity(key: Column) -> Entity:
    """The Feast entity of one join key. Raises ValueError unless it is text or a whole number: floats have no stable encoding."""
    if key.datatype not in _KEY_TYPES:
        raise ValueError(f"key {key.name!r} is {key.datatype}; a key is BYTES, INT64 or INT32")
    return Entity(name=key.name, join_keys=[key.name], value_type=_KEY_TYPES[key.datatype], description=key.description)


host = entity(HOST)
