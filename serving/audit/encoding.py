"""An audit record as one line of JSON, and back; the numbers come back to the bit.

Pure. Arrays: short, finite ones are plain lists, for people and for jq. Long ones, and those holding NaN or infinities (which
JSON has no words for), are {datatype, shape, raw}: raw is base64 of the little-endian row-major bytes, the protocol's own
binary form. Tensors of `inputs` are {datatype, shape, data} or {datatype, shape, raw}. Bytes that are no UTF-8 text are
{"base64": ...} in place of the string."""

import base64
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.audit.record import AuditRecord
from serving.protocol.messages import DATATYPES, DTYPES, Tensor

LONGEST_LIST: Final = 1024
"""Elements of a numeric array beyond which it is written raw."""


def encode_record(record: AuditRecord) -> bytes:
    """One line, with its newline. Raises TypeError or ValueError for something that has no JSON form."""
    inputs = {name: _tensor(value) if isinstance(value, Tensor) else value for name, value in record.inputs.items()}
    return _ENCODER.encode(msgspec.structs.replace(record, inputs=inputs)) + b"\n"


def decode_record(line: bytes) -> AuditRecord:
    """Read a line. Arrays stay in their JSON form (see `decode_array`). Raises msgspec.ValidationError or DecodeError."""
    return _DECODER.decode(line)


def decode_array(value: Any) -> NDArray[Any]:
    """Make the array of a record's field or input again, to the bit; strings become an object array of `bytes`.

    A plain list has no datatype of its own: its numbers become float64, int64 or bool."""
    if isinstance(value, Mapping):
        dtype, shape = DTYPES[value["datatype"]], tuple(value["shape"])
        if "raw" in value:
            return np.frombuffer(base64.b64decode(value["raw"]), dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        if dtype.hasobject:
            return _bytes_array(value["data"]).reshape(shape)
        return np.array(value["data"], dtype).reshape(shape)
    if value and isinstance(value[0], str | Mapping):
        return _bytes_array(value)
    return np.array(value)


def _bytes_array(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), np.object_)
    array[:] = [v.encode() if isinstance(v, str) else base64.b64decode(v["base64"]) for v in values]
    return array


def _tensor(tensor: Tensor) -> dict[str, Any]:
    data = tensor.data
    values = _values(data.reshape(-1) if data.ndim != 1 else data)
    form = {"data": values} if values is not None else {"raw": _raw(data)}
    return {"datatype": tensor.datatype, "shape": data.shape, **form}


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        values = _values(value) if value.ndim == 1 else None
        return values if values is not None else {"datatype": DATATYPES[value.dtype], "shape": value.shape, "raw": _raw(value)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"an audit record cannot hold {type(value).__name__}")


def _values(flat: NDArray[Any]) -> list[Any] | None:
    """The elements, or None if they are better kept raw. Plain Python on purpose: most requests have one row."""
    kind = flat.dtype.kind
    if kind == "O":
        return [_text(v) for v in flat.tolist()]
    if flat.size > LONGEST_LIST:
        return None
    values = flat.tolist()
    return values if kind != "f" or isfinite(sum(values)) else None


def _raw(array: NDArray[Any]) -> str:
    if array.dtype.hasobject:
        raise TypeError(f"an audit record cannot hold an array of objects of shape {array.shape}; hand it over as a Tensor")
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode)
_DECODER: Final = msgspec.json.Decoder(AuditRecord)
