"""The protocol's JSON, both ways: request bytes -> InferRequest, InferAnswer -> bytes.

Pure, and on the hot path: orjson and numpy, one pass over each tensor, no schema library. The usual tensor is checked by packing
it (`_plain`); any other tensor takes the slower path, which words the error. serving.doors.oip.binary_codec reads raw tensors that follow
the JSON; this module only asks its `Tail` for them.

Rules beyond the specification: elements are never coerced (no "3", true or 3.0 as INT32; whole numbers are fine as floats);
data is flat or nested exactly as the shape; BYTES elements are strings, meaning their UTF-8; NaN and infinities do not exist
in JSON (an answer writes them as null)."""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.doors.oip.envelope import Envelope, parameter_timeout_s, sooner
from serving.doors.oip.tensors import MAX_NAME, MAX_RANK, as_bytes, brief, count_of, known_dtype, mismatch, objects, shaped
from serving.errors import BadRequest, Unsupported
from serving.messages import DTYPES, NO_PARAMETERS, InferAnswer, InferRequest, Parameters, RequestedOutput, Tensor

Json = dict[str, Any]

_FLOATS: Final = frozenset({int, float})
_WHOLE: Final = frozenset({int})
_ACCEPTED: Final[Mapping[str, frozenset[type]]] = {
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"), _WHOLE),
    **dict.fromkeys(("FP16", "FP32", "FP64"), _FLOATS),
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
}
_LARGEST: Final[Mapping[str, float]] = {
    "FP16": np.nextafter(65520.0, 0).item(),
    "FP32": np.nextafter(2.0**128 - 2.0**103, 0).item(),
}
"""The largest number that still rounds to a finite one: the shortest text of FP32's largest number is slightly larger."""
_WORDS: Final[Mapping[type, str]] = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number with a fraction",
    type(None): "null",
    dict: "an object",
    list: "an array",
}
_NEEDS: Final[Mapping[frozenset[type], str]] = {
    _WHOLE: "a whole number",
    _FLOATS: "a number",
    _ACCEPTED["BOOL"]: "true or false",
    _ACCEPTED["BYTES"]: "a string",
}
_NO_TAIL: Final = "needs the header Inference-Header-Content-Length, the length of the JSON before the binary data"
_CODES: Final[Mapping[str, str]] = {
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""Datatype -> its letter in `struct`, which refuses values that are not numbers, not whole where that is needed, or out of range."""
_JSON: Final = "json"
"""Where an output's JSON is kept, see Tensor.texts."""
_SCALARS: Final = frozenset({bool, int, float, str})
_LISTS: Final = frozenset({list})


class Tail(Protocol):
    """Raw tensors that follow the JSON, in the order of the inputs."""

    def take(self, size: object, datatype: str, shape: Sequence[int], count: int, where: str) -> NDArray[Any]:
        """The next `size` bytes as a tensor. Raises BadRequest."""
        ...


def parse(body: bytes | memoryview) -> object:
    """JSON text to Python values. Raises BadRequest for an empty or malformed body."""
    if not body:
        raise BadRequest("the request body is empty; expected a JSON object with `inputs`")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        hint = "; NaN and Infinity are not JSON, send such tensors as binary data" if _has_nan(body, problem.pos) else ""
        raise BadRequest(f"the request body is not JSON: {problem}{hint}") from None


def _has_nan(body: bytes | memoryview, at: int) -> bool:
    return bytes(body[at : at + 9]).lstrip(b"-").startswith((b"NaN", b"Inf"))


def parse_object(body: bytes | memoryview) -> Json:
    """JSON text that is an object. Raises BadRequest."""
    document = parse(body)
    if type(document) is not dict:
        raise BadRequest(f"the request body is {_words(document)}, expected a JSON object with `inputs`")
    return document


def has_booleans(body: bytes) -> bool:
    """Whether `true` or `false` stands anywhere in this JSON; without either, no element of a tensor is a boolean."""
    return b"true" in body or b"false" in body


def read_request(document: Json, envelope: Envelope, tail: Tail | None = None, *, has_booleans: bool = True) -> InferRequest:
    """The request a parsed body states. has_booleans: of the body. Raises BadRequest or Unsupported."""
    items = document.get("inputs")
    if type(items) is not list or not items:
        raise BadRequest(f"inputs is {_words(items, 'inputs' in document)}, expected an array with at least one tensor")
    inputs = tuple([_plain(item, has_booleans) or _input(index, item, tail) for index, item in enumerate(items)])
    if len(inputs) > 1:
        _distinct("inputs", [tensor.name for tensor in inputs])
    model, version, deadline_s, trace, door, variant, arrived_ns = envelope
    if len(document) == 1:
        return InferRequest(model, version, inputs, None, NO_PARAMETERS, (), deadline_s, trace, door, variant, arrived_ns)
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise BadRequest(f"id is {_words(identity)}, expected a string")
    described_parameters = document.get("parameters")
    described_outputs = document.get("outputs")
    if described_parameters is None:
        parameters = NO_PARAMETERS
    else:
        parameters = read_parameters(described_parameters, "parameters")
        deadline_s = sooner(deadline_s, parameter_timeout_s(parameters))
    outputs = () if described_outputs is None else _outputs(described_outputs)
    return InferRequest(model, version, inputs, identity, parameters, outputs, deadline_s, trace, door, variant, arrived_ns)


def _plain(item: Any, has_booleans: bool) -> Tensor | None:
    """The usual input: numbers or text, flat, nothing odd about it; None for any other, valid or not. Flat and without helpers, because it
    is the largest cost of decoding. It accepts nothing that `_input` refuses, and makes the same tensor; a property test holds it to
    that."""
    try:
        name, datatype, shape, data = item["name"], item["datatype"], item["shape"], item["data"]
        if len(item) != 4 or type(name) is not str or not 0 < len(name) <= MAX_NAME or type(shape) is not list:
            return None
        count = 1
        for dim in shape:
            if type(dim) is not int or dim < 0:
                return None
            count *= dim
        if type(data) is not list or len(data) != count or len(shape) > MAX_RANK:
            return None
        if datatype == "BYTES":
            array: NDArray[Any] = np.empty(count, np.object_)
            array[:] = [text.encode() for text in data]
            return Tensor(name, datatype, array if len(shape) == 1 else array.reshape(shape))
        if has_booleans:  # struct takes true for 1
            return None
        packed = _packing(count, _CODES[datatype]).pack(*data)
        return Tensor(name, datatype, np.ndarray(shape, DTYPES[datatype], packed), NO_PARAMETERS, True)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, struct.error):
        return None


