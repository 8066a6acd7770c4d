"""Records whose schema a registry has: the id says the schema, the schema says the format."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from serving.stream.codecs.avro_codec import AvroReader, AvroSchemaProblem
from serving.stream.codecs.codec import CodecLimits, DecodedEvent, EventCodec, Undecodable, undecodable
from serving.stream.codecs.framing import Framed, SchemaRef, message_indexes, unframe
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.codecs.proto_text import descriptors_of
from serving.stream.codecs.protobuf_codec import ProtobufReader, ProtobufSchemaProblem
from serving.stream.codecs.registry import FoundSchema
from serving.stream.ports import StreamRecord

_MOST_KEPT: Final = 200
"""Readers kept; the one that was used least recently goes first."""

_Read = Callable[[Framed], DecodedEvent | Undecodable]


class SchemaSource(Protocol):
    """Where schemas come from."""

    def schema(self, ref: SchemaRef) -> FoundSchema | Undecodable:
        """The schema, or why there is none. Raises SchemasUnreachable."""
        ...


class RegistryCodec:
    """Avro, Protobuf and JSON behind one registry. JSON schemas are not judged: what a model needs of an event is checked by column.

    plain: decodes records that name no schema; None: they are undecodable. avro_reader: the schema that Avro data of all
    versions are read as."""

    def __init__(
        self,
        schemas: SchemaSource,
        limits: CodecLimits | None = None,
        plain: EventCodec | None = None,
        avro_reader: Mapping[str, Any] | None = None,
    ) -> None:
        self._schemas, self._limits = schemas, limits or CodecLimits()
        self._plain, self._avro_reader = plain, avro_reader
        self._json = JsonCodec(self._limits)
        self._readers: OrderedDict[SchemaRef, _Read] = OrderedDict()

    def decode(self, records: Sequence[StreamRecord]) -> list[DecodedEvent | Undecodable]:
        """See EventCodec."""
        return [self._one(record) for record in records]

    def _one(self, record: StreamRecord) -> DecodedEvent | Undecodable:
        framed = unframe(record)
        if isinstance(framed, Undecodable):
            return framed
        if framed is None:
            if self._plain is not None:
                return self._plain.decode([record])[0]
            return undecodable("nothing names the record's schema, neither a header nor the first bytes of its value")
        if len(framed.payload) > self._limits.record_bytes:
            return undecodable(f"the value has {len(framed.payload)} bytes, the most is {self._limits.record_bytes}")
        read = self._readers.get(framed.schema)
        if read is None:
            found = self._schemas.schema(framed.schema)
            if isinstance(found, Undecodable):
                return found
            read = self._readers[framed.schema] = self._reader(framed.schema, found)
            if len(self._readers) > _MOST_KEPT:
                self._readers.popitem(last=False)
        self._readers.move_to_end(framed.schema)
        return read(framed)

    def _reader(self, ref: SchemaRef, found: FoundSchema) -> _Read:
        try:
            if found.kind == "AVRO":
                avro = AvroReader(found.text, found.references, self._avro_reader, self._limits)
                return lambda framed: avro.read(framed.payload)
            if found.kind == "PROTOBUF":
                file, others = descriptors_of(found.text, found.references)
                return _protobuf(ProtobufReader(file, others, self._limits))
        except (AvroSchemaProblem, ProtobufSchemaProblem) as problem:
            return _refusing(f"{ref}: {problem}")
        if found.kind == "JSON":
            return lambda framed: self._json.decode_value(framed.payload)
        return _refusing(f"{ref} is of the type {found.kind}, expected AVRO, PROTOBUF or JSON")


def _refusing(reason: str) -> _Read:
    refusal = undecodable(reason)
    return lambda framed: refusal


def _protobuf(reader: ProtobufReader) -> _Read:
    def read(framed: Framed) -> DecodedEvent | Undecodable:
        # In a header the indexes stand behind the id; in a value they stand between it and the payload.
        found = message_indexes(framed.payload if framed.indexes is None else framed.indexes)
        if isinstance(found, Undecodable):
            return found
        indexes, rest = found
        return reader.read(rest if framed.indexes is None else framed.payload, indexes)

    return read
