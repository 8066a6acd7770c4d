"""A real Apache Kafka broker of one's own: KRaft mode, on loopback, to be stopped, killed and started again on the same data.

`make services` gets the jars. VEDETTE_KAFKA_LIBS may name another folder of jars. Topics are many and small here, and members are
declared dead after seconds: a test that waits for that does not wait long."""

import atexit
import base64
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.waiting import until

PROPERTIES: Final = """process.roles=broker,controller
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
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=300
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=1000
group.consumer.heartbeat.interval.ms=100
group.consumer.min.heartbeat.interval.ms=100
log.cleaner.backoff.ms=1000
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
"""
_INSTALL: Final = Path(__file__).parents[1] / "install_kafka.sh"
MEMORY: Final = "-Xmx512m"


class KafkaBroker:
    """Starts at once; `remove` when done. options: further JVM options, e.g. `-XX:TieredStopAtLevel=1`."""

    def __init__(self, *options: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vedette-kafka-"))
        port, controller = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._config = self._folder / "server.properties"
        self._config.write_text(PROPERTIES.format(port=port, controller=controller, folder=self._folder), encoding="utf-8")
        self._java = ["java", MEMORY, *options, "-cp", f"{libs()}/*"]
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatted = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config)]
        subprocess.run(formatted, check=True, timeout=120, capture_output=True)
        self._running: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Begins to start, on the data that are there; `wait` for it."""
        with (self._folder / "kafka.log").open("ab") as out:
            self._running = subprocess.Popen(
                [*_ends_with_us(), *self._java, "kafka.Kafka", str(self._config)],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> "KafkaBroker":
        """Until it answers."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

        def answers() -> bool:
            assert self._running is not None, "it was not started"
            assert self._running.poll() is None, (self._folder / "kafka.log").read_text(encoding="utf-8")[-2000:]
            try:
                return bool(admin.list_topics(timeout=2).brokers)
            except KafkaException:
                return False

        until(answers, "the broker does not answer")
        return self

    def stop(self) -> None:
        """As an operator would: with SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a machine that fails."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """End it, and its data with it."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def topic(self, prefix: str = "topic", partitions: int = 3, **config: str) -> str:
        """A new topic; its name. config: with underscores, e.g. `cleanup_policy="compact"`."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 2})
        new = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin.create_topics([new], operation_timeout=90, request_timeout=90)[name].result(120)
        return name

    def _end(self, how: signal.Signals) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.send_signal(how)
            running.wait(120)


def _ends_with_us() -> list[str]:
    """Before the command, where util-linux is there: a killed run of tests leaves no broker behind."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


@cache
def shared() -> KafkaBroker:
    """One of this process, for all its tests. Skips with a plain reason where Kafka or Java cannot be had."""
    if why := unavailable():
        pytest.skip(why)
    broker = KafkaBroker("-XX:TieredStopAtLevel=1")
    atexit.register(broker.remove)
    return broker.wait()


@cache
def unavailable() -> str:
    """Why there is no Kafka here; "" if there is."""
    if libs() is None:
        return "no Apache Kafka: `make services` gets it (needs Maven and the network), or VEDETTE_KAFKA_LIBS names a folder of its jars"
    if shutil.which("java") is None:
        return "java is not installed; Kafka needs 17 or newer: `make services` installs it"
    return ""


@cache
def libs() -> Path | None:
    """The folder of Kafka's jars: the one that is named, or where `make services` puts it, by the environment or in the user's own home."""
    if named := os.environ.get("VEDETTE_KAFKA_LIBS"):
        places = [Path(named)]
    else:
        own = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
        own["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        asked = [
            subprocess.check_output(["sh", str(_INSTALL), "--where"], env=env, text=True) for env in (dict(os.environ), own)
        ]
        places = [Path(answer.strip()) for answer in asked]
    return next((place for place in places if any(place.glob("kafka_*.jar"))), None)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    [s.close() for s in sockets]
    return ports
