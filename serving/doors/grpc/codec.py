"""The protocol's gRPC messages, both ways: ModelInferRequest -> InferRequest, InferAnswer -> ModelInferResponse.

Pure: messages in, values out; serving.doors.grpc.door is the server. Tensors come typed (`contents`) or raw
(`raw_input_contents`), never both in one request; FP16 has no typed field and is always raw. The answer is raw if the request's
parameter `binary_data_output` says so, else if the request was raw, and always if an output is FP16."""

import sys
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from serving.doors.grpc.stubs import ModelInferResponse, ModelMetadataResponse, ModelStatisticsResponse
from serving.doors.oip.envelope import parameter_timeout_s, sooner
from serving.doors.oip.json_codec import check_output
from serving.doors.oip.tensors import (
    MAX_NAME,
    MAX_RANK,
    as_bytes,
    brief,
    count_of,
    from_raw,
    known_dtype,
    mismatch,
    objects,
    shaped,
    to_raw,
)
from serving.errors import BadRequest, Unsupported
from serving.messages import (
    DTYPES,
    NO_PARAMETERS,
    InferAnswer,
    InferRequest,
    ModelMetadata,
    ModelStatistics,
    Parameters,
    RequestedOutput,
    Tensor,
)

Message = Any

CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> the typed field its elements stand in."""
_NUMBERS: Final[Mapping[str, np.dtype[Any]]] = {
    name: dtype for name, dtype in DTYPES.items() if dtype.kind in "iuf" and sys.byteorder == "little"
}
"""Datatypes whose raw bytes are numpy's own."""
_INT64_MAX: Final = (1 << 63) - 1
_UINT64_MAX: Final = (1 << 64) - 1


def parse(kind: Message, body: bytes) -> Message:
    """Bytes to a message. Raises BadRequest if they are not one."""
    try:
        return kind.FromString(body)
    except DecodeError as problem:
        raise BadRequest(f"the request is not a {kind.DESCRIPTOR.full_name} message: {problem}") from None


def read_request(
    message: Message, deadline_s: float | None, trace: str | None, variant: str | None = None, arrived_ns: int = 0
) -> InferRequest:
    """The request a message states. variant: the one its metadata asks for. Raises BadRequest or Unsupported."""
    if not message.model_name:
        raise BadRequest("model_name is empty; say which model should answer")
    given = message.inputs
    if not given:
        raise BadRequest("inputs is empty; send at least one tensor")
    raw = message.raw_input_contents
    if raw and len(raw) != len(given):
        raise BadRequest(
            f"raw_input_contents has {len(raw)} entries for {len(given)} inputs; send one for each, in their order"
        )
    if raw:
        inputs = tuple([_plain(item, raw[at]) or _input(at, item, raw[at]) for at, item in enumerate(given)])
    else:
        inputs = tuple([_input(at, item, None) for at, item in enumerate(given)])
    outputs = tuple([_output(index, item) for index, item in enumerate(message.outputs)])
    for what, named in (("inputs", inputs), ("outputs", outputs)):
        if len(named) > 1 and len({item.name for item in named}) != len(named):
            raise BadRequest(f"{what}: a name occurs more than once; names must be distinct")
    parameters = read_parameters(message.parameters)
    return InferRequest(
        message.model_name,
        message.model_version or None,
        inputs,
        message.id or None,
        parameters,
        outputs,
        sooner(deadline_s, parameter_timeout_s(parameters)),
        trace,
        "grpc",
        variant,
        arrived_ns,
    )


def _plain(item: Message, raw: bytes) -> Tensor | None:
    """The usual raw input: numbers, nothing odd about it; None for any other, valid or not, which takes the slower path."""
    name, dtype, shape = item.name, _NUMBERS.get(item.datatype), list(item.shape)
    if dtype is None or not 0 < len(name) <= MAX_NAME or len(shape) > MAX_RANK or (shape and min(shape) < 0):
        return None
    if len(raw) != prod(shape) * dtype.itemsize or item.parameters or item.HasField("contents"):
        return None
    try:
        return Tensor(name, item.datatype, np.ndarray(shape, dtype, raw))
    except ValueError:  # no elements, yet numpy cannot hold the shape
        return None


def _input(index: int, item: Message, raw: bytes | None) -> Tensor:
    name, datatype = item.name, item.datatype
    where = f'inputs[{index}] "{name[:MAX_NAME]}"'
    if not name or len(name) > MAX_NAME:
        raise BadRequest(f"inputs[{index}]: name has {len(name)} characters, expected 1 to {MAX_NAME}")
    known_dtype(datatype, where)
    shape = list(item.shape)
    count = count_of(shape, where)
    parameters = read_parameters(item.parameters)
    if "shared_memory_region" in parameters:
        raise Unsupported(f"{where}: shared memory is not offered; send the data in the request")
    if raw is None:
        return Tensor(name, datatype, shaped(_typed(item.contents, datatype, shape, count, where), shape, where), parameters)
    if item.HasField("contents") and item.contents.ByteSize():
        raise BadRequest(f"{where}: has contents although the request has raw_input_contents; send all tensors one way")
    return Tensor(name, datatype, from_raw(memoryview(raw), datatype, shape, count, where), parameters)


