"""A real Apache Kafka broker of one's own, to be stopped, killed and started again on the same data; and one that a whole run shares.

It is `operators.control.local_kafka`'s, in a hurry: members are declared dead after seconds, and a test that waits for that does not wait
long. `make services` gets the jars. VEDETTE_KAFKA_LIBS may name another folder of jars."""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar, Final, NoReturn, Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from operators.control.local_kafka import LocalKafka
from tests import run_servers
from tests.ports import free_port
from tests.waiting import until

IN_A_HURRY: Final = {
    "num.partitions": "3",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "100",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "log.cleaner.backoff.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "1000",
}
RESTARTED: Final = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "300"}
"""The controller forgets a broker that was killed after 3 seconds, and lets its successor in. On a busy machine it would also put a
broker aside that only waits for a processor, so a broker that is not killed goes without."""
LIGHT: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Starts with half the processor time, and is quick enough for thousands of events."""
_INSTALL: Final = Path(__file__).parents[1] / "install_kafka.sh"


class SharedBroker:
    """One that is there. address: HOST:PORT."""

    client: Mapping[str, str] = {}
    """Properties of librdkafka that its clients need."""

    def __init__(self, address: str) -> None:
        self.address = address

    def topic(self, prefix: str = "topic", partitions: int = 3, **config: str) -> str:
        """A new topic; its name. config: with underscores, e.g. `cleanup_policy="compact"`."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 2, **self.client})
        new = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin.create_topics([new], operation_timeout=90, request_timeout=90)[name].result(120)
        return name


class KafkaBroker(LocalKafka, SharedBroker):
    """Starts at once; `remove` when done. options: of Java, in place of those that make it light. is_restarted: the test does so.
    properties: Kafka's, beside these."""

    if_we_are_killed: ClassVar = "KILL"

    def __init__(self, *options: str, is_restarted: bool = True, properties: Mapping[str, str] | None = None) -> None:
        own = {**IN_A_HURRY, **(RESTARTED if is_restarted else {}), **(properties or {})}
        super().__init__(*(options or LIGHT), properties=own, jars=libs())
        self.format()
        self.start()

    def ports(self) -> tuple[int, int]:
        """They stay its own while it is down."""
        return free_port(), free_port()

    def wait(self) -> Self:
        """Until it answers."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0, **self.client})

        def answers() -> bool:
            assert self._running is not None, "it was not started"
            self.check_running()
            try:
                return bool(admin.list_topics(timeout=2).brokers)
            except KafkaException:
                return False

        until(answers, "the broker does not answer")
        return self

    def stop(self) -> None:
        """As an operator would: with SIGTERM."""
        self.end(signal.SIGTERM, 120)

    def kill(self) -> None:
        """As a machine that fails."""
        self.end(signal.SIGKILL)

    def remove(self) -> None:
        """End it, and its data with it."""
        self.kill()
        self.close()


@cache
def shared() -> SharedBroker:
    """One of the run, for all its tests on all its workers. Skips with a plain reason where Kafka or Java cannot be had."""
    if why := unavailable():
        pytest.skip(why)
    return SharedBroker(run_servers.address_of("kafka", ["-m", __name__]))


def _serve(alive: str) -> NoReturn:
    """Start one, say where, and remove it at the end of the run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run_servers.end_with_the_run(alive)
    broker = KafkaBroker(is_restarted=False)
    atexit.register(broker.remove)
    print(broker.wait().address, flush=True)
    while True:
        signal.pause()


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


if __name__ == "__main__":
    _serve(sys.argv[1])