@lru_cache(maxsize=256)
def _packing(count: int, code: str) -> struct.Struct:
    return struct.Struct(f"={count}{code}")


def _input(index: int, item: object, tail: Tail | None) -> Tensor:
    if type(item) is not dict:
        raise BadRequest(f"inputs[{index}] is {_words(item)}, expected an object with name, shape, datatype and data")
    name = _name(item, f"inputs[{index}]")
    where = f'inputs[{index}] "{name}"'
    datatype: Any = item.get("datatype")
    known_dtype(datatype, where)
    shape = item.get("shape")
    if type(shape) is not list:
        raise BadRequest(f"{where}: shape is {_words(shape, 'shape' in item)}, expected an array of whole numbers")
    count = count_of(shape, where)
    given = item.get("parameters")
    parameters = NO_PARAMETERS if given is None else read_parameters(given, f"{where}: parameters")
    if "binary_data_size" in parameters:
        if "data" in item:
            raise BadRequest(f"{where}: has both data and parameters.binary_data_size; send one of them")
        if tail is None:
            raise BadRequest(f"{where}: parameters.binary_data_size {_NO_TAIL}")
        array = tail.take(parameters["binary_data_size"], datatype, shape, count, where)
        kept = {key: value for key, value in parameters.items() if key != "binary_data_size"}
        return Tensor(name, datatype, array, kept or NO_PARAMETERS)
    if "shared_memory_region" in parameters:
        raise Unsupported(f"{where}: shared memory is not offered; send the data in the request, as JSON or binary")
    data = item.get("data")
    if type(data) is not list:
        raise BadRequest(f"{where}: data is {_words(data, 'data' in item)}, expected an array of {count} elements")
    if data and type(data[0]) is list:
        data = _flat(data, shape, where)
    if len(data) != count:
        raise mismatch(where, shape, count, len(data))
    return Tensor(name, datatype, shaped(read_elements(data, datatype, where), shape, where), parameters, True)


