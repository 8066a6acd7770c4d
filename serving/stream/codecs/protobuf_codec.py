"""Events in Protobuf: messages of a descriptor set, made at run time; no generated code. The one door to google.protobuf in this room.

A message becomes an event by field name: enums by name, Timestamp as RFC 3339 text, wrappers as their value, Duration in seconds, 64-bit
numbers as numbers (not as text, as Protobuf's own JSON has them). A field without presence that was not sent has its zero, as proto3
means it; one with presence is left out. Unknown fields are left out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from serving.stream.codecs.codec import CodecLimits, DecodedEvent, Undecodable, plain, undecodable
from serving.stream.codecs.framing import FIRST_MESSAGE
from serving.stream.codecs.json_codec import count_names
from serving.stream.ports import StreamRecord

_WELL_KNOWN: Final = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (any_pb2, descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WRAPPERS: Final = frozenset(f"google.protobuf.{m}" for m in wrappers_pb2.DESCRIPTOR.message_types_by_name)
_STRUCTS: Final = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})
_MOST_FIELDS: Final = 256
"""Of a message that may come repeatedly: two bytes make one, and its memory is that of all its fields."""
_Convert = Callable[[Any], Any]


class ProtobufSchemaProblem(ValueError):
    """A schema that messages cannot be read with; the message says why."""


class ProtobufReader:
    """Reads the messages of one file. Raises ProtobufSchemaProblem."""

    def __init__(
        self,
        file: descriptor_pb2.FileDescriptorProto,
        others: Iterable[descriptor_pb2.FileDescriptorProto] = (),
        limits: CodecLimits | None = None,
    ) -> None:
        """others: the files that `file` imports, in any order; Protobuf's own need not be among them."""
        self._limits = limits or CodecLimits()
        self._pool = DescriptorPool()
        self._budget = _Budget()
        self._plans: dict[str, _MessagePlan] = {}
        files = {other.name: other for other in others} | {file.name: file}
        try:
            self._add(file.name, files, ())
            self._file = self._pool.FindFileByName(file.name)
        except (TypeError, KeyError, ValueError) as problem:
            raise ProtobufSchemaProblem(f"the Protobuf schema {file.name!r} cannot be used: {problem}") from problem
        self._proto = file
        self._readers: dict[tuple[int, ...], Any] = {}

    def _add(self, name: str, files: Mapping[str, descriptor_pb2.FileDescriptorProto], above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name!r} imports itself")
        try:
            self._pool.FindFileByName(name)
        except KeyError:
            if name in files:
                for imported in files[name].dependency:
                    self._add(imported, files, (*above, name))
                self._pool.Add(files[name])
            elif name in _WELL_KNOWN:
                self._pool.AddSerializedFile(_WELL_KNOWN[name])
            else:
                raise ValueError(f"it imports {name!r}, which is not there") from None

    def named(self, name: str) -> tuple[int, ...]:
        """The indexes of a message by its full name, e.g. `site.Flow`. Raises ProtobufSchemaProblem."""
        prefix = f"{self._proto.package}." if self._proto.package else ""
        found = dict(_paths(self._proto.message_type, prefix, ()))
        if name not in found:
            raise ProtobufSchemaProblem(
                f"there is no message {name!r} in {self._proto.name!r}, expected one of {', '.join(sorted(found)[:20])}"
            )
        return found[name]

    def read(self, payload: bytes, indexes: tuple[int, ...] = FIRST_MESSAGE) -> DecodedEvent | Undecodable:
        """One message."""
        if indexes not in self._readers:
            descriptor = self._descriptor(indexes)
            if descriptor is None:
                return undecodable(f"the schema has no Protobuf message {list(indexes)}")
            if (large := _large_repeated(descriptor)) is not None:
                return undecodable(f"the Protobuf message {large} has more than {_MOST_FIELDS} fields and may be repeated")
            self._readers[indexes] = (GetMessageClass(descriptor), self._plan(descriptor))
        make, plan = self._readers[indexes]
        self._budget.left = self._limits.items
        try:
            message = make.FromString(payload)
            event = plan.event(message)
        except _OverBudget:
            return undecodable(f"the event has more than {self._limits.items} values")
        except Exception as problem:  # DecodeError; what a Timestamp out of range or text that is not UTF-8 raises later
            return undecodable(f"the value is not a message of its Protobuf schema: {type(problem).__name__} {problem}")
        names = count_names(event, self._limits)
        return names if isinstance(names, Undecodable) else event

    def _descriptor(self, indexes: tuple[int, ...]) -> Descriptor | None:
        level: Sequence[Any] = self._proto.message_type
        names = [self._proto.package] if self._proto.package else []
        for index in indexes:
            if index >= len(level):
                return None
            names.append(level[index].name)
            level = level[index].nested_type
        return self._pool.FindMessageTypeByName(".".join(names))

    def _plan(self, descriptor: Descriptor) -> "_MessagePlan":
        """How a message becomes an event; the plans of the messages within are made when one comes."""
        plan = self._plans.get(descriptor.full_name)
        if plan is None:
            plan = self._plans[descriptor.full_name] = _MessagePlan(self._budget)
            plan.fields = [self._field(field) for field in descriptor.fields]
        return plan

    def _field(self, field: FieldDescriptor) -> tuple[str, bool, _Convert | None]:
        """Name, whether presence is asked for, and what makes a value of the event of it (None: it is one already)."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            convert = self._value(field.message_type.fields_by_name["value"])
            if convert is None:
                return field.name, False, lambda entries: {str(key): value for key, value in entries.items()}
            return field.name, False, lambda entries: {str(key): convert(value) for key, value in entries.items()}
        convert = self._value(field)
        if field.is_repeated:
            return field.name, False, list if convert is None else lambda values: [convert(value) for value in values]
        return field.name, field.has_presence, convert

    def _value(self, field: FieldDescriptor) -> _Convert | None:
        if field.enum_type is not None:
            names = {value.number: value.name for value in field.enum_type.values}
            return lambda number: names.get(number, number)
        if field.message_type is None:
            return None
        name = field.message_type.full_name
        if name == "google.protobuf.Timestamp":
            return lambda stamp: plain(_EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000))
        if name == "google.protobuf.Duration":
            return lambda lasts: lasts.seconds + lasts.nanos / 1e9
        if name in _WRAPPERS:
            return lambda wrapper: wrapper.value
        if name in _STRUCTS:
            return _struct
        return self._plan(field.message_type).event


class _OverBudget(Exception):
    pass


class _Budget:
    """How many more values the event that is read may have: fields that were not sent are zeros, and cost no bytes."""

    left = 0


class _MessagePlan:
    """The fields of one message type."""

    fields: list[tuple[str, bool, _Convert | None]]

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget

    def event(self, message: Message) -> DecodedEvent:
        """The message's fields that are there."""
        event: DecodedEvent = {}
        self._budget.left -= len(self.fields)
        if self._budget.left < 0:
            raise _OverBudget
        for name, has_presence, convert in self.fields:
            if has_presence and not message.HasField(name):
                continue
            value = getattr(message, name)
            event[name] = value if convert is None else convert(value)
        return event


