"""The anchors of the contract: each kind with the place that it keeps notes in, and the way to break into that place."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.audit.anchors.port import Anchor
from serving.audit.anchors.urls import open_anchor

Open = Callable[[], Anchor]
"""Opens the anchor; twice is two processes at one place."""


@contextmanager
def folder(tmp_path: Path) -> Iterator[Open]:
    yield lambda: open_anchor((tmp_path / "elsewhere").as_uri())


@contextmanager
def memory(tmp_path: Path) -> Iterator[Open]:
    name = uuid.uuid4().hex
    yield lambda: open_anchor(f"memory://{name}/anchor")


@contextmanager
def s3(tmp_path: Path) -> Iterator[Open]:
    with s3_server() as endpoint:
        bucket = locked_bucket(endpoint)
        yield lambda: open_anchor(f"s3://{bucket}/vedette?lock=7&endpoint={endpoint}&region=eu-central-1")


@contextmanager
def kafka_in_process(tmp_path: Path) -> Iterator[Open]:
    """librdkafka's own broker: the protocol over TCP, in this process."""
    from confluent_kafka import Producer

    broker = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 2})
    (found,) = broker.list_topics(timeout=30).brokers.values()
    yield lambda: open_anchor(f"kafka://{found.host}:{found.port}/anchors?log_level=2")


@contextmanager
def kafka(tmp_path: Path) -> Iterator[Open]:
    from tests.fakes import kafka_broker

    broker = kafka_broker.shared()
    topic = broker.topic("anchors")
    yield lambda: open_anchor(f"kafka://{broker.address}/{topic}?log_level=2")


KINDS = {"folder": folder, "memory": memory, "s3": s3, "kafka-in-process": kafka_in_process, "kafka": kafka}


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server (moto) of this process, on a free port; its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_client(endpoint: str):
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1")


def locked_bucket(endpoint: str) -> str:
    """A new bucket with object lock."""
    bucket = f"anchor-{uuid.uuid4().hex[:12]}"
    s3_client(endpoint).create_bucket(
        Bucket=bucket,
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    return bucket
