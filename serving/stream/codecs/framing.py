"""Which schema a record was written with: its id is in a header or in front of the payload. Pure.

Forms, as Confluent's clients write and read them (their documentation, "Wire format"; the newer one is in use since version 8.0):

    prefix       byte 0, then the id in 4 bytes, most significant first; or byte 1, then a GUID in 16 bytes
    header       `__value_schema_id` with the same bytes
    Protobuf     behind either: which message of the file, as zigzag varints: how many, then an index for each level; one byte 0 is
                 the first message

And one of our own, for producers without such a client: the header `schema-id` with the id in digits."""

from typing import Final, NamedTuple
from uuid import UUID

from serving.stream.codecs.codec import Undecodable, undecodable
from serving.stream.ports import StreamRecord

SCHEMA_ID_HEADER: Final = "schema-id"
CONFLUENT_HEADER: Final = "__value_schema_id"

_ID, _GUID = 0, 1
_MOST_LEVELS: Final = 32
_MOST_ID: Final = 2**32
FIRST_MESSAGE: Final = (0,)


class SchemaRef(NamedTuple):
    """Names a schema in a registry: by its number or by its GUID; the other is None."""

    id: int | None
    guid: UUID | None = None

    def __str__(self) -> str:
        return f"schema {self.id if self.guid is None else self.guid}"


class Framed(NamedTuple):
    """A payload and its schema. indexes: the bytes that say which Protobuf message, or None where they stand before the payload."""

    schema: SchemaRef
    payload: bytes
    indexes: bytes | None = None


def unframe(record: StreamRecord) -> Framed | Undecodable | None:
    """Take a record's value apart; None if nothing names a schema. A header comes before a prefix; the last of several counts."""
    value = record.value
    if value is None:
        return undecodable("the record has no value (a tombstone)")
    for name, content in reversed(record.headers):
        if name == CONFLUENT_HEADER:
            found = _reference(content)
            if found is None:
                return undecodable(f"the header {name} has {len(content)} bytes that are no schema id and no GUID")
            schema, rest = found
            return Framed(schema, value, rest)
        if name == SCHEMA_ID_HEADER:
            if not content.isdigit() or len(content) > 10 or int(content) >= _MOST_ID:
                return undecodable(f"the header {name} is {content[:40]!r}, expected the schema's id in digits")
            return Framed(SchemaRef(int(content)), value, b"")
    found = _reference(value)
    return None if found is None else Framed(found[0], found[1])


def _reference(content: bytes) -> tuple[SchemaRef, bytes] | None:
    if len(content) >= 5 and content[0] == _ID:
        return SchemaRef(int.from_bytes(content[1:5], "big")), content[5:]
    if len(content) >= 17 and content[0] == _GUID:
        return SchemaRef(None, UUID(bytes=content[1:17])), content[17:]
    return None


def message_indexes(content: bytes) -> tuple[tuple[int, ...], bytes] | Undecodable:
    """The indexes of a Protobuf message and what comes behind them. Nothing at all stands for the first message.

    >>> message_indexes(bytes([0, 8, 1]))
    ((0,), b'\\x08\\x01')
    >>> message_indexes(bytes([4, 2, 0]))
    ((1, 0), b'')
    """
    if not content:
        return FIRST_MESSAGE, b""
    count, at = _varint(content, 0)
    if count > _MOST_LEVELS:
        return undecodable(f"the Protobuf message is {count} levels deep, the most is {_MOST_LEVELS}")
    numbers = []
    for _ in range(count):
        number, at = _varint(content, at)
        numbers.append(number)
    if count < 0 or -1 in numbers:
        return undecodable("the indexes of the Protobuf message before the payload are cut short or negative")
    return tuple(numbers) or FIRST_MESSAGE, content[at:]


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of at most 5 bytes and where it ends; -1 if there is none, or one below zero."""
    value = 0
    for place, byte in enumerate(content[at : at + 5]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return -1 if value & 1 else value >> 1, at + place + 1
    return -1, len(content)
