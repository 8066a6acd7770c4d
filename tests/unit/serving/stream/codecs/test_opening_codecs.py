"""Which codec the settings name, and what is said where something is missing."""

import json
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from serving.stream.codecs.codec import CodecLimits
from serving.stream.codecs.opening import CodecChoice, chosen, open_codec
from serving.stream.codecs.registry import RegistryAddress
from serving.stream.codecs.settings import CodecSettings
from serving.stream.ports import Partition, StreamRecord

FLOW = {"type": "record", "name": "Flow", "fields": [{"name": "bytes", "type": "long"}]}


def record(value: bytes) -> StreamRecord:
    return StreamRecord(Partition("events", 0), 0, value)


@pytest.fixture
def avsc(tmp_path: Path) -> Path:
    path = tmp_path / "flow.avsc"
    path.write_text(json.dumps(FLOW), encoding="utf-8")
    return path


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    file = FileDescriptorProto(name="flow.proto", package="site", syntax="proto3")
    file.message_type.add(name="Flow").field.add(name="bytes", number=1, type=3, label=1)
    path = tmp_path / "flow.pb"
    path.write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
    return path


def test_json_is_what_is_usual() -> None:
    assert open_codec(CodecChoice()).decode([record(b'{"bytes": 5}')]) == [{"bytes": 5}]


def test_avro_by_a_file(avsc: Path) -> None:
    assert open_codec(CodecChoice("avro", avsc)).decode([record(b"\x0a")]) == [{"bytes": 5}]


def test_protobuf_by_a_file(descriptors: Path) -> None:
    assert open_codec(CodecChoice("protobuf", descriptors, "site.Flow")).decode([record(b"\x08\x05")]) == [{"bytes": 5}]


def test_a_registry_with_a_schema_to_read_as(avsc: Path) -> None:
    choice = CodecChoice("registry", avsc, registry=RegistryAddress(("http://127.0.0.1:1",)), plain_json=True)
    assert open_codec(choice).decode([record(b'{"bytes": 5}')]) == [{"bytes": 5}]


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        pytest.param(CodecChoice("avro"), "VEDETTE_STREAM_SCHEMA_FILE must name a file", id="Avro without a schema"),
        pytest.param(
            CodecChoice("avro", Path("nowhere.avsc")), "'nowhere.avsc' cannot be read: No such file", id="no such file"
        ),
        pytest.param(CodecChoice("avro", Path(__file__)), "the Avro schema is not JSON", id="a file that is no schema"),
        pytest.param(
            CodecChoice("protobuf", Path(__file__)),
            "VEDETTE_STREAM_MESSAGE must be the full name",
            id="Protobuf without a message",
        ),
        pytest.param(
            CodecChoice("protobuf", Path(__file__), "site.Flow"), "no descriptor set", id="a file that is no descriptor set"
        ),
        pytest.param(CodecChoice("registry"), "VEDETTE_STREAM_REGISTRY_URL must say", id="a registry without a URL"),
    ],
)
def test_what_is_missing(choice: CodecChoice, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        open_codec(choice)


def test_the_settings_are_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE_STREAM_FORMAT", "registry")
    monkeypatch.setenv("VEDETTE_STREAM_REGISTRY_URL", "http://a:8081  https://b/apis/ccompat/v7")
    monkeypatch.setenv("VEDETTE_STREAM_REGISTRY_TOKEN_FILE", "/secrets/token")
    assert chosen(CodecSettings(), CodecLimits(depth=3)) == CodecChoice(
        "registry",
        registry=RegistryAddress(("http://a:8081", "https://b/apis/ccompat/v7"), token_file=Path("/secrets/token")),
        limits=CodecLimits(depth=3),
    )


def test_no_setting_is_json() -> None:
    assert chosen(CodecSettings()) == CodecChoice()
