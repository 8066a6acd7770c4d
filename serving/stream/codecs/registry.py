"""A schema registry, asked by its HTTP protocol: Confluent's, and what speaks it (Apicurio's `/apis/ccompat/v7`, Karapace, Redpanda).

Two questions only, `GET /schemas/ids/{id}` and `/schemas/guids/{guid}`, and `/subjects/{subject}/versions/{version}` for what a schema
refers to. A schema under an id never changes, so it is asked for once. Down is not unknown: only a registry's own "no" makes a record
undecodable; all else raises SchemasUnreachable, and the worker waits.

Source: Confluent's Schema Registry API reference; error 40403 is "schema not found"."""

import http.client
import ssl
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
import orjson

from serving.files.bounded_files import read_bounded
from serving.stream.codecs.codec import SchemasUnreachable, Undecodable, shown, undecodable
from serving.stream.codecs.framing import SchemaRef
from serving.tls_trust import client_trust

_MOST_BYTES: Final = 4 * 1024 * 1024
"""Longest answer that is read."""
_MOST_SECRET: Final = 64 * 1024
"""Longest file of a secret."""
_MOST_KEPT: Final = 1000
"""Schemas kept, and refusals kept; the ones that were used least recently go first."""
_REFUSAL_S: Final = 30.0
"""How long "there is no such schema" is believed."""
_MOST_REFERENCES: Final = 100
_RETRIED: Final = frozenset({401, 403, 407, 408, 425, 429})
"""Statuses that say something of us or of now, not of the schema."""
_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"


