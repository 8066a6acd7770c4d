"""An audit record as one line of JSON, and back. Numbers keep every bit.

Pure. Arrays: short, finite ones are plain lists, for people and for jq. Long ones, and those holding NaN or infinities (which
JSON has no words for), are {datatype, shape, raw}: raw is base64 of the little-endian row-major bytes, the protocol's own
binary form. Tensors of `inputs` are {datatype, shape, data} or {datatype, shape, raw}. Bytes that are no UTF-8 text are
{"base64": ...} in place of the string."""

import base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from serving.audit.record import AuditRecord
from serving.messages import DATATYPES, DTYPES, Tensor
from serving.models.verdicts import VERDICTS

LONGEST_LIST: Final = 1024
"""Elements of a numeric array beyond which it is written raw."""
_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
_OPTIONS: Final = _NUMPY | orjson.OPT_APPEND_NEWLINE
_NULLABLE: Final = ("request_id", "trace_id", "operating_point", "row_numbers", "fallback_from")
_ARRAYS: Final = ("features", "event_times_us")
_VERDICT_LISTS: Final = tuple(orjson.dumps([word]) for word in VERDICTS)
_FLAG_LISTS: Final = (b"[false]", b"[true]")
_MOST_FORMS: Final = 1000
_forms: Final[dict[tuple[str | None, ...], bytes]] = {}


def encode_record(record: AuditRecord) -> bytes:
    """One line, with its newline. Raises TypeError or ValueError for something that has no JSON form.

    orjson writes numpy arrays itself, twice as fast as anything in Python, and NaN and infinities as null. So a null that is no
    field's own None means that the record holds one, and it is written again with care."""
    return _encode_one_row(record) or _encode_any(record)


def _encode_one_row(record: AuditRecord) -> bytes | None:
    """The line of a record as most are: one row with a verdict, of one model and no rule, all numbers finite. None for any other.

    The same bytes as `_encode_any` gives, in two thirds of the time: what the lines of a revision have in common is made once."""
    verdicts, degraded = record.verdicts, record.degraded
    if (
        record.rows != 1
        or type(verdicts) is not np.ndarray
        or type(degraded) is not np.ndarray
        or record.row_numbers is not None
    ):
        return None
    if record.rules or record.outputs or record.fallback_from is not None or record.explained is not None or record.suppressed:
        return None
    if record.triage or not record.is_answer:
        return None
    inputs, are_finite = {}, True
    for name, tensor in record.inputs.items():
        if type(tensor) is not Tensor or tensor.data.size > LONGEST_LIST:
            return None
        shape, data = tensor.data.shape, tensor.data
        inputs[name] = {"datatype": tensor.datatype, "shape": shape, "data": data if len(shape) == 1 else data.reshape(-1)}
        are_finite = are_finite and tensor.is_finite
    inputs_text = orjson.dumps(inputs, _plain, _NUMPY)
    features, times = record.features, record.event_times_us
    features_text = orjson.dumps(dict(features), _plain, _NUMPY) if features else b"{}"  # makes the columns
    scores_text = orjson.dumps(record.scores, _plain, _NUMPY)
    if scores_text == b"[null]" or b"null" in features_text or not (are_finite or b"null" not in inputs_text):
        return None
    about = (
        record.door,
        record.model,
        record.version,
        record.revision,
        record.variant,
        record.source,
        record.operating_point,
        record.processor,
    )
    request_id, trace_id = record.request_id, record.trace_id
    return (_forms.get(about) or _form_of(about)) % (
        orjson.dumps(record.receipt),
        record.time_us,
        b"null" if request_id is None else orjson.dumps(request_id),
        b"null" if trace_id is None else orjson.dumps(trace_id),
        inputs_text,
        features_text,
        orjson.dumps(dict(times), _plain, _NUMPY) if times else b"{}",
        scores_text,
        _VERDICT_LISTS[verdicts.item()],
        _FLAG_LISTS[degraded.item()],
        record.latency_us,
        _at_the_end(record) if record.caller or record.tenant or record.feature_sources else b"",
    )


def _form_of(about: tuple[str | None, ...]) -> bytes:
    """A line of one row with gaps for what differs between the answers of one revision."""
    door, model, version, revision, variant, source, point, processor = (
        orjson.dumps(value).replace(b"%", b"%%") for value in about
    )
    form = (
        b'{"receipt":%b,"time_us":%d,'
        b'"door":' + door + b',"model":' + model + b',"version":' + version + b',"revision":' + revision +
        b',"variant":' + variant + b',"source":' + source +
        b',"request_id":%b,"trace_id":%b,"rows":1,"inputs":%b,"features":%b,"event_times_us":%b,"operating_point":' + point +
        b',"scores":%b,"verdicts":%b,"degraded":%b,"latency_us":%d,"row_numbers":null,"rules":[],"fallback_from":null,'
        b'"processor":' + processor + b',"outputs":{}%b}\n'
    )  # fmt: skip
    if len(_forms) >= _MOST_FORMS:
        _forms.clear()  # models come and go
    return _forms.setdefault(about, form)


