"""An Apache Kafka broker on this machine, for `vedette up --stream` and the benchmarks: one process in KRaft mode, on loopback.

Kafka's jars are found where `make services` puts them, or where VEDETTE_KAFKA_LIBS says. Not for production: one broker, no replicas."""

import base64
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic_settings import SettingsConfigDict

from serving.settings import EnvironmentSettings

START_S: Final = 90.0
_STOP_S: Final = 20.0
_MEMORY: Final = "-Xmx512m"
_BRIEFLY: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For a Java that runs a second: it takes half the processor time."""
_PROPERTIES: Final = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class LocalKafkaError(Exception):
    """There is no broker on this machine; the message says why, and the way out."""


class LocalKafkaSettings(EnvironmentSettings):
    """Where Kafka's jars are: VEDETTE_KAFKA_LIBS; and the user's cache folder."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    vedette_kafka_libs: Path | None = None
    xdg_cache_home: Path | None = None


def find_jars(settings: LocalKafkaSettings | None = None) -> Path:
    """The folder of Kafka's jars. Raises LocalKafkaError."""
    settings = settings or LocalKafkaSettings()
    if settings.vedette_kafka_libs is not None:
        places = [settings.vedette_kafka_libs]
    else:
        cache = settings.xdg_cache_home or Path.home() / ".cache"
        places = sorted(cache.glob("vedette/kafka-*"), reverse=True)
    for place in places:
        if any(place.glob("kafka_*.jar")):
            return place
    raise LocalKafkaError(
        "there is no Apache Kafka on this machine: `make services` gets it, VEDETTE_KAFKA_LIBS names a folder of its jars, "
        "or VEDETTE_STREAM_SERVERS names a broker that runs"
    )


class LocalKafka:
    """A broker from `with` to its end. address: HOST:PORT.

    jvm: further options of Java. properties: Kafka's, beside those of every such broker or in their place. jars: the folder of
    Kafka's jars, if it was found already. Raises LocalKafkaError."""

    if_we_are_killed: ClassVar = "TERM"
    """The signal that the broker then gets."""

    def __init__(self, *jvm: str, properties: Mapping[str, str] | None = None, jars: Path | None = None) -> None:
        self._jvm, self._jars = jvm, jars or self.check()
        self._properties = properties or {}
        self._folder = Path(tempfile.mkdtemp(prefix="vedette-kafka-"))
        self._running: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.address = ""

    @staticmethod
    def check() -> Path:
        """The folder of Kafka's jars, if a broker can be started here. Raises LocalKafkaError."""
        if shutil.which("java") is None:
            raise LocalKafkaError("java is not installed; Kafka needs 17 or newer: `make services` installs it")
        return find_jars()

    def __enter__(self) -> Self:
        try:
            self.format()
            self.start()
            self._wait_until_it_listens()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def format(self) -> None:
        """Choose its ports and make its folder of data. Raises LocalKafkaError."""
        self._port, controller = self.ports()
        usual = _PROPERTIES.format(port=self._port, controller=controller, folder=self._folder)
        more = "".join(f"{name}={value}\n" for name, value in self._properties.items())
        self._config.write_text(usual + more, encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        made = subprocess.run(
            [*self._java(*_BRIEFLY), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config)],
            capture_output=True,
            timeout=START_S,
            check=False,
        )
        if made.returncode:
            raise LocalKafkaError(f"Kafka cannot format its folder: {made.stderr.decode(errors='replace').strip()[-400:]}")
        self.address = f"127.0.0.1:{self._port}"

    def ports(self) -> tuple[int, int]:
        """For clients and for its controller; chosen once."""
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            return one.getsockname()[1], other.getsockname()[1]

    def start(self) -> None:
        """Begin to start, on the data that are there."""
        with self._log.open("ab") as out:
            self._running = subprocess.Popen(
                [*_ends_with_us(self.if_we_are_killed), *self._java(*self._jvm), "kafka.Kafka", str(self._config)],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends us first, and we end it
            )

    def check_running(self) -> None:
        """Raises LocalKafkaError if it has ended by itself."""
        if self._running is not None and self._running.poll() is not None:
            last = self._log.read_text(encoding="utf-8", errors="replace").strip()[-400:]
            raise LocalKafkaError(f"Kafka ended while it started: {last}")

    def end(self, how: signal.Signals, patience_s: float = _STOP_S) -> None:
        """Send it a signal and wait; SIGKILL follows if it goes on. Its data stay."""
        running, self._running = self._running, None
        if running is not None:
            running.send_signal(how)
            try:
                running.wait(patience_s)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

    def close(self) -> None:
        """End the broker; its data go too."""
        self.end(signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _config(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _log(self) -> Path:
        return self._folder / "kafka.log"

    def _java(self, *options: str) -> list[str]:
        return ["java", _MEMORY, *options, "-cp", f"{self._jars}/*"]

    def _wait_until_it_listens(self) -> None:
        until = time.monotonic() + START_S
        while not _listens(self._port):
            self.check_running()
            if time.monotonic() > until:
                raise LocalKafkaError(f"Kafka does not listen after {START_S:.0f} s; is the machine overloaded?")
            time.sleep(0.1)


def _ends_with_us(signal_name: str) -> list[str]:
    """Before the command, where util-linux is there: a SIGKILL of this process then leaves no broker behind."""
    return ["setpriv", "--pdeathsig", signal_name] if shutil.which("setpriv") else []


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
