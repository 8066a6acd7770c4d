"""The console beside the replicas of `vedette up`: its port is open at once, its process starts when somebody first connects.

So a server that nobody looks at pays nothing for it. The process has a lower priority than the replicas, and ends with the one that
started it. If it dies, the next visit starts another."""

import argparse
import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from operators.console.sign_in import Links, keep_link_key

if TYPE_CHECKING:
    from operators.console.server import ConsoleServer

DEFAULT_PORT: Final = 8090
NICE_AT_START: Final = 5
"""While somebody waits for the first page."""
NICE: Final = 10
_BACKLOG: Final = 128
_AGAIN_S: Final = 1.0
_STOP_S: Final = 5.0
_log = logging.getLogger("vedette.console")


@dataclass(frozen=True, slots=True)
class ConsoleProcess:
    """A console whose port is open. link: signs its owner in, once; None: it takes keys and tokens of the access policy."""

    address: str
    link: str | None
    is_port_as_asked: bool


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError if the port is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(host: str, port: int, *, is_tls: bool) -> str:
    """The address of a console.

    >>> address_of("::1", 8090, is_tls=False)
    'http://[::1]:8090'
    """
    return f"http{'s' if is_tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


def yield_to_others() -> None:
    """Let whatever else runs on this machine go first: this process gets less of a busy core, and its waking up interrupts nobody."""
    os.nice(max(0, NICE - os.nice(0)))
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextlib.contextmanager
def console_on_demand(
    store_dir: Path,
    *,
    port: int = DEFAULT_PORT,
    access: Path | None = None,
    doors: Sequence[str] = (),
    tls: tuple[Path, Path] | None = None,
) -> Iterator[ConsoleProcess]:
    """Serve the console of a store on loopback while the block runs; on a free port if `port` is taken."""
    host, is_as_asked = "127.0.0.1", True
    try:
        listener = open_port(host, port)
    except OSError:
        listener, is_as_asked = open_port(host, 0), port == 0
    with contextlib.ExitStack() as ends:
        ends.callback(listener.close)
        address = address_of(host, listener.getsockname()[1], is_tls=tls is not None)
        links = None if access is not None else keep_link_key(store_dir, address)
        arguments = ["--store-dir", str(store_dir), "--fd", str(listener.fileno())]
        arguments += [part for door in doors for part in ("--door", door)]
        arguments += ["--access", str(access)] if access is not None else []
        arguments += ["--tls", *map(str, tls)] if tls is not None else []
        child = _Child(listener, arguments, links, lambda: keep_link_key(store_dir, address))
        ends.callback(child.stop)
        link = None if links is None else f"{address}/sign-in/{links.make()}"
        yield ConsoleProcess(address, link, is_as_asked)


class _Child:
    """Starts the console's process when somebody connects, and again if it died."""

    def __init__(
        self, listener: socket.socket, arguments: Sequence[str], links: Links | None, renew: Callable[[], Links]
    ) -> None:
        self._listener, self._arguments, self._links, self._renew = listener, arguments, links, renew
        self._stopped, self._stop = os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process, if there is one."""
        os.close(self._stop)
        self._thread.join(2 * _STOP_S)
        os.close(self._stopped)

    def _run(self) -> None:
        has_run = False
        while True:
            ready, _, _ = select.select([self._stopped, self._listener.fileno()], [], [])
            if self._stopped in ready:
                return
            if has_run and self._links is not None:  # used links are known to the process that died
                self._links = self._renew()
            has_run = True
            self._serve()

    def _serve(self) -> None:
        """One process, until it dies or we are told to stop."""
        command = [sys.executable, "-m", "operators.console.console_process", *self._arguments]
        try:
            process = subprocess.Popen(  # our own module, and paths of our settings
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[self._listener.fileno()]
            )
        except OSError as problem:
            _log.error("the console cannot be started: %s", problem)
            select.select([self._stopped], [], [], _AGAIN_S)
            return
        assert process.stdin is not None  # noqa: S101  # nosec B101  # it is a pipe
        ended = os.pidfd_open(process.pid)
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                process.stdin.write(f"{self._links.key if self._links else ''}\n".encode())
                process.stdin.flush()
            ready, _, _ = select.select([self._stopped, ended], [], [])
            if ended in ready and self._stopped not in ready:
                _log.error("the console has ended with %s; the next visit starts it again", process.wait())
                select.select([self._stopped], [], [], _AGAIN_S)
                return
            _close(process.stdin)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        finally:
            os.close(ended)
            _close(process.stdin)


def _close(pipe: IO[bytes]) -> None:
    """What could not be written to a process that has ended is given up."""
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def main() -> None:
    """The console's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store-dir", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--door", action="append", default=[])
    parser.add_argument("--access", type=Path)
    parser.add_argument("--tls", type=Path, nargs=2)
    given = parser.parse_args()
    os.nice(NICE_AT_START)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    from operators.console.launch import ConsoleOptions, make_console
    from operators.console.server import ConsoleServer
    from operators.control.folder import ControlFolder

    listener = socket.socket(fileno=given.fd)
    key = sys.stdin.readline().strip()
    links = Links.of_key(key) if key else None
    options = ConsoleOptions(
        ControlFolder(given.store_dir),
        given.store_dir,
        access=given.access,
        doors=tuple(given.door),
        is_tls=given.tls is not None,
    )
    made = make_console(options, listener.getsockname()[1], links)
    yield_to_others()
    cert, key = given.tls or (None, None)
    server = ConsoleServer(made.asgi(), listener, tls_cert=cert, tls_key=key)
    threading.Thread(target=_until_left, args=(server,), daemon=True).start()
    server.run()


def _until_left(server: "ConsoleServer") -> None:
    """The pipe ends when the parent of this process stops or dies."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    server.stop()


if __name__ == "__main__":
    main()
