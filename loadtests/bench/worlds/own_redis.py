"""A redis-server that belongs to a benchmark. It can be killed and started again with its data, slowed down and filled up.

It keeps its port over a restart, so that its clients find it again."""

import contextlib
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST, free_port

START_S: Final = 10.0
SLOW_S: Final = 0.5


class OwnRedis:
    """A redis-server that starts at once. Use it as a context manager, which leaves nothing behind. Raises BenchError."""

    def __init__(self) -> None:
        self._program = shutil.which("redis-server")
        if self._program is None:
            raise BenchError("redis-server is not installed; `make services` installs it")
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="vedette-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL at which it answers."""
        return f"redis://{HOST}:{self.port}/0"

    def __enter__(self) -> "OwnRedis":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it with the data that was saved last. Raises BenchError."""
        from redis.exceptions import RedisError

        where = ("--port", str(self.port), "--bind", HOST, "--dir", self._folder.name)
        command = [str(self._program), *where, "--save", "", "--appendonly", "no", *self._debug()]
        log = Path(self._folder.name) / "redis.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError, RedisError), self.client() as client:
                if client.ping():
                    return
            time.sleep(0.01)
        raise BenchError(f"redis-server did not answer within {START_S:g} s: {log.read_text(errors='replace')[-400:]}")

    def kill(self) -> None:
        """Send SIGKILL. What was not saved is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def save(self) -> None:
        """Save what it holds now, so that it survives a restart."""
        with self.client() as client:
            client.save()

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Let every command wait for up to SLOW_S seconds: Redis sleeps this long, again and again."""
        is_over = threading.Event()

        def sleep() -> None:
            with self.client() as client:
                while not is_over.is_set():
                    client.execute_command("DEBUG", "SLEEP", str(SLOW_S))

        with beside(sleep, is_over):
            yield

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Give Redis less memory than it uses and nothing to evict, while a client goes on writing. Each write is refused."""
        is_over = threading.Event()
        refused = 0

        def write() -> None:
            nonlocal refused
            from redis.exceptions import ResponseError

            with self.client() as client:
                while not is_over.is_set():
                    try:
                        client.set("something", b"x" * 1000)
                    except ResponseError:
                        refused += 1
                    time.sleep(0.001)

        with self.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1mb")
            try:
                with beside(write, is_over):
                    yield
            finally:
                client.config_set("maxmemory", "0")
        if not refused:
            raise BenchError("Redis refused no write although it was full: the fault was none")

    def client(self) -> Any:
        """A client from Redis' Python package. It does not retry, because its callers ask whether the server answers now."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return redis.Redis(HOST, self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def _debug(self) -> tuple[str, ...]:
        version = subprocess.run([str(self._program), "--version"], capture_output=True, text=True, check=True).stdout
        major = version.partition("v=")[2].partition(".")[0]
        return ("--enable-debug-command", "local") if major.isdigit() and int(major) >= 7 else ()


@contextlib.contextmanager
def beside(work: Callable[[], None], is_over: threading.Event) -> Iterator[None]:
    """Run `work` in a thread while the block runs. `is_over` tells it to end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(10)