def _typed(contents: Message, datatype: str, shape: list[int], count: int, where: str) -> NDArray[Any]:
    field = CONTENTS.get(datatype)
    if field is None:
        raise BadRequest(f"{where}: {datatype} has no typed field; send it in raw_input_contents")
    filled = contents.ListFields()
    if len(filled) > 1 or (filled and filled[0][0].name != field):
        names = ", ".join(descriptor.name for descriptor, _ in filled)
        raise BadRequest(f"{where}: contents has {names}, but {datatype} belongs in {field}")
    elements = list(getattr(contents, field))
    if len(elements) != count:
        raise mismatch(where, shape, count, len(elements))
    if datatype == "BYTES":
        return objects(elements)
    dtype = known_dtype(datatype, where)
    try:
        return np.array(elements, dtype)
    except OverflowError:
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        at = next(i for i, value in enumerate(elements) if not low <= value <= high)
        raise BadRequest(f"{where}: element {at} is {elements[at]}, which does not fit {datatype} ({low} to {high})") from None


def _output(index: int, item: Message) -> RequestedOutput:
    where = f'outputs[{index}] "{item.name[:MAX_NAME]}"'
    if not item.name:
        raise BadRequest(f"outputs[{index}]: name is empty")
    parameters = read_parameters(item.parameters)
    check_output(parameters, where)
    return RequestedOutput(item.name, parameters)


def read_parameters(given: Message) -> Parameters:
    """InferParameters to values. Raises BadRequest for one without a value."""
    if not given:
        return NO_PARAMETERS
    parameters: dict[str, bool | int | float | str] = {}
    for key, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise BadRequest(
                f"parameters: {brief(key)} has no value; set one of its bool, int64, string, double or uint64 fields"
            )
        parameters[key] = getattr(parameter, choice)
    return parameters


def write_parameters(parameters: Parameters, target: Message) -> None:
    """Values to InferParameters."""
    for key, value in parameters.items():
        if isinstance(value, bool):
            target[key].bool_param = value
        elif isinstance(value, int):
            _write_whole(value, target[key])
        elif isinstance(value, float):
            target[key].double_param = value
        else:
            target[key].string_param = str(value)


def _write_whole(value: int, parameter: Message) -> None:
    if -_INT64_MAX - 1 <= value <= _INT64_MAX:
        parameter.int64_param = value
    elif 0 <= value <= _UINT64_MAX:
        parameter.uint64_param = value
    else:
        parameter.string_param = str(value)


def is_raw(message: Message, request: InferRequest) -> bool:
    """Whether the answer should be raw, as far as the request says."""
    is_binary = request.parameters.get("binary_data_output")
    return bool(message.raw_input_contents) if is_binary is None else is_binary is True


def write_answer(answer: InferAnswer, raw: bool) -> Message:
    """The answer as a message."""
    message = ModelInferResponse(model_name=answer.model, model_version=answer.version, id=answer.id or "")
    if answer.parameters:
        write_parameters(answer.parameters, message.parameters)
    raw = raw or any(tensor.datatype not in CONTENTS for tensor in answer.outputs)
    for tensor in answer.outputs:
        write_output(tensor, message, raw=raw)
    return message


def write_output(tensor: Tensor, message: Message, *, raw: bool) -> None:
    """Add one output."""
    output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.data.shape)
    if tensor.parameters:
        write_parameters(tensor.parameters, output.parameters)
    if raw:
        message.raw_output_contents.append(to_raw(tensor.data, tensor.datatype))
        return
    elements = tensor.data.reshape(-1).tolist()
    if tensor.datatype == "BYTES":
        elements = [as_bytes(element) for element in elements]
    getattr(output.contents, CONTENTS[tensor.datatype]).extend(elements)


def write_statistics(statistics: Sequence[ModelStatistics]) -> Message:
    """Triton's statistics extension as a message; see control_codec.write_statistics."""
    message = ModelStatisticsResponse()
    for s in statistics:
        of = message.model_stats.add(name=s.name, version=s.version, last_inference=s.last_ms)
        of.inference_count = of.execution_count = s.successes
        of.inference_stats.success.count, of.inference_stats.success.ns = s.successes, s.success_ns
        of.inference_stats.fail.count, of.inference_stats.fail.ns = s.failures, s.failure_ns
    return message


def write_metadata(metadata: ModelMetadata) -> Message:
    """A model's metadata as a message. The message has no fields for our own additions; they are on HTTP only."""
    message = ModelMetadataResponse(name=metadata.name, versions=metadata.versions, platform=metadata.platform)
    for tensor in metadata.inputs:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    for tensor in metadata.outputs:
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return message
