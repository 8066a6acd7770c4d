"""KServe V1 and TensorFlow Serving's REST shapes as values: `instances` (row by row) and `inputs` (column by column).

Pure. V1 names no datatypes and no shapes, so both come from the model's metadata: a datatype as declared, a shape as sent, a
trailing 1 added where the model wants one. `signature_name` is read and ignored: a model here has one signature. The answer has the form of
the request. Strings that are not UTF-8 travel as {"b64": ...}, as TensorFlow Serving does.
Source: KServe "V1 inference protocol"; TensorFlow Serving "RESTful API"."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import chain
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from serving.doors.oip import json_codec
from serving.doors.oip.envelope import Envelope, parameter_timeout_s, sooner
from serving.doors.oip.tensors import MAX_RANK, as_bytes, brief, objects, shaped
from serving.errors import BadRequest
from serving.messages import (
    EXPLAIN,
    EXPLANATION,
    NO_PARAMETERS,
    InferAnswer,
    InferRequest,
    ModelMetadata,
    Tensor,
    TensorMetadata,
)

TENSOR_INPUTS: Final = "tensor_inputs"
"""Key of ModelMetadata.parameters: the tensors that may be sent instead of `inputs`, as name, datatype and shape."""
EVENT_TIME: Final = "event_time_field"
"""Key of ModelMetadata.parameters: the optional input that says when the events happened."""
_TF_TYPES: Final = {
    "BOOL": "DT_BOOL",
    "UINT8": "DT_UINT8",
    "UINT16": "DT_UINT16",
    "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64",
    "INT8": "DT_INT8",
    "INT16": "DT_INT16",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
    "FP16": "DT_HALF",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BYTES": "DT_STRING",
}


class Form(Enum):
    """Form of a request's body."""

    ROWS = "instances"
    COLUMNS = "inputs"


def form(document: json_codec.Json) -> Form:
    """Which of the two forms a body has. Raises BadRequest for neither or both."""
    sent = [form for form in Form if form.value in document]
    if len(sent) != 1:
        found = "both instances and inputs" if sent else "neither instances nor inputs"
        raise BadRequest(f"the request body has {found}; send a list of instances, or inputs by column")
    return sent[0]


def read_request(document: json_codec.Json, form: Form, metadata: ModelMetadata, envelope: Envelope) -> InferRequest:
    """The request a body states, typed by the model's metadata. Raises BadRequest."""
    sent = document[form.value]
    columns = _columns_of_rows(sent, metadata) if form is Form.ROWS else _columns(sent, metadata)
    known = _known(metadata, columns)
    unknown = next((name for name in columns if name not in known), None)
    if unknown is not None:
        raise BadRequest(f'{form.value}: model "{metadata.name}" has no input {brief(unknown)}; it has {", ".join(known)}')
    inputs = tuple([_tensor(known[name], value, form) for name, value in columns.items()])
    identity, described_parameters = document.get("id"), document.get("parameters")
    parameters = (
        NO_PARAMETERS if described_parameters is None else json_codec.read_parameters(described_parameters, "parameters")
    )
    return InferRequest(
        envelope.model,
        envelope.version,
        inputs,
        identity if type(identity) is str else None,
        parameters,
        (),
        sooner(envelope.deadline_s, parameter_timeout_s(parameters)),
        envelope.traceparent,
        envelope.door,
        envelope.variant,
        envelope.arrived_ns,
        route="/v1/models/{model}:predict",
    )


def _known(metadata: ModelMetadata, columns: Mapping[str, Any]) -> dict[str, TensorMetadata]:
    """All inputs of the model. The time of an event may be text or microseconds; the type of the sent values decides."""
    known = {spec.name: spec for spec in (*_tensors(metadata), *metadata.inputs)}
    time = metadata.parameters.get(EVENT_TIME)
    if isinstance(time, str) and time in columns:
        first = columns[time][0] if type(columns[time]) is list and columns[time] else columns[time]
        known[time] = TensorMetadata(time, "BYTES" if type(first) is str else "INT64", (-1,))
    return known


def _tensors(metadata: ModelMetadata) -> list[TensorMetadata]:
    return [TensorMetadata(t["name"], t["datatype"], tuple(t["shape"])) for t in metadata.parameters.get(TENSOR_INPUTS, ())]


def _columns_of_rows(rows: object, metadata: ModelMetadata) -> dict[str, Any]:
    if type(rows) is not list or not rows:
        raise BadRequest("instances is not an array with at least one instance")
    first = rows[0]
    if not _is_named(first):
        odd = next((index for index, row in enumerate(rows) if _is_named(row)), None)
        if odd is not None:
            raise BadRequest(f"instances[{odd}] is an object, instances[0] is not; all must be alike")
        return {_only(metadata, "instances"): rows}
    for index, row in enumerate(rows):
        if type(row) is not dict or row.keys() != first.keys():
            raise BadRequest(f"instances[{index}] does not have the same keys as instances[0]: {brief(sorted(first))}")
    return {name: [row[name] for row in rows] for name in first}


def _columns(columns: object, metadata: ModelMetadata) -> dict[str, Any]:
    if _is_named(columns):
        if not columns:
            raise BadRequest("inputs is empty; send at least one input by name")
        return columns  # type: ignore[return-value]
    return {_only(metadata, "inputs"): columns}


def _is_named(value: object) -> bool:
    return type(value) is dict and value.keys() != {"b64"}


