"""Events in Avro: one datum of a record schema, without a container. The one door to fastavro.

Bytes lie: a block of a million values that take no byte each, a length that is longer than the record, a tree that holds itself a hundred
thousand levels deep. fastavro's C reader takes 64 s for 2 billion nulls and ends the process on the tree, so both are met before it
is called: arrays and maps of what takes no bytes are refused with the schema, and schemas that hold themselves are read by fastavro's
Python reader, which stops at Python's recursion limit."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import fastavro
import orjson
from fastavro import _read_py as python_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from serving.stream.codecs.codec import CodecLimits, DecodedEvent, Undecodable, undecodable
from serving.stream.codecs.json_codec import count_names
from serving.stream.ports import StreamRecord

_CONTAINER: Final = b"Obj\x01"
_SINGLE_OBJECT: Final = b"\xc3\x01"
_SCHEMA_DEPTH: Final = 64
_SCHEMA_TYPES: Final = 10_000
_COMPLEX: Final = ("array", "map", "record", "error", "enum", "fixed")


class AvroSchemaProblem(ValueError):
    """A schema that events cannot be read with; the message says why."""


class AvroReader:
    """Reads the data of one writer's schema. Raises AvroSchemaProblem."""

    def __init__(
        self,
        text: str,
        references: Mapping[str, str] | None = None,
        reader: Mapping[str, Any] | None = None,
        limits: CodecLimits | None = None,
    ) -> None:
        """references: schemas that `text` names, each behind those that it names. reader: a parsed schema that data are read as:
        fields it lacks are left out, fields the writer lacked get its defaults, types are promoted."""
        self._limits = limits or CodecLimits()
        self._reader = reader
        self._schema = parsed(text, references)
        shape = _Shape(self._schema)
        if shape.top not in ("record", "error"):
            raise AvroSchemaProblem(f"the Avro schema is a {shape.top}, expected a record: an event has fields")
        if shape.empty_items:
            raise AvroSchemaProblem(
                "the Avro schema has an array or a map of values that take no bytes (null, an empty record)"
            )
        self._read: Callable[..., Any] = python_reader.schemaless_reader if shape.holds_itself else fastavro.schemaless_reader
        self.fingerprint = bytes.fromhex(fingerprint(to_parsing_canonical_form(self._schema), "CRC-64-AVRO"))
        """CRC-64-AVRO of the schema, as the single-object encoding has it."""

    def read(self, payload: bytes) -> DecodedEvent | Undecodable:
        """One datum."""
        stream = BytesIO(payload)
        try:
            event: DecodedEvent = self._read(stream, self._schema, self._reader)
        except RecursionError:
            return undecodable("the Avro datum is nested too deep")
        except (
            Exception
        ) as problem:  # fastavro raises what it meets: EOFError, IndexError, KeyError, OverflowError, struct.error, ...
            return undecodable(f"the value is not a datum of its Avro schema: {type(problem).__name__} {problem}")
        if stream.tell() != len(payload):
            return undecodable(
                f"{len(payload) - stream.tell()} bytes are left over behind the Avro datum: it has another schema"
            )
        names = count_names(event, self._limits)
        return names if isinstance(names, Undecodable) else event


class AvroCodec:
    """Avro data of one schema, known beforehand: bare, or in the single-object encoding (C3 01 and the schema's fingerprint)."""

    def __init__(self, reader: AvroReader, limits: CodecLimits | None = None) -> None:
        self._reader, self._limits = reader, limits or CodecLimits()

    def decode(self, records: Sequence[StreamRecord]) -> list[DecodedEvent | Undecodable]:
        """See EventCodec."""
        return [self._one(record.value) for record in records]

    def _one(self, value: bytes | None) -> DecodedEvent | Undecodable:
        if value is None:
            return undecodable("the record has no value (a tombstone)")
        if len(value) > self._limits.record_bytes:
            return undecodable(f"the value has {len(value)} bytes, the most is {self._limits.record_bytes}")
        if value.startswith(_CONTAINER):
            return undecodable("the value is an Avro container file; send one datum without a container")
        if value.startswith(_SINGLE_OBJECT) and value[2:10] == self._reader.fingerprint:
            return self._reader.read(value[10:])
        return self._reader.read(value)


def parsed(text: str, references: Mapping[str, str] | None = None) -> Any:
    """A schema as fastavro wants it. Raises AvroSchemaProblem."""
    named: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of logical types that it does not know, which it then reads as what is under them
            for other in (references or {}).values():
                fastavro.parse_schema(_json(other), named_schemas=named)
            return fastavro.parse_schema(_json(text), named_schemas=named)
    except AvroSchemaProblem:
        raise
    except Exception as problem:
        raise AvroSchemaProblem(f"the Avro schema cannot be read: {type(problem).__name__} {problem}") from problem


def _json(text: str) -> Any:
    """A schema's JSON, which is not so deep that fastavro's parser ends the process."""
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise AvroSchemaProblem(f"the Avro schema is not JSON: {problem}") from problem
    within = count_names({"": schema}, CodecLimits(depth=_SCHEMA_DEPTH, items=_SCHEMA_TYPES))
    if isinstance(within, Undecodable):
        raise AvroSchemaProblem(f"the Avro schema is too large: {within.reason}")
    return schema


class _Shape:
    """What of a schema decides how its data may be read."""

    def __init__(self, schema: Any) -> None:
        self._named: dict[str, Any] = dict(schema.get("__named_schemas", {})) if isinstance(schema, dict) else {}
        self._open: list[str] = []
        self._sizes: dict[str, bool] = {}
        self.holds_itself = False
        self.empty_items = False
        self.top = self._kind(self._resolved(schema))
        self._takes_bytes(schema)

    def _resolved(self, schema: Any) -> Any:
        return self._named.get(schema, schema) if isinstance(schema, str) else schema

    def _kind(self, schema: Any) -> str:
        if isinstance(schema, list):
            return "union"
        return str(schema["type"]) if isinstance(schema, dict) else str(schema)

    def _takes_bytes(self, schema: Any) -> bool:
        """Whether each datum has at least one byte."""
        schema = self._resolved(schema)
        kind = self._kind(schema)
        if kind == "union":
            for branch in schema:
                self._takes_bytes(branch)
            return True
        if kind in ("record", "error"):
            return self._record_takes_bytes(schema)
        if kind in ("array", "map"):
            items = schema["items" if kind == "array" else "values"]
            if not self._takes_bytes(items) and kind == "array":
                self.empty_items = True
            return True
        if kind == "fixed":
            return int(schema["size"]) > 0
        if isinstance(schema, dict) and kind not in _COMPLEX and not isinstance(schema["type"], str):
            return self._takes_bytes(schema["type"])
        return kind != "null"

    def _record_takes_bytes(self, schema: Any) -> bool:
        name = str(schema["name"])
        if name in self._open:
            self.holds_itself = True
            return True
        if name not in self._sizes:
            self._open.append(name)
            sizes = [self._takes_bytes(field["type"]) for field in schema["fields"]]
            self._open.pop()
            self._sizes[name] = any(sizes)
        return self._sizes[name]
