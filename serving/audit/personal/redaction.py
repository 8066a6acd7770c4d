"""Personal fields of a record before it is written, and again when it is read.

    {"encrypted": BASE64, "subject": ID}   in place of one value: AES-256-GCM under the key of the row's subject
    "redacted": "hash"                     beside `data`: each value is its keyed hash, 32 hex digits
    "redacted": "truncate"                 an address keeps its network (/24, /48), other text its first four characters
    "redacted": "drop"                     there is no `data`

The first personal field names the subject of a row. A request that does not have it (of tensors) names nobody: what would be encrypted is
dropped then."""

import base64
import json
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from serving.audit.encoding import decode_array
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord
from serving.messages import DATATYPES, Tensor

ENCRYPT: Final = "encrypt"
HASH: Final = "hash"
TRUNCATE: Final = "truncate"
DROP: Final = "drop"
_KEPT_CHARACTERS: Final = 4
_FIELDS: Final = ("inputs", "features")


def redact(record: AuditRecord, keys: SubjectKeys | None) -> AuditRecord:
    """The record as it may be written. Without keys what would be encrypted or hashed is dropped. Raises OSError: do not write it then."""
    rules = record.personal
    named = record.inputs.get(next(iter(rules)))
    names = _values(named) if named is not None else []
    is_named = keys is not None and len(names) == record.rows
    subjects = [keys.subject(_bytes(name)) for name in names] if keys is not None and is_named else []
    changed: dict[str, dict[str, Any]] = {}
    for field in _FIELDS:
        columns = dict(getattr(record, field))
        for name, rule in rules.items():
            if name in columns:
                columns[name] = _redacted(columns[name], rule, subjects, keys, f"{record.receipt}/{name}".encode())
        changed[field] = columns
    return msgspec.structs.replace(record, personal={}, **changed)


def is_redacted(line: bytes) -> bool:
    """Whether a line may hold redacted or encrypted values; cheap."""
    return b'"encrypted"' in line or b'"redacted"' in line


def reveal(record: AuditRecord, keys: SubjectKeys) -> tuple[AuditRecord, frozenset[str]]:
    """The record with what can be decrypted; and the columns of which something is gone, which hold zeros and empty text instead."""
    gone: set[str] = set()
    changed: dict[str, dict[str, Any]] = {}
    for field in _FIELDS:
        columns = dict(getattr(record, field))
        for name, value in columns.items():
            found = _revealed(value, keys, f"{record.receipt}/{name}".encode())
            if found is not value:
                is_whole, columns[name] = found
                gone |= set() if is_whole else {name}
        changed[field] = columns
    return msgspec.structs.replace(record, **changed), frozenset(gone)


def reveal_json(body: bytes, receipt: str, keys: SubjectKeys) -> bytes:
    """The JSON of `inputs` or `features` with what can be decrypted decrypted; what is gone stays as it stands."""
    columns = orjson.loads(body)
    for name, value in columns.items():
        data = value.get("data") if isinstance(value, dict) else value
        if isinstance(data, list):
            about = f"{receipt}/{name}".encode()
            data[:] = [_opened(element, keys, about) if _is_sealed(element) else element for element in data]
    return orjson.dumps(columns)


def _redacted(value: Any, rule: str, subjects: list[str], keys: SubjectKeys | None, about: bytes) -> Any:
    head = _head(value)
    values = _values(value)
    if rule == ENCRYPT and keys is not None and len(subjects) == len(values):
        sealed = [_sealed(keys, subject, one, about) for subject, one in zip(subjects, values, strict=True)]
        return {**head, "data": sealed} if isinstance(value, Tensor | Mapping) else sealed
    if rule == HASH and keys is not None:
        return {**head, "data": [keys.subject(_bytes(one)) for one in values], "redacted": HASH}
    if rule == TRUNCATE:
        return {**head, "data": [_truncated(one) for one in values], "redacted": TRUNCATE}
    return {**head, "redacted": DROP}


def _sealed(keys: SubjectKeys, subject: str, value: Any, about: bytes) -> dict[str, str]:
    sealed = keys.encrypt(subject, _plain(value), about)
    return {"encrypted": base64.b64encode(sealed).decode(), "subject": subject}


def _revealed(value: Any, keys: SubjectKeys, about: bytes) -> Any:
    """The value itself if nothing of it is hidden; else whether all of it is known, and the value with what is known."""
    data = value.get("data") if isinstance(value, Mapping) else value
    if isinstance(value, Mapping) and "redacted" in value:
        count = int(np.prod(value["shape"]))
        return False, {"datatype": value["datatype"], "shape": value["shape"], "data": [_blank(value["datatype"])] * count}
    if not isinstance(data, list) or not any(map(_is_sealed, data)):
        return value
    opened = [_opened(element, keys, about) if _is_sealed(element) else element for element in data]
    datatype = value["datatype"] if isinstance(value, Mapping) else "FP32"
    is_whole = not any(map(_is_sealed, opened))
    plain = [_blank(datatype) if _is_sealed(element) else element for element in opened]
    return is_whole, {**value, "data": plain} if isinstance(value, Mapping) else plain


def _opened(element: Mapping[str, str], keys: SubjectKeys, about: bytes) -> Any:
    text = keys.decrypt(element["subject"], base64.b64decode(element["encrypted"]), about)
    return element if text is None else json.loads(text)


def _is_sealed(element: Any) -> bool:
    return isinstance(element, Mapping) and "encrypted" in element


def _head(value: Any) -> dict[str, Any]:
    if isinstance(value, Tensor):
        return {"datatype": value.datatype, "shape": list(value.data.shape)}
    if isinstance(value, Mapping):
        return {"datatype": value["datatype"], "shape": list(value["shape"])}
    array = value if isinstance(value, np.ndarray) else np.array(value)
    return {"datatype": DATATYPES.get(array.dtype, "BYTES"), "shape": [len(value)]}


def _values(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        return list(value.data.reshape(-1))
    if isinstance(value, Mapping):
        return list(decode_array(value).reshape(-1))
    return list(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else str(value).encode()


def _plain(value: Any) -> bytes:
    """JSON of one value; numbers to the bit, NaN and infinities by name."""
    if isinstance(value, bytes):
        try:
            return orjson.dumps(value.decode())
        except UnicodeDecodeError:
            return orjson.dumps({"base64": base64.b64encode(value).decode()})
    if isinstance(value, float | np.floating) and not np.isfinite(value):
        return json.dumps(float(value)).encode()
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _truncated(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    try:
        address = ip_address(text)
    except ValueError:
        return text[:_KEPT_CHARACTERS]
    return str(ip_network(f"{text}/{24 if address.version == 4 else 48}", strict=False).network_address)


def _blank(datatype: str) -> Any:
    return "" if datatype == "BYTES" else False if datatype == "BOOL" else 0
