"""A real redis-server of one's own: on a free port, without persistence, to be paused, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PROGRAM = shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("redis-server did not start")

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
