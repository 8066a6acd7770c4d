"""Calls and answers of the gRPC door: requests to messages, typed or raw, and responses back to values.

Pure. Readers raise Failed with what is wrong in the server's reply."""

from collections.abc import Callable
from math import prod
from typing import Any, Final

from google.protobuf.message import DecodeError

from operators.conformance.encoding import pack, unpack
from operators.conformance.exchange import GrpcCall, GrpcReply, Reply
from operators.conformance.messages import INFERENCE, message_class
from operators.conformance.values import DATATYPES, Answer, Parameter, Request, Tensor, expect, fail

CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> field of InferTensorContents. FP16 and BF16 have none: they travel raw only."""


def call(verb: str, request: str = "", **fields: object) -> GrpcCall:
    """A call of the inference service with the given fields."""
    message = message_class(request or f"{verb}Request")(**fields)
    return GrpcCall(f"/{INFERENCE}/{verb}", message.SerializeToString())


def _parameter(key: str, value: Parameter) -> dict[str, object]:
    kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
    return {"key": key, "value": {kind: value}}


def infer_message(model: str, request: Request, version: str = "", *, is_raw: bool = False) -> Any:
    """The inference request as a message; a tensor whose datatype has no typed contents makes all of them raw."""
    raw = is_raw or any(t.datatype not in CONTENTS for t in request.inputs)
    message = message_class("ModelInferRequest")(model_name=model, model_version=version, id=request.id or "")
    for key, value in request.parameters.items():
        message.parameters.add(**_parameter(key, value))
    for name in request.outputs:
        message.outputs.add(name=name)
    for tensor in request.inputs:
        added = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            message.raw_input_contents.append(pack(tensor))
        else:
            getattr(added.contents, CONTENTS[tensor.datatype]).extend(tensor.elements)
    return message


def infer_call(
    model: str,
    request: Request,
    version: str = "",
    *,
    is_raw: bool = False,
    edit: Callable[[Any], None] | None = None,
) -> GrpcCall:
    """ModelInfer. edit: changes the message before it is sent, to make it wrong on purpose."""
    message = infer_message(model, request, version, is_raw=is_raw)
    if edit is not None:
        edit(message)
    return GrpcCall(f"/{INFERENCE}/ModelInfer", message.SerializeToString())


def grpc(reply: Reply) -> GrpcReply:
    """The reply, if there was one."""
    return reply if isinstance(reply, GrpcReply) else fail(f"no gRPC status: {getattr(reply, 'reason', reply)}")


def read(reply: Reply, name: str) -> Any:
    """The message of a reply that must be OK."""
    answered = grpc(reply)
    expect(answered.code == "OK", f"code {answered.code}, expected OK: {answered.details[:160]}")
    message = message_class(name)()
    try:
        message.ParseFromString(answered.message)
    except DecodeError as error:
        fail(f"the reply is not a {name}: {error}")
    return message


def read_answer(reply: Reply) -> tuple[Answer, bool]:
    """Read a ModelInferResponse, and whether its contents were raw."""
    message = read(reply, "ModelInferResponse")
    raw = list(message.raw_output_contents)
    typed = [t.name for t in message.outputs if t.HasField("contents") and t.contents.ByteSize()]
    expect(not (raw and typed), f"raw_output_contents and typed contents (of {typed}) are mixed")
    expect(not raw or len(raw) == len(message.outputs), f"{len(raw)} raw contents for {len(message.outputs)} outputs")
    outputs = tuple(
        unpack(t.name, t.datatype, tuple(t.shape), raw[i]) if raw else _typed(t) for i, t in enumerate(message.outputs)
    )
    return Answer(message.model_name, message.model_version, message.id, outputs), bool(raw)


def _typed(output: Any) -> Tensor:
    expect(output.datatype in DATATYPES, f"output {output.name}: datatype {output.datatype!r} is not one of the protocol's")
    field = CONTENTS.get(output.datatype)
    if field is None:
        fail(f"output {output.name}: {output.datatype} must travel raw")
    found = getattr(output.contents, field)
    shape = tuple(output.shape)
    expect(all(d >= 0 for d in shape), f"output {output.name}: shape {list(shape)} of an answer has a negative dimension")
    expect(
        len(found) == prod(shape),
        f"output {output.name}: {output.datatype}{list(shape)} needs {prod(shape)} elements in {field}, got {len(found)}",
    )
    return Tensor(output.name, output.datatype, shape, tuple(found))
