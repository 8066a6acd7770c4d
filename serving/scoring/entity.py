"""The entity of a row as two hashes, the same on every door. Core.

The entity is named by the join keys of a row. For a request without keys (tensors) the parameter `entity` names it, else the content of the
row does. Its canonical bytes are hashed with the model's name (MurmurHash3, x64, 128 bit): the first half places it in the split, the
second remembers it and places it in the mirror, so that the mirror's choice does not depend on the split.

Canonical bytes: text as UTF-8; whole numbers and booleans as decimal digits, whatever their width; other numbers as
little-endian FP64; several keys in the order of their names, each behind its length (4 bytes, little-endian). One key alone
stands as it is, so that `entity: "10.0.0.1"` beside a tensor is the entity whose only key is 10.0.0.1."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import mmh3
import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.segments.mapping import SegmentMap

BUCKETS: Final = 10_000
"""Steps of the split: weights have a resolution of 0.01 percent."""
ENTITY: Final = "entity"
"""Request parameter that names the entity of a request without keys."""
EntityHash = tuple[int, int]
"""The two halves of an entity's hash, each uniform on 64 bit."""
_LENGTH: Final = struct.Struct("<I")
_DOUBLE: Final = struct.Struct("<d")


def salt_of(model: str) -> bytes:
    """What every hash of this model begins with."""
    return model.encode() + b"\0"


def bucket(entity_hash: EntityHash) -> int:
    """Bucket of the split, 0 to BUCKETS - 1."""
    return entity_hash[0] % BUCKETS


def mirror_bucket(entity_hash: EntityHash) -> int:
    """Bucket of the mirror, 0 to BUCKETS - 1; independent of `bucket`."""
    return entity_hash[1] % BUCKETS


def entity_hashes(salt: bytes, rows: TensorRows | ColumnRows, named: object, *, by_row: bool) -> list[EntityHash]:
    """Each row's entity hash; a single one means that all rows are of one entity.

    named: the request's parameter `entity`, None if absent. by_row: whether the rows of tensors are events of their own.
    Raises BadRequest if `named` is not text or a whole number."""
    if isinstance(rows, ColumnRows) and rows.keys:
        return _hash_columns(salt, rows.keys)
    if named is not None:
        return [_hash(salt + canonical(named))]
    if isinstance(rows, ColumnRows):
        return _hash_columns(salt, rows.fields)
    return _hash_tensors(salt, rows, by_row=by_row)


def row_segments(mapping: SegmentMap, rows: TensorRows | ColumnRows, named: object) -> Sequence[tuple[int, ...]] | None:
    """Segments of each row (places in `mapping.segments`) by its one key or, without keys, by the entity that the request names; None
    where rows name no entity, or have a key of several columns. named: as above."""
    if isinstance(rows, ColumnRows) and rows.keys:
        if len(rows.keys) != 1:
            return None
        (column,) = rows.keys.values()
        find = mapping.find
        return [find(value if type(value) is bytes else canonical(value)) for value in column.tolist()]
    return None if named is None else [mapping.find(canonical(named))] * rows.rows


def canonical(value: object) -> bytes:
    """One key's value as bytes. Raises BadRequest for a value that is not a scalar."""
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool | int | np.bool_ | np.integer):
        return b"%d" % int(value)
    if isinstance(value, float | np.floating):
        return _DOUBLE.pack(float(value))
    raise BadRequest(f"parameter {ENTITY!r} is {value!r:.60}, expected text or a number that names the entity")


def _hash(content: bytes) -> EntityHash:
    first, second = mmh3.hash64(content, 0, True, False)
    return first, second


def _hash_columns(salt: bytes, columns: Mapping[str, NDArray[Any]]) -> list[EntityHash]:
    values = [[v if type(v) is bytes else canonical(v) for v in columns[name].tolist()] for name in sorted(columns)]
    if len(values) == 1:
        return [_hash(salt + v) for v in values[0]]
    pack = _LENGTH.pack
    return [_hash(salt + b"".join([pack(len(v)) + v for v in row])) for row in zip(*values, strict=True)]


def _hash_tensors(salt: bytes, rows: TensorRows, *, by_row: bool) -> list[EntityHash]:
    tensors = [rows.tensors[name] for name in sorted(rows.tensors)]
    if not by_row or any(t.shape[:1] != (rows.rows,) for t in tensors):
        return [_hash(salt + b"".join([_content(t) for t in tensors]))]
    contents = [_contents(t, rows.rows) for t in tensors]
    return [_hash(salt + b"".join(row)) for row in zip(*contents, strict=True)]


def _contents(tensor: NDArray[Any], rows: int) -> list[bytes]:
    """The content of each row."""
    if tensor.dtype.hasobject:
        return [_content(tensor[i : i + 1]) for i in range(rows)]
    whole = _content(tensor)
    width = len(whole) // rows
    return [whole[at : at + width] for at in range(0, rows * width, width)] if width else [b""] * rows


def _content(tensor: NDArray[Any]) -> bytes:
    if tensor.dtype.hasobject:
        elements = [canonical(v) for v in tensor.reshape(-1).tolist()]
        return b"".join([_LENGTH.pack(len(e)) + e for e in elements])
    return np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes()