def _only(metadata: ModelMetadata, where: str) -> str:
    """The input that unnamed values belong to: the only one, or the only tensor of a model that also takes columns."""
    for inputs in (metadata.inputs, _tensors(metadata)):
        if len(inputs) == 1:
            return inputs[0].name
    names = ", ".join(spec.name for spec in metadata.inputs)
    raise BadRequest(f'{where}: model "{metadata.name}" has several inputs; send objects with the keys {names}')


def _tensor(spec: TensorMetadata, value: object, form: Form) -> Tensor:
    where = f'{form.value} "{spec.name}"'
    shape, flat = _unnested(value, where)
    if len(shape) + 1 == len(spec.shape) and spec.shape[-1] in {1, -1}:
        shape = [*shape, 1]
    if spec.datatype == "BYTES":
        flat = [_text(element, where) for element in flat]
        return Tensor(spec.name, spec.datatype, shaped(objects(flat), shape, where))
    array = shaped(json_codec.read_elements(flat, spec.datatype, where), shape, where)
    return Tensor(spec.name, spec.datatype, array, is_finite=True)


def _unnested(value: object, where: str) -> tuple[list[int], list[Any]]:
    """The shape of nested arrays, and their elements. Raises BadRequest for ragged ones."""
    shape: list[int] = []
    level: list[Any] = [value]
    while level and type(level[0]) is list:
        length = len(level[0])
        if len(shape) == MAX_RANK:
            raise BadRequest(f"{where}: nested deeper than {MAX_RANK} arrays")
        if any(type(item) is not list or len(item) != length for item in level):
            raise BadRequest(f"{where}: arrays at depth {len(shape)} are not all of length {length}")
        shape.append(length)
        level = list(chain.from_iterable(level))
    return shape, level


def _text(element: object, where: str) -> bytes:
    if type(element) is str:
        return element.encode()
    if type(element) is dict and element.keys() == {"b64"} and type(element["b64"]) is str:
        try:
            return base64.b64decode(element["b64"], validate=True)
        except (binascii.Error, ValueError) as problem:
            raise BadRequest(f"{where}: b64 is not base64: {problem}") from None
    raise BadRequest(f'{where}: {brief(element)} is neither a string nor {{"b64": "..."}}')


def write_answer(answer: InferAnswer, form: Form) -> bytes:
    """The answer in the form of the request. Raises BadRequest if the outputs do not have one entry a row."""
    document: json_codec.Json = {}
    outputs = {tensor.name: _nested(tensor) for tensor in answer.outputs}
    if form is Form.COLUMNS:
        document["outputs"] = outputs if len(outputs) != 1 else next(iter(outputs.values()))
    else:
        document["predictions"] = _rows(answer, outputs)
    if answer.parameters:
        document["parameters"] = dict(answer.parameters)
    return _told(answer, json_codec.dump(document))


def explained(request: InferRequest) -> InferRequest:
    """The request of `:explain`: it asks for an explanation, by attribution where it does not say."""
    asked = {EXPLAIN: "shap", **request.parameters}
    return msgspec.structs.replace(request, parameters=asked, route="/v1/models/{model}:explain")


def write_explained(answer: InferAnswer, form: Form) -> bytes:
    """The answer of `:explain`: that of `:predict`, and `explanations` with an object for each row. Raises BadRequest."""
    lines = next(tensor for tensor in answer.outputs if tensor.name == EXPLANATION)
    others = tuple([tensor for tensor in answer.outputs if tensor is not lines])
    head = write_answer(msgspec.structs.replace(answer, outputs=others), form)
    return _told(answer, b"".join((head[:-1], b',"explanations":[', b",".join(lines.data.tolist()), b"]}")))


def _told(answer: InferAnswer, written: bytes) -> bytes:
    """The body, of which the answer's trace is told, if there is one."""
    if answer.trace is not None:
        answer.trace.encoded(len(written))
    return written


def _rows(answer: InferAnswer, outputs: dict[str, Any]) -> object:
    lengths = {tensor.data.shape[:1] for tensor in answer.outputs}
    if len(lengths) != 1 or () in lengths:
        raise BadRequest(
            "the model's outputs do not have one entry per instance; send `inputs` by column instead of `instances`"
        )
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def _nested(tensor: Tensor) -> NDArray[Any] | list[Any] | object:
    if tensor.datatype != "BYTES":
        return tensor.data.copy(order="C")
    return _strings(tensor.data.tolist())


def _strings(value: object) -> object:
    if isinstance(value, list):
        return [_strings(item) for item in value]
    raw = as_bytes(value)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(raw).decode()}


def status(name: str, is_ready: bool, versions: Sequence[str]) -> json_codec.Json:
    """A model's state, for KServe (`name`, `ready`) and TensorFlow Serving (`model_version_status`) at once."""
    state = "AVAILABLE" if is_ready else "LOADING"
    well = {"error_code": "OK", "error_message": ""}
    return {
        "name": name,
        "ready": is_ready,
        "model_version_status": [{"version": version, "state": state, "status": well} for version in versions],
    }


def metadata(model: ModelMetadata, version: str | None) -> json_codec.Json:
    """A model's signature as TensorFlow Serving describes it."""
    newest = max(model.versions, key=lambda text: (len(text), text), default="")
    signature = {
        "inputs": {spec.name: _tensor_info(spec) for spec in model.inputs},
        "outputs": {spec.name: _tensor_info(spec) for spec in model.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": version or newest},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }


def _tensor_info(spec: TensorMetadata) -> json_codec.Json:
    dims = [{"size": str(size), "name": ""} for size in spec.shape]
    return {
        "dtype": _TF_TYPES.get(spec.datatype, "DT_INVALID"),
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": spec.name,
    }
