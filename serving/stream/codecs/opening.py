"""Opens the codec that the settings name. Formats other than JSON are imported when they are asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.stream.codecs.codec import CodecLimits, EventCodec
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.codecs.registry import RegistryAddress, SchemaRegistry
from serving.stream.codecs.settings import CodecSettings, EventFormat


@dataclass(frozen=True, slots=True)
class CodecChoice:
    """Which codec, and what it needs.

    schema_file: `avro`: the schema of the data (.avsc); `protobuf`: a descriptor set (`protoc --include_imports
    --descriptor_set_out=FILE`); `registry`: the Avro schema that data of all versions are read as, or none. message: `protobuf`: the
    full name of the message. registry: where it is. plain_json: `registry`: whether a record that names no schema is JSON."""

    format: EventFormat = "json"
    schema_file: Path | None = None
    message: str = ""
    registry: RegistryAddress | None = None
    plain_json: bool = False
    limits: CodecLimits = field(default_factory=CodecLimits)


def chosen(settings: CodecSettings, limits: CodecLimits | None = None) -> CodecChoice:
    """What the settings say."""
    urls = tuple(settings.registry_url.split())
    address = RegistryAddress(
        urls,
        settings.registry_basic_file,
        settings.registry_token_file,
        settings.registry_ca_file,
        settings.registry_certificate_file,
        settings.registry_key_file,
        settings.registry_timeout_s,
    )
    return CodecChoice(
        settings.format,
        settings.schema_file,
        settings.message,
        address if urls else None,
        settings.registry_plain_json,
        limits or CodecLimits(),
    )


def open_codec(choice: CodecChoice) -> EventCodec:
    """The codec. Raises ValueError for a choice that lacks something, or whose file cannot be read or is no schema."""
    if choice.format == "json":
        return JsonCodec(choice.limits)
    try:
        return _with_schema(choice)
    except ImportError as problem:
        raise ValueError(
            f"VEDETTE_STREAM_FORMAT={choice.format} needs the extra `stream` (pip install 'vedette[stream]'): {problem}"
        ) from problem


def _with_schema(choice: CodecChoice) -> EventCodec:
    limits = choice.limits
    if choice.format == "avro":
        from serving.stream.codecs.avro_codec import AvroCodec, AvroReader

        return AvroCodec(AvroReader(_schema(choice).decode(), limits=limits), limits)
    if choice.format == "protobuf":
        from serving.stream.codecs.protobuf_codec import ProtobufCodec, reader_of_set

        if not choice.message:
            raise ValueError("VEDETTE_STREAM_MESSAGE must be the full name of the message, e.g. site.Flow")
        return ProtobufCodec(reader_of_set(_schema(choice), choice.message, limits), choice.message, limits)
    from serving.stream.codecs.registry_codec import RegistryCodec

    if choice.registry is None:
        raise ValueError("VEDETTE_STREAM_FORMAT is 'registry': VEDETTE_STREAM_REGISTRY_URL must say where it is")
    plain = JsonCodec(limits) if choice.plain_json else None
    return RegistryCodec(SchemaRegistry(choice.registry), limits, plain, _reader_schema(choice))


def _reader_schema(choice: CodecChoice) -> dict[str, Any] | None:
    if choice.schema_file is None:
        return None
    from serving.stream.codecs.avro_codec import parsed

    schema: dict[str, Any] = parsed(_schema(choice).decode())
    return schema


def _schema(choice: CodecChoice) -> bytes:
    if choice.schema_file is None:
        raise ValueError(
            f"VEDETTE_STREAM_FORMAT is {choice.format!r}: VEDETTE_STREAM_SCHEMA_FILE must name a file with the schema"
        )
    try:
        return choice.schema_file.read_bytes()
    except OSError as problem:
        raise ValueError(f"the schema file {str(choice.schema_file)!r} cannot be read: {problem.strerror}") from problem
