"""Bodies of the HTTP door: requests to JSON and the binary extension, responses back to values.

Pure, and written from the specification alone. Decoders raise Failed with what is wrong in the server's answer."""

import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from urllib.parse import quote

from operators.conformance.exchange import HttpCall, HttpReply, Reply
from operators.conformance.values import (
    DATATYPES,
    FLOATS,
    INTEGERS,
    STRUCT_CODES,
    Answer,
    Element,
    Request,
    Tensor,
    expect,
    fail,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
JSON_HEADERS = {"Content-Type": "application/json"}


def model_path(model: str, verb: str = "", version: str | None = None) -> str:
    """Path of a model's resource."""
    versioned = f"/versions/{quote(version, safe='')}" if version is not None else ""
    return f"/v2/models/{quote(model, safe='')}{versioned}" + (f"/{verb}" if verb else "")


def to_json_element(element: Element) -> bool | int | float | str:
    """BYTES travel as JSON strings."""
    return element.decode() if isinstance(element, bytes) else element


def nested(data: Sequence[object], shape: Sequence[int]) -> list[object]:
    """Flat elements to lists within lists of the given shape."""
    if len(shape) <= 1:
        return list(data)
    step = prod(shape[1:])
    return [nested(data[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def input_object(tensor: Tensor, *, is_nested: bool = False) -> dict[str, object]:
    """A request input as JSON."""
    data: list[object] = [to_json_element(e) for e in tensor.elements]
    if is_nested:
        data = nested(data, tensor.shape)
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype, "data": data}


def request_object(request: Request, *, is_nested: bool = False) -> dict[str, object]:
    """The inference request as JSON."""
    body: dict[str, object] = {"inputs": [input_object(t, is_nested=is_nested) for t in request.inputs]}
    if request.id is not None:
        body["id"] = request.id
    if request.parameters:
        body["parameters"] = dict(request.parameters)
    if request.outputs:
        body["outputs"] = [{"name": name} for name in request.outputs]
    return body


def infer_call(model: str, body: object, version: str | None = None, headers: Mapping[str, str] | None = None) -> HttpCall:
    """POST a body to infer: bytes unchanged, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpCall("POST", model_path(model, "infer", version), raw, JSON_HEADERS if headers is None else headers)


def pack(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor: little-endian, row-major, BYTES with a 4-byte length before each element."""
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(e)) + e for e in tensor.elements if isinstance(e, bytes))
    return struct.pack(f"<{len(tensor.elements)}{STRUCT_CODES[tensor.datatype]}", *tensor.elements)


def unpack(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """A tensor from its raw bytes."""
    expect(all(dim >= 0 for dim in shape), f"output {name}: shape {list(shape)} of an answer has a negative dimension")
    count = prod(shape)
    if datatype == "BYTES":
        found = _unpack_strings(name, raw)
        expect(
            len(found) == count, f"output {name}: shape {list(shape)} needs {count} elements, the raw bytes hold {len(found)}"
        )
        return Tensor(name, datatype, shape, found)
    expect(datatype in STRUCT_CODES, f"output {name}: datatype {datatype!r} is not one of the protocol's")
    code = STRUCT_CODES[datatype]
    size = count * struct.calcsize(f"<{code}")
    expect(len(raw) == size, f"output {name}: {datatype}{list(shape)} needs {size} raw bytes, got {len(raw)}")
    return Tensor(name, datatype, shape, struct.unpack(f"<{count}{code}", raw))


def _unpack_strings(name: str, raw: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        expect(at + 4 <= len(raw), f"output {name}: the raw bytes end within a length prefix")
        (length,) = struct.unpack_from("<I", raw, at)
        expect(at + 4 + length <= len(raw), f"output {name}: the raw bytes end within an element")
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return tuple(found)


def http(reply: Reply) -> HttpReply:
    """The reply, if there was one."""
    return reply if isinstance(reply, HttpReply) else fail(f"no HTTP response: {getattr(reply, 'reason', reply)}")


def json_body(reply: Reply, status: int = 200) -> object:
    """The JSON of a reply that must have this status."""
    answered = http(reply)
    expect(answered.status == status, f"status {answered.status}, expected {status}; body {excerpt(answered.body)}")
    return parse_json(answered.body)


def parse_json(body: bytes) -> object:
    """Parse strictly: UTF-8, no NaN or Infinity literals."""
    try:
        parsed: object = json.loads(body.decode(), parse_constant=lambda word: fail(f"{word} is not JSON"))
    except ValueError as error:
        fail(f"the body is not JSON ({error}): {excerpt(body)}")
    except RecursionError:
        fail(f"the body is nested too deeply: {excerpt(body)}")
    return parsed


def excerpt(body: bytes) -> str:
    """The first part of a body, for people."""
    text = body[:160].decode(errors="replace")
    return repr(text if len(body) <= 160 else text + "...")


def as_object(value: object, what: str) -> Mapping[str, object]:
    """A JSON object."""
    return value if isinstance(value, dict) else fail(f"{what} must be a JSON object, got {value!r:.80}")


def as_list(value: object, what: str) -> list[object]:
    """A JSON array."""
    return value if isinstance(value, list) else fail(f"{what} must be a JSON array, got {value!r:.80}")


def as_string(value: object, what: str) -> str:
    """A JSON string."""
    return value if isinstance(value, str) else fail(f"{what} must be a string, got {value!r:.80}")


def as_shape(value: object, what: str) -> tuple[int, ...]:
    """A JSON array of whole numbers."""
    dims = as_list(value, what)
    expect(all(type(d) is int for d in dims), f"{what} must hold integers only, got {dims!r:.80}")
    return tuple(d for d in dims if isinstance(d, int))


def _element(value: object, datatype: str, what: str) -> Element:
    if datatype == "BOOL" and isinstance(value, bool):
        return value
    if datatype in INTEGERS and type(value) is int:
        return value
    if datatype in FLOATS and value is None:
        return float("nan")  # JSON has no NaN; null is what servers write for it
    with suppress(OverflowError, UnicodeEncodeError):  # a whole number that no float holds, half a surrogate pair
        if datatype in FLOATS and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if datatype == "BYTES" and isinstance(value, str):
            return value.encode()
    return fail(f"{what}: {value!r:.60} is no {datatype} element")


def _flat(values: Sequence[object]) -> list[object]:
    out: list[object] = []
    for value in values:
        out.extend(_flat(value) if isinstance(value, list) else [value])
    return out


def _output(value: object, tail: bytes, at: int) -> tuple[Tensor, int]:
    """One output and how many bytes of the binary part it takes."""
    described = as_object(value, "an output")
    name = as_string(described.get("name"), "an output's name")
    datatype = as_string(described.get("datatype"), f"output {name}: datatype")
    expect(datatype in DATATYPES, f"output {name}: datatype {datatype!r} is not one of the protocol's")
    shape = as_shape(described.get("shape"), f"output {name}: shape")
    expect(all(dim >= 0 for dim in shape), f"output {name}: shape {list(shape)} of an answer has a negative dimension")
    size = as_object(described.get("parameters") or {}, f"output {name}: parameters").get("binary_data_size")
    if size is None:
        try:
            data = _flat(as_list(described.get("data"), f"output {name}: data"))
        except RecursionError:
            fail(f"output {name}: data is nested too deeply")
        expect(len(data) == prod(shape), f"output {name}: shape {list(shape)} needs {prod(shape)} elements, got {len(data)}")
        return Tensor(name, datatype, shape, tuple(_element(v, datatype, f"output {name}") for v in data)), 0
    expect(type(size) is int, f"output {name}: binary_data_size {size!r} is not an integer")
    expect("data" not in described, f"output {name}: has both data and binary_data_size")
    length = size if isinstance(size, int) else 0
    expect(at + length <= len(tail), f"output {name}: binary_data_size {length} goes beyond the body")
    return unpack(name, datatype, shape, tail[at : at + length]), length


def read_answer(reply: Reply) -> Answer:
    """Read an inference response, JSON or with a binary part."""
    answered = http(reply)
    expect(answered.status == 200, f"status {answered.status}, expected 200; body {excerpt(answered.body)}")
    length = answered.headers.get(HEADER_LENGTH.lower())
    expect(length is None or length.isdecimal(), f"{HEADER_LENGTH}: {length!r} is not a length")
    head = len(answered.body) if length is None else int(length)
    expect(head <= len(answered.body), f"{HEADER_LENGTH}: {head} goes beyond the body of {len(answered.body)} bytes")
    body = as_object(parse_json(answered.body[:head]), "the response")
    outputs, at, tail = [], 0, answered.body[head:]
    for value in as_list(body.get("outputs"), "outputs"):
        tensor, taken = _output(value, tail, at)
        outputs.append(tensor)
        at += taken
    expect(at == len(tail), f"{len(tail) - at} bytes of the body belong to no output")
    return Answer(
        model=as_string(body.get("model_name"), "model_name"),
        version=as_string(body.get("model_version") or "", "model_version"),
        id=as_string(body.get("id") or "", "id"),
        outputs=tuple(outputs),
    )