def read_elements(flat: list[Any], datatype: str, where: str) -> NDArray[Any]:
    """JSON values to a flat array of a known datatype, none of them coerced. Raises BadRequest."""
    accepted = _ACCEPTED[datatype]
    if not accepted.issuperset(map(type, flat)):
        raise _wrong_element(flat, datatype, accepted, where)
    if datatype == "BYTES":
        return objects([text.encode() for text in flat])
    largest = _LARGEST.get(datatype)
    if largest is not None and flat and (max(flat) > largest or min(flat) < -largest):
        raise _out_of_range(flat, datatype, where)
    try:
        return np.array(flat, DTYPES[datatype])
    except OverflowError:
        raise _out_of_range(flat, datatype, where) from None


def _flat(data: list[Any], shape: Sequence[int], where: str) -> list[Any]:
    """Nested arrays, level by level; every level must be as long as the shape says."""
    level = data
    for depth, dim in enumerate(shape):
        if depth:
            if set(map(type, level)) - _LISTS or set(map(len, level)) - {dim}:
                raise _ragged(level, depth, dim, where)
            level = list(chain.from_iterable(level))
        elif len(level) != dim:
            raise BadRequest(f"{where}: data has {len(level)} rows, shape {brief(list(shape))} means {dim}")
    return level


def _ragged(level: list[Any], depth: int, dim: int, where: str) -> BadRequest:
    odd = next(item for item in level if type(item) is not list or len(item) != dim)
    found = f"an array of {len(odd)}" if type(odd) is list else _words(odd)
    return BadRequest(
        f"{where}: data has {found} at depth {depth}, shape means arrays of {dim}; data is flat or nested exactly as the shape"
    )


def _wrong_element(flat: list[Any], datatype: str, accepted: frozenset[type], where: str) -> BadRequest:
    index, value = next((i, value) for i, value in enumerate(flat) if type(value) not in accepted)
    value_text = _words(value) if value is None or isinstance(value, (dict, list)) else f"{brief(value)} ({_words(value)})"
    return BadRequest(f"{where}: data[{index}] is {value_text}, {datatype} needs {_NEEDS[accepted]}")


def _out_of_range(flat: list[Any], datatype: str, where: str) -> BadRequest:
    if datatype in _LARGEST:
        low, high = -_LARGEST[datatype], _LARGEST[datatype]
    else:
        low, high = int(np.iinfo(DTYPES[datatype]).min), int(np.iinfo(DTYPES[datatype]).max)
    index, value = next((i, value) for i, value in enumerate(flat) if not low <= value <= high)
    return BadRequest(f"{where}: data[{index}] is {value}, which does not fit {datatype} ({low} to {high})")


def _outputs(described_outputs: object) -> tuple[RequestedOutput, ...]:
    if type(described_outputs) is not list:
        raise BadRequest(f"outputs is {_words(described_outputs)}, expected an array of objects with a name")
    outputs = tuple([_output(index, item) for index, item in enumerate(described_outputs)])
    if len(outputs) > 1:
        _distinct("outputs", [output.name for output in outputs])
    return outputs


def _output(index: int, item: object) -> RequestedOutput:
    where = f"outputs[{index}]"
    if type(item) is not dict:
        raise BadRequest(f"{where} is {_words(item)}, expected an object with a name")
    name = _name(item, where)
    given = item.get("parameters")
    if given is None:
        return RequestedOutput(name)
    parameters = read_parameters(given, f"{where}.parameters")
    check_output(parameters, f'{where} "{name}"')
    return RequestedOutput(name, parameters)


