"""What kubectl asks in protobuf that our tests need: `kubectl auth can-i` (a SelfSubjectAccessReview) and `kubectl create namespace`.

kubectl's typed commands send protobuf; for all else this server takes JSON and YAML, and says so (415). Field numbers
are those of k8s.io/api (authorization/v1, core/v1) and runtime.Unknown; the answer is JSON, which clients accept.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_ATTRIBUTES = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}


def decoded(raw: bytes) -> Json | None:
    """The body of a SelfSubjectAccessReview or a Namespace, or None for anything else."""
    if not raw.startswith(_MAGIC):
        return None
    unknown = dict(_fields(raw[4:]))
    kind = dict(_fields(unknown.get(1, b"")))
    read = {b"SelfSubjectAccessReview": _access_review, b"Namespace": _namespace}.get(kind.get(2, b""))
    if read is None:
        return None
    return {"apiVersion": kind.get(1, b"").decode(), "kind": kind[2].decode(), **read(dict(_fields(unknown.get(2, b""))))}


def _access_review(message: Mapping[int, bytes]) -> Json:
    spec = dict(_fields(message.get(2, b"")))
    if 1 not in spec:
        return {"spec": {}}
    asked = dict(_fields(spec[1]))
    attributes = {name: asked[number].decode() for number, name in _ATTRIBUTES.items() if number in asked}
    return {"spec": {"resourceAttributes": attributes}}


def _namespace(message: Mapping[int, bytes]) -> Json:
    meta = dict(_fields(message.get(1, b"")))
    return {"metadata": {"name": meta.get(1, b"").decode()}}


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, content) of the length-delimited fields of a message; numbers are passed over."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        if key & 7 == 2:
            size, at = _varint(raw, at)
            yield key >> 3, raw[at : at + size]
            at += size
        elif key & 7 == 0:
            _, at = _varint(raw, at)
        else:
            return


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return value, at
