"""One Apache Kafka broker in KRaft mode on loopback, from the jars that VEDETTE_KAFKA_LIBS names."""

import atexit
import base64
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from functools import cache
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


@cache
def address() -> str:
    """Of the broker, which runs until the tests end. Skips with a plain reason where Kafka or Java cannot be had."""
    libs = _libs()
    folder = Path(tempfile.mkdtemp(prefix="vedette-kafka-"))
    port, controller = _free_ports(2)
    config = folder / "server.properties"
    config.write_text(PROPERTIES.format(port=port, controller=controller, folder=folder))
    java = ["java", "-Xmx512m", "-cp", f"{libs}/*"]
    formatted = [*java, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", config]
    subprocess.run(formatted, check=True, timeout=120, capture_output=True)
    with (folder / "kafka.log").open("wb") as out:
        running = subprocess.Popen([*java, "kafka.Kafka", config], stdout=out, stderr=subprocess.STDOUT)
    atexit.register(_end, running, folder)
    return f"127.0.0.1:{port}"


def new_topic(servers: str) -> str:
    """A topic with three partitions. Waits for the broker, which takes seconds to start."""
    name = f"anchors-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    admin.create_topics([NewTopic(name, 3, 1)], operation_timeout=90, request_timeout=90)[name].result(120)
    return name


def _libs() -> Path:
    libs = os.environ.get("VEDETTE_KAFKA_LIBS")
    if not libs or not any(Path(libs).glob("kafka_*.jar")):
        pytest.skip("VEDETTE_KAFKA_LIBS names no folder with Kafka's jars; docs/how-to/anchor-the-log.md says how to get them")
    if shutil.which("java") is None:
        pytest.skip("java is not installed; Kafka needs 17 or newer")
    return Path(libs)


def _end(running: subprocess.Popen[bytes], folder: Path) -> None:
    running.kill()
    running.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    [s.close() for s in sockets]
    return ports
