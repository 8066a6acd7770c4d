"""The binary tensor extension, both ways: a JSON header, then the raw tensors it names.

Pure. Decided by header and parameter, never by content type: `Inference-Header-Content-Length` is the length of the JSON,
`parameters.binary_data_size` of an input says how many of the bytes behind it are its own. An output comes raw if its
`parameters.binary_data` says so, or, where it says nothing, if the request's `parameters.binary_data_output` does.
Source: Triton Inference Server, "Binary Tensor Data Extension"."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from serving.doors.oip import json_codec
from serving.doors.oip.envelope import Envelope
from serving.doors.oip.tensors import brief, from_raw, to_raw
from serving.errors import BadRequest
from serving.messages import InferAnswer, InferRequest


class RawTail:
    """The bytes after the JSON header, taken tensor by tensor."""

    __slots__ = ("_at", "_bytes")

    def __init__(self, tail: memoryview) -> None:
        self._bytes = tail
        self._at = 0

    def take(self, size: object, datatype: str, shape: Sequence[int], count: int, where: str) -> NDArray[Any]:
        """The next `size` bytes as a tensor. Raises BadRequest."""
        if type(size) is not int or size < 0:
            raise BadRequest(f"{where}: parameters.binary_data_size is {brief(size)}, expected a number of bytes")
        start, end = self._at, self._at + size
        if end > self._bytes.nbytes:
            raise BadRequest(
                f"{where}: parameters.binary_data_size is {size}, but the body has {self._bytes.nbytes - start} bytes left"
            )
        self._at = end
        return from_raw(self._bytes[start:end], datatype, shape, count, where)

    def finish(self) -> None:
        """Raises BadRequest if bytes are left that no input named."""
        left = self._bytes.nbytes - self._at
        if left:
            raise BadRequest(f"the body has {left} bytes after the last tensor; the inputs' binary_data_size must add up to it")


def header_length(value: bytes | None, size: int) -> int | None:
    """The length of the JSON from its header, None without the header. Raises BadRequest."""
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18 or int(value) > size:
        raise BadRequest(
            f"Inference-Header-Content-Length is {brief(value.decode('latin-1'))}, "
            f"expected the length of the JSON, 1 to {size} (the body's length)"
        )
    return int(value)


def read_request(body: bytes, json_length: int | None, envelope: Envelope) -> InferRequest:
    """A request whose body is JSON (json_length None) or JSON and raw tensors. Raises BadRequest or Unsupported."""
    if json_length is None:
        document = json_codec.parse_object(body)
        request = json_codec.read_request(document, envelope, has_booleans=json_codec.has_booleans(body))
    else:
        view = memoryview(body)
        tail = RawTail(view[json_length:])
        document = json_codec.parse_object(view[:json_length])
        request = json_codec.read_request(document, envelope, tail)
        tail.finish()
    if request.parameters and type(request.parameters.get("binary_data_output", False)) is not bool:
        raise BadRequest(
            f"parameters.binary_data_output is {brief(request.parameters['binary_data_output'])}, expected a boolean"
        )
    return request


def write_answer(answer: InferAnswer, request: InferRequest) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON if raw tensors follow it."""
    if not request.outputs and not request.parameters:  # the usual request
        return json_codec.write_answer(answer), None
    by_default = request.parameters.get("binary_data_output", False) is True
    wants_binary = {output.name: output.parameters.get("binary_data", by_default) for output in request.outputs}
    if not by_default and True not in wants_binary.values():
        return json_codec.write_answer(answer), None
    raws: list[bytes] = []
    outputs: list[json_codec.Json] = []
    for tensor in answer.outputs:
        output = json_codec.output_head(tensor)
        if wants_binary.get(tensor.name, by_default):
            raw = to_raw(tensor.data, tensor.datatype)
            output["parameters"] = {**tensor.parameters, "binary_data_size": len(raw)}
            raws.append(raw)
        else:
            output["data"] = json_codec.output_data(tensor)
        outputs.append(output)
    document = json_codec.answer_head(answer)
    document["outputs"] = outputs
    header = json_codec.dump(document)
    return (header + b"".join(raws), len(header)) if raws else (header, None)
