"""Events of three formats in one topic, their schemas in a registry: each has its verdict, poison is set aside, a registry that is down is
waited for."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest
from google.protobuf.message_factory import GetMessageClass

from serving.launch.stream import StreamProcess
from serving.settings import ServingSettings
from serving.stream.codecs.proto_text import descriptors_of
from serving.stream.codecs.settings import CodecSettings
from serving.stream.contract import ID_HEADER, REASON_HEADER, VerdictMessage
from serving.stream.ports import OutRecord, StreamRecord
from serving.stream.settings import StreamSettings
from tests.contract.serving.stream.broker_kinds import Kafka
from tests.fakes.schema_registry import apicurio, fake_registry, register
from tests.waiting import until

pytestmark = pytest.mark.integration

FLOW: dict[str, Any] = {
    "host": "10.0.0.1", "destination": "10.0.0.2", "proto": "icmp", "state": "ECO", "sport": -1, "dport": -1, "duration": 0.5,
    "packets": 1, "bytes": 1066, "src_bytes": 1066,
}  # fmt: skip
AT = datetime(2026, 1, 5, 9, 0, 0, 250_000, tzinfo=UTC)
_AVRO = {str: "string", int: "long", float: "double"}
_PROTO = {str: "string", int: "int64", float: "double"}
AVRO = {
    "type": "record",
    "name": "Flow",
    "fields": [
        *({"name": name, "type": _AVRO[type(value)]} for name, value in FLOW.items()),
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}
_FIELDS = " ".join(f"{_PROTO[type(value)]} {name} = {number};" for number, (name, value) in enumerate(FLOW.items(), 1))
PROTO = (
    'syntax = "proto3"; import "google/protobuf/timestamp.proto"; package site; '
    f"message Flow {{ {_FIELDS} google.protobuf.Timestamp event_time = 20; }}"
)


def avro(host: str, **changed: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(AVRO)), {**FLOW, "host": host, "event_time": AT, **changed})
    return out.getvalue()


def protobuf(host: str) -> bytes:
    from serving.stream.codecs.protobuf_codec import ProtobufReader

    file, others = descriptors_of(PROTO, {})
    message = GetMessageClass(ProtobufReader(file, others)._pool.FindMessageTypeByName("site.Flow"))(**{**FLOW, "host": host})
    message.event_time.FromDatetime(AT.replace(tzinfo=None))
    return bytes(message.SerializeToString())


def prefix(number: int) -> bytes:
    return b"\0" + number.to_bytes(4, "big")


@pytest.fixture
def kafka() -> Kafka:
    from tests.fakes import kafka_broker

    return Kafka(is_transactional=False, protocol="consumer", broker=kafka_broker.shared())


@pytest.fixture
def stream(kafka: Kafka) -> StreamSettings:
    topics = {what: kafka.topic() for what in ("events", "verdicts", "alerts", "dead_letters", "investigate", "state")}
    return StreamSettings(servers=kafka.broker.address, group=f"formats-{time.time_ns()}", retry_s=0.1, **topics)


@pytest.fixture
def start(flows_store: Any, tmp_path: Any, stream: StreamSettings) -> Iterator[Callable[[str], StreamProcess]]:
    """Starts a worker that reads schemas from a registry."""
    shutil.copytree(flows_store, tmp_path / "store", ignore=shutil.ignore_patterns("audit", "risk.db*"))
    settings = ServingSettings(store_dir=tmp_path / "store", cache="off")
    stopping, threads = threading.Event(), []

    def started(url: str) -> StreamProcess:
        chosen = CodecSettings(format="registry", registry_url=url, registry_plain_json=True, registry_timeout_s=20.0)
        process = StreamProcess(settings, stream, stopping, chosen)
        threads.append(threading.Thread(target=process.run))
        threads[-1].start()
        return process

    yield started
    stopping.set()
    for thread in threads:
        thread.join(60)


def verdicts(kafka: Kafka, stream: StreamSettings) -> list[VerdictMessage]:
    return [msgspec.json.decode(one.value or b"", type=VerdictMessage) for one in kafka.read(stream.verdicts)]


def header(record: StreamRecord, name: str) -> str:
    return dict(record.headers)[name].decode()


@pytest.mark.parametrize("kind", ["protocol", "apicurio"])
def test_three_formats_in_one_topic(kind, kafka, stream, start):
    with fake_registry() as fake:
        url = fake.url if kind == "protocol" else apicurio()
        of_avro = register(url, f"{stream.events}-avro", json.dumps(AVRO))
        of_proto = register(url, f"{stream.events}-proto", PROTO, "PROTOBUF")
        plain = json.dumps({**FLOW, "host": "json", "event_time": AT.isoformat()}).encode()
        good = [
            (prefix(of_avro) + avro("avro"), ()),
            (avro("header"), (("schema-id", str(of_avro).encode()),)),
            (prefix(of_proto) + b"\0" + protobuf("proto"), ()),
            (plain, ()),
        ]
        bad = [
            (prefix(4_000_000_000) + avro("unknown"), (), "does not know schema 4000000000"),
            (prefix(of_avro) + b"\xff", (), "not a datum of its Avro schema"),
            (prefix(of_avro) + avro("nan", duration=float("nan")), (), "'duration' is nan"),
            (b"{", (), "not JSON"),
        ]
        records = [OutRecord(stream.events, value, b"k", headers) for value, headers, *_ in [*good, *bad, *good]]
        kafka.produce(stream.events, records)
        start(url)
        found = until(lambda: len(seen := verdicts(kafka, stream)) >= 2 * len(good) and seen)
        assert sorted(one.entity["host"] for one in found) == sorted(2 * ["avro", "header", "json", "proto"])
        assert {one.event_time for one in found} == {"2026-01-05T09:00:00.250000Z"}
        assert len({(one.score, one.verdict) for one in found if not one.degraded}) <= 2, "the same flow in every format"
        dead = until(lambda: len(letters := kafka.read(stream.dead_letters)) >= len(bad) and letters)
    assert {one.value for one in dead} == {value for value, *_ in bad}
    reasons = {one.value: header(one, REASON_HEADER) for one in dead}
    assert not [why for value, _, why in bad if why not in reasons[value]], reasons
    assert all(header(one, ID_HEADER).startswith(f"{stream.events}/") for one in dead)


def test_a_registry_that_is_down_is_waited_for(kafka, stream, start):
    with fake_registry() as fake:
        number = register(fake.url, "flows", json.dumps(AVRO))
        fake.instead = lambda path: (503, b"")
        kafka.produce(stream.events, [OutRecord(stream.events, prefix(number) + avro(f"h{n}"), b"k") for n in range(5)])
        process = start(fake.url)
        until(lambda: process.counts.is_paused and process.counts.retries > 1)
        fake.instead = lambda path: None
        found = until(lambda: len(seen := verdicts(kafka, stream)) >= 5 and seen)
        assert sorted(one.entity["host"] for one in found) == [f"h{n}" for n in range(5)]
        assert kafka.read(stream.dead_letters) == []
