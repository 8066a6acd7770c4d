"""A real redis-server of one's own: on a free port, without persistence, to be paused, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from tests.ports import free_port
from tests.waiting import until

PROGRAM = shutil.which("redis-server")

STARTED: list["RedisServer"] = []
"""All of this process, for who has to end them whatever happens."""


class RedisServer:
    """Starts at once; `stop` when done."""

    def __init__(self, *options: str) -> None:
        self.port, self._options = free_port(), options
        self._folder = tempfile.TemporaryDirectory()
        STARTED.append(self)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        own = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [*own, *self._options]

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.command(), cwd=self._folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens, "redis-server did not start")

    def _listens(self) -> bool:
        assert self._process.poll() is None, f"redis-server ended with {self._process.returncode}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def pause(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.resume()
        self._process.kill()
        self._process.wait()

    def kill_paused(self) -> None:
        """Kill it without letting it answer what it was asked before."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._folder.cleanup()
