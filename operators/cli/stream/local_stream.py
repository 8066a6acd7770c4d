"""`vedette up --stream`: a broker, a stream worker, the follower of risks and a replay beside the replicas, and alerts as they come.

Each is a process of its own on this store; they end with the block. Without VEDETTE_STREAM_SERVERS a broker is started on this machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from operators.cli.console import CommandError, errors
from operators.cli.stream.options import stream_settings
from operators.cli.stream.topics import make_topics
from operators.cli.stream.watch import alert_values, print_alert

if TYPE_CHECKING:
    from serving.stream.settings import StreamSettings

PARTITIONS: Final = 4
_STOP_S: Final = 30.0
_GONE: Final = "the {name} ended by itself with status {status}; its log is {log}"


@contextmanager
def local_stream(store_dir: Path, rows: Path | None, detector: str, speed: float, *, as_json: bool) -> "Iterator[LocalStream]":
    """Run the stream while the block runs. rows: the detector's file that is replayed; None: generated rows. speed: 0: as fast as possible.

    Raises LocalKafkaError, StreamError, CommandError."""
    from operators.control.local_kafka import LocalKafka
    from serving.stream.settings import StreamSettings

    with ExitStack() as stack:
        servers = StreamSettings().servers
        if not servers:
            with errors.status("starting Kafka"):
                servers = stack.enter_context(LocalKafka()).address
        here = LocalStream(store_dir, stream_settings(servers=servers, model=detector), as_json=as_json)
        stack.callback(here.close)
        here.start(rows, detector, speed)
        yield here


def check_local_stream(detector: str | None, data_dir: Path | None) -> Path | None:
    """What `local_stream` will need, before minutes are spent on training: the rows' file, or None where they are generated.

    Raises CommandError, LocalKafkaError."""
    from operators.control.local_kafka import LocalKafka
    from serving.stream.settings import StreamSettings

    if detector is None:
        raise CommandError("--stream replays the data of --dataset, and --no-train leaves it out; give one of the two")
    if not StreamSettings().servers:
        LocalKafka.check()
    return _rows_of(data_dir, detector)


class LocalStream:
    """The processes of the stream on this machine."""

    def __init__(self, store_dir: Path, settings: "StreamSettings", *, as_json: bool) -> None:
        self._store_dir, self._settings, self._as_json = store_dir, settings, as_json
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = Event()
        self._watching: Thread | None = None
        self._told: set[str] = set()

    def start(self, rows: Path | None, detector: str, speed: float) -> None:
        """Topics, worker, follower, watch, then the replay."""
        make_topics(self._settings, PARTITIONS, -1)
        self._watching = Thread(target=self._watch, name="alerts", daemon=True)
        self._watching.start()
        self._run("worker", "stream")
        self._run("follower of risks", "risk", "follow")
        self._run(
            "replay",
            "stream",
            "replay",
            *([] if rows is None else [str(rows)]),
            "--detector",
            detector,
            "--speed",
            f"{speed:g}",
        )
        pace = "as fast as possible" if not speed else f"at {speed:g} times its own speed"
        errors.print(
            f"stream  Kafka {self._settings.servers}: {self._settings.events} is scored, {detector} is replayed {pace}; alerts follow",
            markup=False,
        )

    def look(self) -> None:
        """Say of a process that ended by itself, once; a replay that is over is no failure."""
        for name, process in self._processes.items():
            status = process.poll()
            if status is None or name in self._told:
                continue
            self._told.add(name)
            if name == "replay" and not status:
                errors.print("the replay is over; the worker waits for events", markup=False)
            else:
                errors.print(_GONE.format(name=name, status=status, log=self._log(name)), style="yellow", markup=False)

    def close(self) -> None:
        """End all of it: who sends first, then who scores."""
        for name in ("replay", "worker", "follower of risks"):
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._stopping.set()
        if self._watching is not None:
            self._watching.join(_STOP_S)

    def _run(self, name: str, *words: str) -> None:
        environment = {
            **os.environ,
            "VEDETTE_STORE_DIR": str(self._store_dir),
            "VEDETTE_STREAM_SERVERS": self._settings.servers,
            "VEDETTE_STREAM_MODEL": self._settings.model,
        }
        log = self._log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "operators.cli.main", *words],
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )

    def _log(self, name: str) -> Path:
        return self._store_dir / "logs" / f"{name.replace(' ', '-')}.log"

    def _watch(self) -> None:
        try:
            for value in alert_values(self._settings, self._stopping, from_beginning=True):
                print_alert(value, as_json=self._as_json)
        except Exception as problem:  # the stream goes on without the picture of it
            errors.print(f"alerts are not shown any more: {problem}", style="yellow", markup=False)


def _rows_of(data_dir: Path | None, detector: str) -> Path | None:
    """The file of the detector's rows; None: they are generated. Raises CommandError."""
    from lifecycle.datasets.declarations import read_detector

    source = read_detector(detector).source
    if data_dir is None:
        return None
    file = data_dir / str(source.train)
    candidates = [file, *sorted(data_dir.glob(f"*/{source.train}"))]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CommandError(f"{data_dir}: has no {source.train}, which --stream would replay")
