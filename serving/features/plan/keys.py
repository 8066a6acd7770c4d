"""Entity keys as Feast writes them: columns to the bytes a store looks rows up by. Core.

Source: feast.infra.key_encoding_utils.serialize_entity_key, entity_key_serialization_version 3."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.definitions import JoinKey
from serving.features.plan.errors import InvalidColumn, RegistryError
from serving.ports import Columns

DATATYPES: Final = {"STRING": "BYTES", "BYTES": "BYTES", "INT32": "INT32", "INT64": "INT64", "UNIX_TIMESTAMP": "INT64"}
"""Type of a join key -> the protocol's datatype. Feast serialises keys of these types only."""

_NUMBERS: Final = {"STRING": 2, "BYTES": 1, "INT32": 3, "INT64": 4, "UNIX_TIMESTAMP": 8}
_u32 = struct.Struct("<I").pack
_two_u32 = struct.Struct("<II").pack
_PACK: Final = {4: struct.Struct("<i").pack, 8: struct.Struct("<q").pack}


def key_encoder(keys: Sequence[JoinKey], version: int) -> Callable[[Columns, int], list[bytes]]:
    """A function of the request's columns and their length n to n serialised keys. Raises RegistryError."""
    if version != 3:
        raise RegistryError(
            f"entity_key_serialization_version is {version}, expected 3; re-materialise the online store with it"
        )
    ordered = sorted(keys, key=lambda key: key.stored)
    for key in ordered:
        if key.type not in DATATYPES:
            raise RegistryError(f"join key {key.stored!r} is {key.type}; Feast serialises {', '.join(DATATYPES)} only")
    if any(not key.asked for key in ordered):  # a view without an entity: one row for everybody, under an empty text
        constant = _u32(1) + _two_u32(2, len(ordered[0].stored)) + ordered[0].stored.encode() + _two_u32(2, 0)
        return lambda columns, rows: [constant] * rows
    prefix = _prefix(ordered)
    parts = [(key.asked, _part(key.type)) for key in ordered]

    if len(parts) == 1:
        name, encode_one = parts[0]

        def encode_single(columns: Columns, rows: int) -> list[bytes]:
            return [prefix + value for value in encode_one(column(columns, name, rows))]

        return encode_single

    def encode(columns: Columns, rows: int) -> list[bytes]:
        encoded = [encode_part(column(columns, name, rows)) for name, encode_part in parts]
        return [prefix + b"".join(values) for values in zip(*encoded, strict=True)] if encoded else [prefix] * rows

    return encode


def row_encoder(keys: Sequence[JoinKey], version: int) -> Callable[[Columns], bytes]:
    """The same for a request of one row, without the lists: most requests are. Raises RegistryError."""
    encode_all = key_encoder(keys, version)
    if len(keys) != 1 or not keys[0].asked or DATATYPES[keys[0].type] != "BYTES":
        return lambda columns: encode_all(columns, 1)[0]
    (key,) = keys
    name, head = key.asked, _prefix(keys) + _u32(_NUMBERS[key.type])

    def encode(columns: Columns) -> bytes:
        found = columns.get(name)
        if found is not None and found.shape == (1,) and type(value := found[0]) is bytes:
            return head + _u32(len(value)) + value
        return encode_all(columns, 1)[0]

    return encode


def _prefix(ordered: Sequence[JoinKey]) -> bytes:
    return _u32(len(ordered)) + b"".join(_two_u32(2, len(k.stored.encode())) + k.stored.encode() for k in ordered)


def column(columns: Columns, name: str, rows: int) -> NDArray[Any]:
    """A column of the request. Raises InvalidColumn if it is missing or not of shape (rows,)."""
    found = columns.get(name)
    if found is None:
        raise InvalidColumn(f"column {name!r} is missing; its values are needed to look features up or to compute them")
    if found.shape != (rows,):
        raise InvalidColumn(f"column {name!r} has shape {list(found.shape)}, expected [{rows}]")
    return found


def _part(type_name: str) -> Callable[[NDArray[Any]], list[bytes]]:
    return _texts(_NUMBERS[type_name]) if DATATYPES[type_name] == "BYTES" else _integers(type_name)


def _texts(number: int) -> Callable[[NDArray[Any]], list[bytes]]:
    def encode(values: NDArray[Any]) -> list[bytes]:
        """values: shape (rows,), bytes or text. Raises InvalidColumn for others."""
        try:
            return [_two_u32(number, len(value)) + value for value in values.tolist()]
        except TypeError:
            pass
        raw = [value.encode() if isinstance(value, str) else value for value in values.tolist()]
        if not all(isinstance(value, bytes) for value in raw):
            raise InvalidColumn(f"a text key holds {values.dtype} values, expected BYTES")
        return [_two_u32(number, len(value)) + value for value in raw]

    return encode


def _integers(type_name: str) -> Callable[[NDArray[Any]], list[bytes]]:
    size = 4 if type_name == "INT32" else 8
    head, pack = _two_u32(_NUMBERS[type_name], size), _PACK[size]

    def encode(values: NDArray[Any]) -> list[bytes]:
        """values: shape (rows,), whole numbers. Raises InvalidColumn for others, and for one that does not fit the type."""
        if not np.issubdtype(values.dtype, np.integer):
            raise InvalidColumn(f"a {type_name} key holds {values.dtype} values, expected whole numbers")
        try:
            return [head + pack(value) for value in values.tolist()]
        except struct.error as error:
            raise InvalidColumn(f"a value does not fit a {type_name} key: {error}") from error

    return encode


def decode_key(raw: bytes) -> dict[str, str | int | bytes]:
    """The names and values of a serialised key: for stores that are asked by value. Text that is not UTF-8 stays bytes."""
    (count,) = struct.unpack_from("<I", raw)
    at, parts = 4, []
    for _ in range(2 * count):  # the names, then the values, each with a type and a length
        number, size = struct.unpack_from("<II", raw, at)
        at += 8 + size
        parts.append((number, raw[at - size : at]))
    names, values = parts[:count], parts[count:]
    return {name.decode(): _value(number, value) for (_, name), (number, value) in zip(names, values, strict=True)}


def _value(number: int, raw: bytes) -> str | int | bytes:
    if number == _NUMBERS["STRING"]:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw
    return raw if number == _NUMBERS["BYTES"] else int.from_bytes(raw, "little", signed=True)
