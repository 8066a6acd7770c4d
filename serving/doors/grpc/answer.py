"""InferAnswer -> the bytes of a ModelInferResponse, put together from fragments, most of which were made before.

Pure. Concatenated messages are one message (protobuf's own rule for merging), so the parts that repeat are serialised once by the library
and kept: model, usual parameters, name, datatype and shape of each output, and whole outputs that are answered often. Only lengths, raw
bytes and text parameters are written by hand. The result equals `serving.doors.grpc.codec.write_answer`; a property test holds that."""

from functools import lru_cache
from typing import Final

from serving.doors.grpc.codec import CONTENTS, write_output, write_parameters
from serving.doors.grpc.stubs import ModelInferResponse
from serving.doors.oip.tensors import to_raw
from serving.messages import InferAnswer, Tensor

_PARAMETERS: Final = b"\x22"
"""Field 4 of ModelInferResponse: an entry of the map of parameters; in it 1 is the key and 2 the InferParameter, whose 3 is text."""
_KEY, _VALUE, _TEXT = b"\x0a", b"\x12", b"\x1a"
_RAW: Final = b"\x32"
"""Field 6: one entry of raw_output_contents."""
_STEADY: Final = frozenset({"revision", "variant", "source", "operating_point", "degraded", "fallback_from"})
"""Parameters of few values."""
_AS_RAW, _AS_TYPED, _RAW_DATA = "grpc", "grpc-typed", "grpc-raw"
"""Where an output's fragments are kept, see Tensor.texts."""


def answer_bytes(answer: InferAnswer, raw: bool) -> bytes:
    """The whole answer. raw: its outputs come raw, as they do anyway if one is FP16."""
    outputs = answer.outputs
    raw = raw or not CONTENTS.keys() >= {tensor.datatype for tensor in outputs}
    parts = [_model(answer.model, answer.version)]
    if answer.id:
        parts.append(ModelInferResponse(id=answer.id).SerializeToString())
    for name, value in answer.parameters.items():
        if name in _STEADY:
            parts.append(_kept_parameter(name, value))
        else:
            parts.append(_text_parameter(name, value) if type(value) is str else _parameter(name, value))
    kind = _AS_RAW if raw else _AS_TYPED
    parts += [(t.texts and t.texts.get(kind)) or _output(t, kind) for t in outputs]
    if raw:
        parts += [(t.texts and t.texts.get(_RAW_DATA)) or _raw(t) for t in outputs]
    return b"".join(parts)


@lru_cache(maxsize=64)
def _model(name: str, version: str) -> bytes:
    written: bytes = ModelInferResponse(model_name=name, model_version=version).SerializeToString()
    return written


def _parameter(name: str, value: bool | int | float | str) -> bytes:
    message = ModelInferResponse()
    write_parameters({name: value}, message.parameters)
    written: bytes = message.SerializeToString()
    return written


_kept_parameter = lru_cache(maxsize=256, typed=True)(_parameter)


def _text_parameter(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    entry = b"".join((_KEY, _varint(len(key)), key, _VALUE, *_sized(b"".join((_TEXT, _varint(len(text)), text)))))
    return b"".join((_PARAMETERS, _varint(len(entry)), entry))


def _output(tensor: Tensor, kind: str) -> bytes:
    """One output's fragment: without its data if that comes raw."""
    if kind == _AS_RAW and not tensor.parameters and tensor.texts is None:
        return _described(tensor.name, tensor.datatype, tensor.data.shape)
    message = ModelInferResponse()
    write_output(tensor, message, raw=kind == _AS_RAW)
    message.ClearField("raw_output_contents")
    return _keep(tensor, kind, message.SerializeToString())


@lru_cache(maxsize=256)
def _described(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    message = ModelInferResponse()
    message.outputs.add(name=name, datatype=datatype, shape=shape)
    written: bytes = message.SerializeToString()
    return written


def _raw(tensor: Tensor) -> bytes:
    data = to_raw(tensor.data, tensor.datatype)
    return _keep(tensor, _RAW_DATA, b"".join((_RAW, _varint(len(data)), data)))


def _keep(tensor: Tensor, kind: str, fragment: bytes) -> bytes:
    if tensor.texts is not None:
        tensor.texts[kind] = fragment
    return fragment


def _sized(content: bytes) -> tuple[bytes, bytes]:
    return _varint(len(content)), content


def _varint(number: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
