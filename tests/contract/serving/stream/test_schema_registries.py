"""The schema registry's protocol: the same questions to a registry that follows the published protocol and to a real one.

What a real registry cannot be made to do (to be down, to refuse credentials) is asked of the first only."""

import json
import ssl
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from serving.stream.codecs.codec import SchemasUnreachable, Undecodable
from serving.stream.codecs.framing import SchemaRef
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.codecs.proto_text import descriptors_of
from serving.stream.codecs.registry import FoundSchema, RegistryAddress, SchemaRegistry
from serving.stream.codecs.registry_codec import RegistryCodec
from serving.stream.ports import Partition, StreamRecord
from tests.fakes.certificates import write_certificate
from tests.fakes.clock import ManualClock
from tests.fakes.schema_registry import GUID, FakeSchemaRegistry, apicurio, basic, fake_registry, register

AVRO = json.dumps(
    {"type": "record", "name": "Flow", "fields": [{"name": "host", "type": "string"}, {"name": "bytes", "type": "long"}]}
)
HOST_PROTO = 'syntax = "proto3"; package common; message Host { string address = 1; }'
FLOW_PROTO = (
    'syntax = "proto3"; import "common/host.proto"; import "google/protobuf/timestamp.proto"; package site; '
    "message Other { int64 x = 1; } message Flow { common.Host host = 1; int64 bytes = 2; google.protobuf.Timestamp at = 3; }"
)
EVENT = {"host": "a", "bytes": 5}


def record(value: bytes, *headers: tuple[str, bytes]) -> StreamRecord:
    return StreamRecord(Partition("events", 0), 0, value, headers=headers)


def prefix(number: int) -> bytes:
    return b"\0" + number.to_bytes(4, "big")


def avro(event: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(AVRO)), event)
    return out.getvalue()