def check_output(parameters: Parameters, where: str) -> None:
    """What may be asked of an output. Raises BadRequest or Unsupported."""
    if type(parameters.get("binary_data", False)) is not bool:
        raise BadRequest(f"{where}: parameters.binary_data is {brief(parameters['binary_data'])}, expected true or false")
    if "shared_memory_region" in parameters:
        raise Unsupported(f"{where}: shared memory is not offered; the output comes in the response, as JSON or binary")
    if parameters.get("classification"):
        raise Unsupported(f"{where}: the classification extension is not offered; ask for the output without it")


def _name(item: Json, where: str) -> str:
    name = item.get("name")
    if type(name) is not str or not name:
        raise BadRequest(f"{where}: name is {_words(name, 'name' in item) if name != '' else 'empty'}, expected a string")
    if len(name) > MAX_NAME:
        raise BadRequest(f"{where}: name has {len(name)} characters, at most {MAX_NAME} are supported")
    return name


def read_parameters(given: object, where: str) -> Parameters:
    """An object of scalars. Raises BadRequest."""
    if type(given) is not dict:
        raise BadRequest(f"{where} is {_words(given)}, expected an object")
    if not _SCALARS.issuperset(map(type, given.values())):
        key, value = next((key, value) for key, value in given.items() if type(value) not in _SCALARS)
        raise BadRequest(f"{where}: {brief(key)} is {_words(value)}, expected a string, number or boolean")
    return given


def _distinct(what: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise BadRequest(f"{what}: {brief(twice)} occurs more than once; names must be distinct")


def _words(value: object, is_present: bool = True) -> str:
    return _WORDS.get(type(value), "an unknown value") if is_present else "missing"


def answer_head(answer: InferAnswer) -> Json:
    """The answer without its outputs."""
    head: Json = {"model_name": answer.model, "model_version": answer.version}
    if answer.id is not None:
        head["id"] = answer.id
    if answer.parameters:
        parameters = answer.parameters
        head["parameters"] = parameters if type(parameters) is dict else dict(parameters)
    return head


def output_head(tensor: Tensor) -> Json:
    """An output without its data."""
    head: Json = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.data.shape}
    if tensor.parameters:
        head["parameters"] = dict(tensor.parameters)
    return head


def output_data(tensor: Tensor) -> object:
    """An output's elements, flat, as orjson takes them. Raises BadRequest for BYTES that are not text."""
    if tensor.datatype != "BYTES":
        return np.ascontiguousarray(tensor.data).reshape(-1)
    try:
        elements = tensor.data.reshape(-1).tolist()
        words = {element: as_bytes(element).decode() for element in set(elements)}
        return [words[element] for element in elements]
    except UnicodeDecodeError:
        raise BadRequest(
            f'output "{tensor.name}" holds bytes that are not UTF-8 and cannot be JSON; '
            'ask for it as binary data: outputs: [{"name": ..., "parameters": {"binary_data": true}}]'
        ) from None


def write_answer(answer: InferAnswer) -> bytes:
    """The whole answer as JSON."""
    outputs = b",".join([(t.texts and t.texts.get(_JSON)) or _output_text(t) for t in answer.outputs])
    return b"".join((orjson.dumps(answer_head(answer))[:-1], b',"outputs":[', outputs, b"]}"))


def _output_text(tensor: Tensor) -> bytes:
    """One output as JSON, kept with a tensor that is answered often."""
    data = tensor.data
    if (
        tensor.texts is None
        and tensor.datatype != "BYTES"
        and data.ndim == 1
        and data.flags.c_contiguous
        and not tensor.parameters
    ):
        plain = {"name": tensor.name, "datatype": tensor.datatype, "shape": data.shape, "data": data}  # the usual score
        return orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY)
    output = output_head(tensor)
    output["data"] = output_data(tensor)
    text = dump(output)
    if tensor.texts is not None:
        tensor.texts[_JSON] = text
    return text


def dump(document: object) -> bytes:
    """Values and numpy arrays to JSON text."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