class FoundSchema(msgspec.Struct, frozen=True):
    """A schema as the registry has it. kind: AVRO, PROTOBUF, JSON or another. references: name under which the text refers to it -> the
    schema, in an order in which each comes behind those that it needs."""

    kind: str
    text: str
    references: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Where the registry is and how it is asked. urls: several are tried in order. Files of secrets are read for each question."""

    urls: tuple[str, ...]
    basic_file: Path | None = None
    """USER:PASSWORD in one line."""
    token_file: Path | None = None
    """A bearer token."""
    ca_file: Path | None = None
    """Certificates in PEM that the registry's is signed by; None: the system's."""
    certificate_file: Path | None = None
    """Our own certificate in PEM, with its key in it or in `key_file`; None: none."""
    key_file: Path | None = None
    timeout_s: float = 5.0


class _Unknown(Exception):
    """The registry says that there is none."""


class SchemaRegistry:
    """A registry and its cached answers. Raises ValueError for an invalid address."""

    def __init__(self, address: RegistryAddress, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = address, clock
        self._places = [_place(url) for url in address.urls]
        if not self._places:
            raise ValueError("the schema registry has no URL")
        self._tls = _tls(address) if any(scheme == "https" for scheme, *_ in self._places) else None
        self._found: OrderedDict[SchemaRef, FoundSchema] = OrderedDict()
        self._refused: OrderedDict[SchemaRef, tuple[float, Undecodable]] = OrderedDict()

    def schema(self, ref: SchemaRef) -> FoundSchema | Undecodable:
        """The schema, or the registry's word that there is none. Raises SchemasUnreachable."""
        if (known := self._found.get(ref)) is not None:
            self._found.move_to_end(ref)
            return known
        refused = self._refused.get(ref)
        if refused is not None and self._clock() < refused[0]:
            return refused[1]
        path = f"/schemas/ids/{ref.id}" if ref.guid is None else f"/schemas/guids/{ref.guid}"
        try:
            answer: FoundSchema = self._whole(self._get(path + "?format=serialized"))
        except _Unknown as problem:
            refusal = undecodable(f"the registry does not know {ref}: {problem}")
            _keep(self._refused, ref, (self._clock() + _REFUSAL_S, refusal))
            return refusal
        _keep(self._found, ref, answer)
        return answer

    def _whole(self, answer: Mapping[str, Any]) -> FoundSchema:
        texts: dict[str, str] = {}
        self._add_references(answer, texts, set())
        return FoundSchema(str(answer.get("schemaType") or "AVRO").upper(), answer["schema"], texts)

    def _add_references(self, answer: Mapping[str, Any], texts: dict[str, str], begun: set[str]) -> None:
        for reference in answer.get("references") or ():
            try:
                name, subject, version = str(reference["name"]), str(reference["subject"]), int(reference["version"])
            except (TypeError, KeyError, ValueError) as problem:
                raise _Unknown(f"its reference {shown(reference)} cannot be read") from problem
            if name in begun:
                continue
            begun.add(name)
            if len(begun) > _MOST_REFERENCES:
                raise _Unknown(f"it has more than {_MOST_REFERENCES} references")
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true&format=serialized"
            try:
                referred = self._get(path)
            except _Unknown as problem:
                raise _Unknown(f"it refers to version {version} of {subject!r}: {problem}") from problem
            self._add_references(referred, texts, begun)
            texts[name] = referred["schema"]

    def _get(self, path: str) -> Mapping[str, Any]:
        """An answer with a schema in it. Raises _Unknown if the registry says no, SchemasUnreachable if it says nothing of use."""
        problems: list[str] = []
        for place in self._places:
            url = "{}://{}:{}{}".format(*place)
            try:
                status, body = self._ask(place, path)
                answer = _object(body)
                if status == 200 and isinstance(answer.get("schema"), str):
                    return answer
                if 400 <= status < 500 and status not in _RETRIED and ("error_code" in answer or self._is_registry(place)):
                    raise _Unknown(str(answer.get("message") or f"it answers {status}"))
                problems.append(f"{url}{path} answers {status} {shown(body[:200].decode(errors='replace'))}")
            except (OSError, UnicodeError, http.client.HTTPException) as problem:
                problems.append(f"{url}: {type(problem).__name__} {problem}".rstrip())
        raise SchemasUnreachable(f"the schema registry cannot be asked: {'; '.join(problems)}; records wait until it answers")

    def _is_registry(self, place: "_Place") -> bool:
        """Whether there is a registry at all: an address that is wrong also answers 404, to everything."""
        status, body = self._ask(place, "/schemas/types")
        return status == 200 and body.lstrip().startswith(b"[")

    def _ask(self, place: "_Place", path: str) -> tuple[int, bytes]:
        scheme, host, port, prefix = place
        timeout_s, end = self._address.timeout_s, self._clock() + self._address.timeout_s
        connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
            if scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout_s)
        )
        try:
            connection.request("GET", prefix + path, headers=self._headers())
            response = connection.getresponse()
            body = bytearray()
            while chunk := response.read1(65_536):
                body += chunk
                if len(body) > _MOST_BYTES or self._clock() > end:
                    raise http.client.HTTPException(f"the answer is longer than {_MOST_BYTES} bytes or {timeout_s} s")
            return response.status, bytes(body)
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": _ACCEPT, "User-Agent": "vedette"}
        if (file := self._address.token_file) is not None:
            headers["Authorization"] = f"Bearer {read_bounded(file, _MOST_SECRET).decode('ascii').strip()}"
        elif (file := self._address.basic_file) is not None:
            headers["Authorization"] = "Basic " + b64encode(read_bounded(file, _MOST_SECRET).strip()).decode()
        return headers


_Place = tuple[str, str, int, str]
"""Scheme, host, port and the path before the protocol's own."""


def _place(url: str) -> _Place:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            f"the schema registry's URL {url.rsplit('@', maxsplit=1)[-1]!r} is not http(s)://HOST[:PORT][/PATH]; "
            "credentials have settings of their own"
        )
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


def _tls(address: RegistryAddress) -> ssl.SSLContext:
    try:
        context = client_trust(address.ca_file or None)
        if address.certificate_file:
            context.load_cert_chain(address.certificate_file, address.key_file or None)
    except OSError as problem:
        raise ValueError(f"the schema registry's certificate files cannot be read: {problem}") from problem
    return context


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _keep(kept: OrderedDict[SchemaRef, Any], ref: SchemaRef, value: object) -> None:
    kept[ref] = value
    kept.move_to_end(ref)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
