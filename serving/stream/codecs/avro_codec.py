"""Events in Avro: one datum of a record schema, without a container. The one door to fastavro.

Bytes lie: a block of a million values that take no byte each, a length that is longer than the record, a tree that holds itself a hundred
thousand levels deep. fastavro's C reader takes 64 s for 2 billion nulls and ends the process on the tree, so both are met before it
is called: schemas whose data can become much larger than their bytes are refused, and schemas that hold themselves are read by
fastavro's Python reader, which stops at Python's recursion limit. A decimal of 40 kB takes a second, so decimals are short. Whoever writes
events may often register schemas too."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, NamedTuple

import fastavro
import orjson
from fastavro import _read_py as python_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from serving.stream.codecs.codec import CodecLimits, DecodedEvent, Undecodable, plain, undecodable
from serving.stream.codecs.json_codec import count_names
from serving.stream.ports import StreamRecord

_CONTAINER: Final = b"Obj\x01"
_SINGLE_OBJECT: Final = b"\xc3\x01"
_SCHEMA_DEPTH: Final = 64
_SCHEMA_TYPES: Final = 10_000
_GROWTH: Final = 8
"""Values for each byte of an array's items. An optional field takes a byte for its branch."""
_DECIMAL_BYTES: Final = 64
"""Of the longest decimal: 153 digits."""
_COMPLEX: Final = ("array", "map", "record", "error", "enum", "fixed")


def _short_decimals(read: Callable[..., Any]) -> Callable[..., Any]:
    """A reader of a logical type, for values of bounded length. fastavro's table of them is the place to say so."""

    def short(data: bytes, *schemas: Any) -> Any:
        if len(data) > _DECIMAL_BYTES:
            raise ValueError(f"a decimal has {len(data)} bytes, the most is {_DECIMAL_BYTES}")
        return read(data, *schemas)

    return short


for _kind in ("bytes-decimal", "fixed-decimal"):
    fastavro.read.LOGICAL_READERS[_kind] = _short_decimals(fastavro.read.LOGICAL_READERS[_kind])


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
        if shape.growing is not None:
            raise AvroSchemaProblem(f"the Avro schema has {shape.growing}: few bytes could become very many values")
        if shape.least_values > self._limits.items:
            raise AvroSchemaProblem(f"the Avro schema has more than {self._limits.items} values in each event")
        self._read: Callable[..., Any] = python_reader.schemaless_reader if shape.holds_itself else fastavro.schemaless_reader
        self._has_logical_types = any("logicalType" in each for each in (text, *(references or {}).values(), repr(reader)))
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
        if isinstance(names, Undecodable):
            return names
        return plain(event) if self._has_logical_types else event


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
    """What of a schema decides how its data may be read.

    growing: an array or map whose items have many values in few bytes; None: there is none. least_values: of the largest event that has no
    item in any array."""

    def __init__(self, schema: Any) -> None:
        self._named: dict[str, Any] = dict(schema.get("__named_schemas", {})) if isinstance(schema, dict) else {}
        self._open: list[str] = []
        self._known: dict[str, _Extent] = {}
        self.holds_itself = False
        self.growing: str | None = None
        self.top = self._kind(self._resolved(schema))
        self.least_values = self._extent(schema).values

    def _resolved(self, schema: Any) -> Any:
        return self._named.get(schema, schema) if isinstance(schema, str) else schema

    def _kind(self, schema: Any) -> str:
        if isinstance(schema, list):
            return "union"
        return str(schema["type"]) if isinstance(schema, dict) else str(schema)

    def _extent(self, schema: Any) -> "_Extent":
        """Of the datum that has the most values for its bytes, with empty arrays and maps."""
        schema = self._resolved(schema)
        kind = self._kind(schema)
        if kind == "union":
            branches = [self._extent(branch) for branch in schema]
            worst = max(branches, key=lambda one: one.values / (one.bytes + 1), default=_Extent(0, 1))
            return _Extent(worst.bytes + 1, worst.values)
        if kind in ("record", "error"):
            return self._record(schema)
        if kind in ("array", "map"):
            items = self._extent(schema["items" if kind == "array" else "values"])
            length = items.bytes + (kind == "map")  # of a map each item has a key
            if items.values > _GROWTH * length:
                self.growing = (
                    f"{'an array' if kind == 'array' else 'a map'} whose items have {items.values} values in {length} bytes"
                )
            return _Extent(1, 1)
        if kind == "fixed":
            return _Extent(int(schema["size"]), 1)
        if isinstance(schema, dict) and kind not in _COMPLEX and not isinstance(schema["type"], str):
            return self._extent(schema["type"])
        return _Extent(0 if kind == "null" else 1, 1)

    def _record(self, schema: Any) -> "_Extent":
        name = str(schema["name"])
        if name in self._open:
            self.holds_itself = True
            return _Extent(1, 1)
        if name not in self._known:
            self._open.append(name)
            fields = [self._extent(field["type"]) for field in schema["fields"]]
            self._open.pop()
            self._known[name] = _Extent(sum(f.bytes for f in fields), 1 + sum(f.values for f in fields))
        return self._known[name]


class _Extent(NamedTuple):
    bytes: int
    values: int
