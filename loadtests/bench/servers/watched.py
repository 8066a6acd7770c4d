"""The replica as `vedette up` serves it, with a watch on its doors' loop: when a request passed which point, and why the loop stood still.

Takes the arguments of `vedette up`. Each scrape of /metrics writes what was seen since the one before to `watched.json` in the store.
The watch looks every millisecond and takes about one percent of a core; the marks take about a microsecond each."""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.replica.host import Composition
from serving.settings import ServingSettings

LOOK_S: Final = 0.001
RESOLUTION_S: Final = 0.001
STALLED_S: Final = 0.002
"""A timer that is later than this, beyond its resolution, makes a stall."""
CAUSES: Final = ("own work", "no core", "interpreter", "garbage")
FILE: Final = "watched.json"
MOST: Final = 20_000
"""Stalls and requests that are kept."""


class LoopStall(msgspec.Struct, frozen=True):
    """The loop was late. All in seconds: how long its thread ran, had to wait for a core, and slept; the garbage collector's share.

    A timer was due, so the thread did not sleep for want of work: it waited for the interpreter or for a slow system call. holder: the
    other thread of Python that ran longest meanwhile, and how long."""

    late_s: float
    ran_s: float
    queued_s: float
    slept_s: float
    garbage_s: float
    holder: str
    holder_s: float

    @property
    def cause(self) -> str:
        """The largest share. Garbage is collected by a thread that runs, so it is asked for first."""
        shares = {"own work": self.ran_s, "no core": self.queued_s, "interpreter": self.slept_s}
        most = max(shares, key=lambda cause: shares[cause])
        return "garbage" if self.garbage_s > shares[most] / 2 else most


class Seen(msgspec.Struct):
    """What was seen. marks: of each request, in seconds of `time.perf_counter`: its bytes came, its read left for the store, the reply
    came, its answer was written. Requests that overlap are mixed up, so marks are for one client."""

    watched_s: float
    stalls: list[LoopStall]
    marks: list[tuple[float, float, float, float]]


class StallWatch:
    """Watches the loop that it is made on."""

    def __init__(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self._clocks: dict[str, tuple[int, float]] = {}
        self._names: set[int] = set()
        self._garbage_s = self._collecting_s = 0.0
        self._stalls: list[LoopStall] = []
        self._since_s = self._last_s = time.perf_counter()
        self._ran_s, self._queued_s, self._before_garbage_s = time.thread_time(), self._queued(), 0.0
        self.marks: list[tuple[float, ...]] = []
        gc.callbacks.append(self._collected)
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        gc.callbacks.remove(self._collected)
        os.close(self._schedstat)

    def take(self) -> Seen:
        """What was seen since the last call."""
        now = time.perf_counter()
        marks, self.marks = self.marks, []
        stalls, self._stalls = self._stalls, []
        found = Seen(now - self._since_s, stalls, [m for m in marks if len(m) == 4])  # type: ignore[misc]
        self._since_s = now
        return found

    def _queued(self) -> float:
        return int(os.pread(self._schedstat, 64, 0).split()[1]) * 1e-9

    def _collected(self, phase: str, _: Mapping[str, int]) -> None:
        if phase == "start":
            self._collecting_s = time.perf_counter()
        else:
            self._garbage_s += time.perf_counter() - self._collecting_s

    def _look(self) -> None:
        now, ran, queued = time.perf_counter(), time.thread_time(), self._queued()
        took_s = now - self._last_s
        late_s = took_s - LOOK_S - RESOLUTION_S
        if late_s > STALLED_S and len(self._stalls) < MOST:
            ran_s, queued_s = ran - self._ran_s, queued - self._queued_s
            slept_s = max(took_s - ran_s - queued_s - LOOK_S, 0.0)  # until the timer was due it slept rightly
            holder, holder_s = self._busiest()
            self._stalls.append(
                LoopStall(late_s, ran_s, queued_s, slept_s, self._garbage_s - self._before_garbage_s, holder, holder_s)
            )
        else:
            self._busiest()
        self._last_s, self._ran_s, self._queued_s, self._before_garbage_s = now, ran, queued, self._garbage_s
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def _busiest(self) -> tuple[str, float]:
        """The thread of Python, but for this one, that ran longest since the last call, and how long."""
        found = ("", 0.0)
        for thread in threading.enumerate():
            if thread.ident is None or thread.ident == self._thread:
                continue
            try:
                cpu_s = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
            except OSError:
                continue
            before_s = self._clocks.get(thread.name, (0, cpu_s))[1]
            self._clocks[thread.name] = (thread.ident, cpu_s)
            if cpu_s - before_s > found[1]:
                found = (thread.name, cpu_s - before_s)
        return found


def mark_requests(watch: StallWatch) -> None:
    """Let every request leave its marks."""
    from serving.doors.http.connection import HttpConnection
    from serving.features.stores.redis_wire import RedisConnection

    now = time.perf_counter
    under_way: list[float] = []

    def before(owner: Any, name: str, *, is_first: bool = False) -> None:
        plain = getattr(owner, name)

        def marked(*arguments: Any, **named: Any) -> Any:
            if is_first:
                under_way.clear()
            under_way.append(now())
            return plain(*arguments, **named)

        setattr(owner, name, marked)

    def after(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def marked(*arguments: Any) -> Any:
            result = plain(*arguments)
            under_way.append(now())
            if len(watch.marks) < MOST:
                watch.marks.append(tuple(under_way))
            return result

        setattr(owner, name, marked)

    before(HttpConnection, "data_received", is_first=True)
    before(RedisConnection, "ask")
    before(RedisConnection, "data_received")
    after(HttpConnection, "_write")


async def compose(settings: ServingSettings) -> Composition:
    """As serving.app composes a replica, with the watch."""
    from serving.app import compose as plainly

    watch = StallWatch()
    mark_requests(watch)
    return await plainly(settings, watched=(partial(_tell, watch, settings.store_dir / FILE),))


def _tell(watch: StallWatch, path: Path) -> Iterator[Any]:
    """A telemetry.metrics.MetricSource that has no metrics."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(watch.take()))
    part.replace(path)
    yield from ()


def read_seen(store: Path) -> Seen:
    """What the last scrape wrote."""
    return msgspec.json.decode((store / FILE).read_bytes(), type=Seen)


def main(argv: Sequence[str]) -> int:
    """`vedette up` with another composition."""
    import serving.app
    from loadtests.bench.servers import watched  # noqa: PLW0406  # by its own name, so that the replica imports it

    serving.app.compose = watched.compose  # type: ignore[assignment]  # the parts of it that `application` uses
    from operators.cli.main import run

    sys.argv[1:] = ["up", *argv]
    run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