@pytest.fixture
def fake() -> Iterator[FakeSchemaRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture(params=["protocol", "apicurio"])
def url(request: pytest.FixtureRequest) -> str:
    return apicurio() if request.param == "apicurio" else request.getfixturevalue("fake").url


def registry(url: str, **more: Any) -> SchemaRegistry:
    return SchemaRegistry(RegistryAddress((url,), **{"timeout_s": 20.0, **more}))


class TestBoth:
    """Of every registry."""

    def test_a_schema_by_its_id(self, url: str) -> None:
        number = register(url, "flows-value", AVRO)
        found = registry(url).schema(SchemaRef(number))
        assert isinstance(found, FoundSchema)
        assert (found.kind, json.loads(found.text), found.references) == ("AVRO", json.loads(AVRO), {})

    def test_an_id_that_it_does_not_know(self, url: str) -> None:
        answer = registry(url).schema(SchemaRef(4_000_000_000))
        assert isinstance(answer, Undecodable)
        assert answer.reason.startswith("the registry does not know schema 4000000000: ")

    def test_avro_behind_an_id(self, url: str) -> None:
        number = register(url, "flows-value", AVRO)
        codec = RegistryCodec(registry(url))
        records = [
            record(prefix(number) + avro(EVENT)),
            record(avro(EVENT), ("schema-id", str(number).encode())),
            record(avro(EVENT), ("__value_schema_id", prefix(number))),
        ]
        assert codec.decode(records) == [EVENT] * 3

    def test_protobuf_with_an_import_from_text(self, url: str) -> None:
        register(url, "common-host", HOST_PROTO, "PROTOBUF")
        number = register(url, "proto-value", FLOW_PROTO, "PROTOBUF", [("common/host.proto", "common-host", 1)])
        message = b"\x0a\x03\x0a\x01a" + b"\x10\x05"
        codec = RegistryCodec(registry(url))
        second = bytes([2, 2])  # the second message of the file
        records = [
            record(prefix(number) + second + message),
            record(message, ("__value_schema_id", prefix(number) + second)),
            record(prefix(number) + b"\0" + b"\x08\x07"),
        ]
        assert codec.decode(records) == [{"host": {"address": "a"}, "bytes": 5}] * 2 + [{"x": 7}]

    def test_json_behind_an_id(self, url: str) -> None:
        schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
        number = register(url, "json-value", json.dumps(schema), "JSON")
        first, second = RegistryCodec(registry(url)).decode(
            [record(prefix(number) + b'{"host": "a"}'), record(prefix(number) + b"{")]
        )
        assert first == {"host": "a"}
        assert isinstance(second, Undecodable)

    def test_a_guid_is_found_or_not_known(self, url: str, fake: FakeSchemaRegistry) -> None:
        register(url, "flows-value", AVRO)
        answer = registry(url).schema(SchemaRef(None, UUID(GUID)))
        if url == fake.url:
            assert isinstance(answer, FoundSchema)
        else:  # a registry without GUIDs: the record cannot be read, and others must not wait for it
            assert isinstance(answer, Undecodable)


class TestDocumentedExamples:
    """Answers as Confluent's reference shows them."""

    def test_an_answer(self, fake: FakeSchemaRegistry) -> None:
        fake.instead = lambda path: (200, b'{"schema": "{\\"type\\": \\"string\\"}"}')
        assert registry(fake.url).schema(SchemaRef(1)) == FoundSchema("AVRO", '{"type": "string"}')
        assert fake.asked == ["/schemas/ids/1?format=serialized"]

    def test_a_schema_that_is_not_found(self, fake: FakeSchemaRegistry) -> None:
        fake.instead = lambda path: (404, b'{"error_code": 40403, "message": "Schema not found"}')
        answer = registry(fake.url).schema(SchemaRef(1))
        assert answer == Undecodable("the registry does not know schema 1: Schema not found")

    def test_descriptors_in_base64(self, fake: FakeSchemaRegistry) -> None:
        (host,) = descriptors_of(HOST_PROTO, {})[:1]
        flow = descriptors_of(FLOW_PROTO, {"common/host.proto": HOST_PROTO})[0]
        for text, file in ((HOST_PROTO, host), (FLOW_PROTO, flow)):
            named = FileDescriptorProto.FromString(file.SerializeToString())
            named.name = "default"  # a registry does not know under which name others import it
            fake.serialized[text] = b64encode(named.SerializeToString()).decode()
        register(fake.url, "common-host", HOST_PROTO, "PROTOBUF")
        number = register(fake.url, "proto-value", FLOW_PROTO, "PROTOBUF", [("common/host.proto", "common-host", 1)])
        (event,) = RegistryCodec(registry(fake.url)).decode([record(prefix(number) + bytes([2, 2]) + b"\x10\x05")])
        assert event == {"bytes": 5}


class TestDown:
    """Down is not unknown: the worker waits, and nothing is set aside."""

    @pytest.mark.parametrize(
        ("status", "body", "why"),
        [
            pytest.param(
                500,
                b'{"error_code": 50001, "message": "Error in the backend data store"}',
                "answers 500",
                id="its store is out",
            ),
            pytest.param(503, b"", "answers 503", id="not ready"),
            pytest.param(429, b'{"error_code": 429, "message": "slower"}', "answers 429", id="too many questions"),
            pytest.param(401, b'{"error_code": 401, "message": "Unauthorized"}', "answers 401", id="credentials are refused"),
            pytest.param(403, b'{"error_code": 40301, "message": "denied"}', "answers 403", id="rights are refused"),
            pytest.param(404, b"<html>not found</html>", "answers 404", id="the address is of something else"),
            pytest.param(200, b"<html>sign in</html>", "answers 200", id="a page that asks to sign in"),
            pytest.param(200, b'{"schema": 5}', "answers 200", id="no schema in the answer"),
            pytest.param(301, b"", "answers 301", id="a redirect is not followed: credentials stay here"),
        ],
    )
    def test_what_is_no_answer(self, fake: FakeSchemaRegistry, status: int, body: bytes, why: str) -> None:
        fake.instead = lambda path: (status, body)
        with pytest.raises(SchemasUnreachable, match=why):
            registry(fake.url).schema(SchemaRef(1))

    def test_nobody_there(self) -> None:
        with fake_registry() as gone:
            pass
        with pytest.raises(SchemasUnreachable, match="ConnectionRefused"):
            registry(gone.url).schema(SchemaRef(1))

    def test_back_again(self, fake: FakeSchemaRegistry) -> None:
        number = register(fake.url, "flows-value", AVRO)
        codec = RegistryCodec(registry(fake.url))
        fake.instead = lambda path: (503, b"")
        with pytest.raises(SchemasUnreachable):
            codec.decode([record(prefix(number) + avro(EVENT))])
        fake.instead = lambda path: None
        assert codec.decode([record(prefix(number) + avro(EVENT))]) == [EVENT]

    def test_another_address_answers(self, fake: FakeSchemaRegistry) -> None:
        number = register(fake.url, "flows-value", AVRO)
        with fake_registry() as gone:
            pass
        both = SchemaRegistry(RegistryAddress((gone.url, fake.url)))
        assert isinstance(both.schema(SchemaRef(number)), FoundSchema)

    def test_an_answer_without_end_is_left(self, fake: FakeSchemaRegistry) -> None:
        fake.instead = lambda path: (200, b" " * 5_000_000)
        with pytest.raises(SchemasUnreachable, match="longer than 4194304 bytes"):
            registry(fake.url).schema(SchemaRef(1))


class TestKept:
    """What was asked once is not asked again."""

    def test_a_schema_is_asked_for_once(self, fake: FakeSchemaRegistry) -> None:
        number = register(fake.url, "flows-value", AVRO)
        asked = registry(fake.url)
        assert asked.schema(SchemaRef(number)) is asked.schema(SchemaRef(number))
        assert len(fake.asked) == 1

    def test_a_no_is_believed_for_half_a_minute(self, fake: FakeSchemaRegistry) -> None:
        clock = ManualClock()
        asked = SchemaRegistry(RegistryAddress((fake.url,)), clock.monotonic_s)
        for _ in range(3):
            assert isinstance(asked.schema(SchemaRef(1)), Undecodable)
        assert len(fake.asked) == 1
        register(fake.url, "flows-value", AVRO)
        clock.advance(31)
        assert isinstance(asked.schema(SchemaRef(1)), FoundSchema)


class TestAccess:
    """Credentials and TLS."""

    @pytest.mark.parametrize(
        ("setting", "content", "expected"),
        [
            pytest.param("basic_file", "vedette:pä:ss\n", basic("vedette", "pä:ss"), id="basic"),
            pytest.param("token_file", "t0k\n", "Bearer t0k", id="bearer"),
            pytest.param(None, "", None, id="none"),
        ],
    )
    def test_credentials(
        self, fake: FakeSchemaRegistry, tmp_path: Path, setting: str | None, content: str, expected: str | None
    ) -> None:
        file = tmp_path / "secret"
        file.write_text(content, encoding="utf-8")
        registry(fake.url, **({setting: file} if setting else {})).schema(SchemaRef(1))
        assert fake.headers[0].get("Authorization") == expected

    def test_a_secret_that_changes_is_read_anew(self, fake: FakeSchemaRegistry, tmp_path: Path) -> None:
        file = tmp_path / "token"
        asked = registry(fake.url, token_file=file)
        with pytest.raises(SchemasUnreachable, match="No such file"):
            asked.schema(SchemaRef(1))
        for token in ("old", "new"):
            file.write_text(token, encoding="utf-8")
            asked.schema(SchemaRef(1 if token == "old" else 2))
        assert [headers["Authorization"] for headers in fake.headers] == ["Bearer old", "Bearer new"]

    def test_credentials_in_the_url_are_refused_and_not_shown(self) -> None:
        with pytest.raises(ValueError, match="credentials have settings of their own") as raised:
            registry("http://u:s3cret@127.0.0.1:1/")
        assert "s3cret" not in str(raised.value)

    @pytest.mark.parametrize("wrong", ["ftp://a", "registry:8081", "http://", "http://a/?x=1"])
    def test_addresses_that_are_none(self, wrong: str) -> None:
        with pytest.raises(ValueError, match="is not http"):
            registry(wrong)

    def test_tls(self, tmp_path: Path) -> None:
        write_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        with fake_registry(context=context, prefix="/apis/ccompat/v7") as fake:
            assert isinstance(registry(fake.url, ca_file=tmp_path / "tls.crt").schema(SchemaRef(1)), Undecodable)
            with pytest.raises(SchemasUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
                registry(fake.url).schema(SchemaRef(1))

    def test_certificate_files_that_are_not_there(self) -> None:
        with pytest.raises(ValueError, match="certificate files cannot be read"):
            registry("https://a", ca_file=Path("/nowhere/ca.pem"))


class TestSchemasThatFail:
    """Schemas that are of no use set their records aside, and no others."""

    @pytest.mark.parametrize(
        ("kind", "text", "references", "why"),
        [
            pytest.param("AVRO", '"string"', (), "expected a record", id="an Avro schema of text"),
            pytest.param("PROTOBUF", "message {", (), "protoc does not accept the schema", id="a Protobuf schema with a fault"),
            pytest.param("PROTOBUF", 'syntax = "proto3"; import "a.proto"; message M {}', (), "protoc does not accept",
                         id="an import that is not there"),
            pytest.param("PROTOBUF", 'syntax = "proto3"; message M {}', (("../../x.proto", "a", 1),), "no relative path",
                         id="an import that leaves the folder"),
            pytest.param("AVRO", AVRO, (("x", "nobody", 1),), "it refers to version 1 of 'nobody'", id="a reference to nothing"),
            pytest.param("XML", "<x/>", (), "expected AVRO, PROTOBUF or JSON", id="another type"),
        ],
    )  # fmt: skip
    def test_why(self, fake: FakeSchemaRegistry, kind: str, text: str, references: Any, why: str) -> None:
        register(fake.url, "a", HOST_PROTO, "PROTOBUF")
        number = register(fake.url, "b", text, kind, references)
        good = register(fake.url, "flows-value", AVRO)
        bad, event = RegistryCodec(registry(fake.url)).decode(
            [record(prefix(number) + b"x"), record(prefix(good) + avro(EVENT))]
        )
        assert isinstance(bad, Undecodable)
        assert why in bad.reason
        assert event == EVENT

    def test_references_in_a_circle_end(self, fake: FakeSchemaRegistry) -> None:
        register(fake.url, "a", AVRO, references=[("b", "b", 1)])
        register(fake.url, "b", AVRO, references=[("a", "a", 1)])
        assert isinstance(registry(fake.url).schema(SchemaRef(1)), FoundSchema)

    def test_records_without_a_schema(self, fake: FakeSchemaRegistry) -> None:
        (refused,) = RegistryCodec(registry(fake.url)).decode([record(b'{"a": 1}')])
        assert isinstance(refused, Undecodable)
        assert "nothing names the record's schema" in refused.reason
        assert RegistryCodec(registry(fake.url), plain=JsonCodec()).decode([record(b'{"a": 1}')]) == [{"a": 1}]
