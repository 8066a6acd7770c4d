"""Shapes and raw bytes: what the JSON, binary and gRPC codecs share about tensors.

Pure. Raw bytes are little-endian, row-major; a BYTES element is a 4-byte little-endian length and that many bytes. `where`
names the tensor in messages, e.g. `inputs[0] "score"`."""

import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest
from serving.messages import DTYPES

MAX_RANK: Final = 32
"""Most dimensions of a tensor."""
MAX_NAME: Final = 1024
"""Longest name of a tensor, characters."""
_INTS: Final = frozenset({int})
_LENGTH: Final = struct.Struct("<I")
_SWAPPED: Final = sys.byteorder != "little"
_NAMES: Final = ", ".join(DTYPES)


def brief(value: object, most: int = 60) -> str:
    """A value as it may stand in a message: never long, never raw control characters."""
    text = repr(value if not isinstance(value, (str, bytes, list, tuple)) else value[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."


def known_dtype(datatype: object, where: str) -> np.dtype[Any]:
    """The numpy dtype of a protocol datatype. Raises BadRequest for an unknown one."""
    dtype = DTYPES.get(datatype) if type(datatype) is str else None
    if dtype is None:
        raise BadRequest(f"{where}: datatype is {brief(datatype)}, expected one of {_NAMES}")
    return dtype


def count_of(shape: Sequence[object], where: str) -> int:
    """Number of elements of a shape. Raises BadRequest unless it is whole numbers >= 0, at most MAX_RANK of them."""
    if not shape:
        return 1
    if set(map(type, shape)) != _INTS:
        wrong = next(dim for dim in shape if type(dim) is not int)
        raise BadRequest(f"{where}: shape has {brief(wrong)}, expected whole numbers, e.g. [1, 16]")
    dims: Sequence[int] = shape  # type: ignore[assignment]
    if min(dims) < 0:
        raise BadRequest(
            f"{where}: shape is {brief(list(dims))}; a request states its real dimensions, each 0 or more (-1 is for metadata)"
        )
    if len(dims) > MAX_RANK:
        raise BadRequest(f"{where}: shape has {len(dims)} dimensions, at most {MAX_RANK} are supported")
    return math.prod(dims)


def shaped(array: NDArray[Any], shape: Sequence[int], where: str) -> NDArray[Any]:
    """The array in that shape; its size has been compared with the shape's before."""
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as problem:  # [0, 2**62] has no elements, yet numpy cannot hold it
        raise BadRequest(f"{where}: shape {brief(list(shape))} is too large") from problem


def mismatch(where: str, shape: Sequence[int], count: int, given: int) -> BadRequest:
    """The number of elements does not fit the shape."""
    total = str(count) if count < 1 << 63 else "far too many"
    return BadRequest(f"{where}: shape {brief(list(shape))} means {total} elements, data has {given}")


def from_raw(raw: memoryview, datatype: str, shape: Sequence[int], count: int, where: str) -> NDArray[Any]:
    """A tensor from its raw bytes: a view of them where they are aligned, else copied. Raises BadRequest unless they fit the shape
    exactly."""
    if datatype == "BYTES":
        return shaped(_strings(raw, count, where), shape, where)
    dtype = DTYPES[datatype]
    if raw.nbytes != count * dtype.itemsize:
        raise BadRequest(
            f"{where}: shape {brief(list(shape))} of {datatype} means "
            f"{brief(count * dtype.itemsize)} bytes of raw data, got {raw.nbytes}"
        )
    if datatype == "BOOL":  # any byte but 0 is true, as in C; numpy must only ever see 0 and 1
        return shaped(np.frombuffer(raw, np.uint8) != 0, shape, where)
    array = np.frombuffer(raw, dtype)
    if _SWAPPED:
        array = array.byteswap()
    elif not array.flags.aligned:
        array = array.copy()
    return shaped(array, shape, where)


def _strings(raw: memoryview, count: int, where: str) -> NDArray[np.object_]:
    end = raw.nbytes
    if count * 4 > end:
        raise BadRequest(f"{where}: {brief(count)} BYTES elements need at least {brief(count * 4)} bytes, raw data has {end}")
    elements: list[bytes] = []
    at, data, unpack = 0, raw.tobytes(), _LENGTH.unpack_from
    for index in range(count):
        start = at + 4
        if start > end:
            raise BadRequest(f"{where}: raw data ends inside the length of element {index}; each is 4 bytes, little-endian")
        at = start + unpack(data, start - 4)[0]
        if at > end:
            raise BadRequest(f"{where}: element {index} claims {at - start} bytes, raw data has {end - start} left")
        elements.append(data[start:at])
    if at != end:
        raise BadRequest(f"{where}: raw data has {end - at} bytes more than its {count} elements")
    return objects(elements)


def to_raw(array: NDArray[Any], datatype: str) -> bytes:
    """A tensor's raw bytes."""
    if datatype == "BYTES":
        elements = array.reshape(-1).tolist()
        written = {element: _counted(as_bytes(element)) for element in set(elements)}  # verdicts: three, of a thousand rows
        return b"".join([written[element] for element in elements])
    return (array.byteswap() if _SWAPPED else array).tobytes()


def _counted(element: bytes) -> bytes:
    return _LENGTH.pack(len(element)) + element


def as_bytes(element: object) -> bytes:
    """A BYTES element. Models give `str` or `bytes`; both are UTF-8 on the wire."""
    return element if type(element) is bytes else str(element).encode("utf-8", "surrogatepass")


def objects(elements: Sequence[object]) -> NDArray[np.object_]:
    """A flat object array of exactly these elements."""
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array
