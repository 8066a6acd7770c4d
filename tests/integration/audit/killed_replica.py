"""A replica in a process of its own, and clients that keep the receipts of what they were answered."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from operators.labs.simple_model import build_simple
from serving.models.store import BundleStore

INFER = "/v2/models/simple/infer"
ROW = list(range(16))
BODY = json.dumps({"inputs": [{"name": n, "shape": [1, 16], "datatype": "INT32", "data": ROW} for n in ("INPUT0", "INPUT1")]})


def fill(store: Path) -> None:
    """Put the model `simple` into a store."""
    BundleStore(store).add(build_simple(store.parent / f"{store.name}-simple"))


class Process:
    """One life of a replica."""

    def __init__(self, store: Path, *arguments: str, **settings: str) -> None:
        environment = {**os.environ, **{f"VEDETTE_{name.upper()}": value for name, value in settings.items()}}
        command = [sys.executable, "-m", "tests.integration.audit.replica_program", str(store), *arguments]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), f"the replica did not start: {line!r}"
        self.port = int(line)

    def free(self) -> None:
        """Files may grow again."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "free\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def stop(self) -> None:
        out, _ = self.process.communicate()
        assert (self.process.returncode, out.strip()) == (0, "stopped")


class Clients:
    """Threads that ask without pause until the replica is gone, or they are told to end."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self.receipts: list[str] = []
        self.refused = 0
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            while not self._is_over.is_set():
                connection.request("POST", INFER, BODY)
                answer = connection.getresponse()
                body = answer.read()
                with self._lock:
                    if answer.status == 200:
                        self.receipts.append(json.loads(body)["parameters"]["receipt"])
                    else:
                        self.refused += 1

    def end(self) -> None:
        """Wait until all have had their last answer."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def replica(store: Path, *arguments: str, **settings: str) -> Iterator[Process]:
    """A life that ends in order, or by `kill` within."""
    process = Process(store, *arguments, **settings)
    try:
        yield process
        if process.process.poll() is None:
            process.stop()
    finally:
        process.process.kill()
        process.process.wait()