def _at_the_end(record: AuditRecord) -> bytes:
    """The caller, the tenant and the sources of features, behind the other fields."""
    named = (("caller", record.caller), ("tenant", record.tenant), ("feature_sources", record.feature_sources))
    return b"".join([b',"%b":%b' % (name.encode(), orjson.dumps(value)) for name, value in named if value])


def _encode_any(record: AuditRecord) -> bytes:
    fields = msgspec.structs.asdict(record)
    del fields["personal"]  # it is for the writer, and says nothing of the answer
    if record.explained is None:
        del fields["explained"]  # nearly every line
    for name in ("caller", "tenant", "feature_sources"):
        if not fields[name]:
            del fields[name]  # every line where access is not guarded, or no rows are kept in memory
    for name in ("correlation", "refusal"):
        if fields.pop(name) is not None:
            fields[name] = msgspec.structs.asdict(getattr(record, name))
    if not record.triage:
        del fields["triage"]
    del fields["suppressed"]
    if record.suppressed:
        fields["suppressed"] = [msgspec.structs.asdict(entry) for entry in record.suppressed]
    for name in _ARRAYS:
        fields[name] = dict(fields[name])  # makes the columns
    if isinstance(record.verdicts, np.ndarray):
        fields["verdicts"] = [VERDICTS[code] for code in record.verdicts.tolist()]
    fields["outputs"] = {
        name: digest_of(value) if isinstance(value, np.ndarray) else value for name, value in record.outputs.items()
    }
    fields["inputs"] = {name: _tensor(value) if type(value) is Tensor else value for name, value in record.inputs.items()}
    if record.rows <= LONGEST_LIST:
        line = orjson.dumps(fields, _plain, _OPTIONS)
        if line.count(b"null") == sum([fields[name] is None for name in _NULLABLE]):
            return line
    exact = {name: _exact(value) for name, value in fields.items()}
    for name in _ARRAYS:
        exact[name] = {column: _exact(value) for column, value in fields[name].items()}
    exact["inputs"] = {name: _exact_tensor(value) if type(value) is Tensor else value for name, value in record.inputs.items()}
    return orjson.dumps(exact, _plain, _OPTIONS)


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


def digest_of(array: NDArray[Any]) -> str:
    """SHA-256 over an array's datatype, shape and little-endian bytes; over the JSON of its texts where it holds text."""
    head = orjson.dumps([DATATYPES[array.dtype], array.shape])
    if array.dtype.hasobject:
        body = orjson.dumps([_text(value) for value in array.ravel().tolist()])
    else:
        body = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return f"sha256:{sha256(head + body).hexdigest()}"


def _bytes_array(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), np.object_)
    array[:] = [v.encode() if isinstance(v, str) else base64.b64decode(v["base64"]) for v in values]
    return array


def _tensor(tensor: Tensor) -> dict[str, Any]:
    data = tensor.data
    if data.size > LONGEST_LIST:
        return _exact_tensor(tensor)
    return {"datatype": tensor.datatype, "shape": data.shape, "data": data if data.ndim == 1 else data.reshape(-1)}


def _exact_tensor(tensor: Tensor) -> dict[str, Any]:
    data = tensor.data
    form = {"raw": _raw(data)} if _must_be_raw(data) else {"data": data.reshape(-1)}
    return {"datatype": tensor.datatype, "shape": data.shape, **form}


def _exact(value: Any) -> Any:
    if isinstance(value, np.ndarray) and _must_be_raw(value):
        return {"datatype": DATATYPES[value.dtype], "shape": value.shape, "raw": _raw(value)}
    return value


def _must_be_raw(array: NDArray[Any]) -> bool:
    if array.dtype.hasobject:
        return False
    return array.size > LONGEST_LIST or (array.dtype.kind == "f" and not np.isfinite(array).all())


def _plain(value: Any) -> Any:
    """What orjson asks when it does not know: strings, and arrays that do not lie in one piece."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"an audit record cannot hold {type(value).__name__}")
    return [_text(v) for v in value.tolist()] if value.dtype.hasobject else value.tolist()


def _raw(array: NDArray[Any]) -> str:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


_DECODER: Final = msgspec.json.Decoder(AuditRecord)