class ProtobufCodec:
    """Bare messages of one type, known beforehand."""

    def __init__(self, reader: ProtobufReader, message: str, limits: CodecLimits | None = None) -> None:
        self._reader, self._indexes, self._limits = reader, reader.named(message), limits or CodecLimits()

    def decode(self, records: Sequence[StreamRecord]) -> list[DecodedEvent | Undecodable]:
        """See EventCodec."""
        return [self._one(record.value) for record in records]

    def _one(self, value: bytes | None) -> DecodedEvent | Undecodable:
        if value is None:
            return undecodable("the record has no value (a tombstone)")
        if len(value) > self._limits.record_bytes:
            return undecodable(f"the value has {len(value)} bytes, the most is {self._limits.record_bytes}")
        return self._reader.read(value, self._indexes)


def reader_of_set(content: bytes, message: str, limits: CodecLimits | None = None) -> ProtobufReader:
    """The reader of the file in a FileDescriptorSet (`protoc --include_imports --descriptor_set_out`) that has the message. Raises
    ProtobufSchemaProblem."""
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(content).file
    except Exception as problem:
        raise ProtobufSchemaProblem(f"this is no descriptor set of protoc: {problem}") from problem
    for file in files:
        prefix = f"{file.package}." if file.package else ""
        if message in dict(_paths(file.message_type, prefix, ())):
            return ProtobufReader(file, files, limits)
    raise ProtobufSchemaProblem(f"there is no message {message!r} in the descriptor set, which has {[f.name for f in files]}")


def _paths(messages: Iterable[Any], prefix: str, above: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
    for index, message in enumerate(messages):
        yield prefix + message.name, (*above, index)
        yield from _paths(message.nested_type, f"{prefix}{message.name}.", (*above, index))


def _large_repeated(descriptor: Descriptor) -> str | None:
    """A message of very many fields that stands within a repeated field, or within a message that does."""
    ahead, seen = [(descriptor, False)], set()
    while ahead:
        message, is_repeated = ahead.pop()
        if (message.full_name, is_repeated) in seen:
            continue
        seen.add((message.full_name, is_repeated))
        if is_repeated and len(message.fields) > _MOST_FIELDS:
            return str(message.full_name)
        ahead += [(f.message_type, is_repeated or f.is_repeated) for f in message.fields if f.message_type is not None]
    return None


def _struct(value: Any) -> Any:
    """A Struct, Value or ListValue as what it stands for."""
    name = value.DESCRIPTOR.name
    if name == "Struct":
        return {key: _struct(inner) for key, inner in value.fields.items()}
    if name == "ListValue":
        return [_struct(inner) for inner in value.values]
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    inner = getattr(value, kind)
    return _struct(inner) if kind in ("struct_value", "list_value") else inner
