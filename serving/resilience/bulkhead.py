"""Bulkheads: the long runs of each model have their own threads and queue, so that a slow model does not block the others.

A run is refused at once if the queue is full or if it would wait longer than its request allows. If the caller gives up (the client
disconnects, the time is over) the run is removed from the queue; if it runs already, `stop` is called from the loop. A run that cannot
be stopped continues in its thread, and the thread is busy until it ends.

Runs that are short are made on the loop and never come here (LoadedRevision.may_run_inline)."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final, TypeVar

from serving.errors import Overloaded

_T = TypeVar("_T")
_RETRY_AFTER_S: Final = 1.0


class Bulkhead:
    """Threads of their own for one kind of work. name: of the work, for errors (`model flows`). threads: runs at once. queue: runs that
    may wait. on_refused: called for each run refused."""

    def __init__(self, name: str, *, threads: int, queue: int, on_refused: Callable[[], None]) -> None:
        self._name, self._threads, self._queue, self._on_refused = name, threads, queue, on_refused
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name.replace(" ", "-"))
        self._lock = Lock()
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Runs that wait or run."""
        return self._under_way

    async def run(
        self, work: Callable[[], _T], *, within_s: float, expected_s: float, stop: Callable[[], None] = lambda: None
    ) -> _T:
        """Do `work` in a thread. expected_s: what it usually takes. Raises TimeoutError after within_s, Overloaded at once."""
        self._admit(within_s, expected_s)
        done = self._submit(work)
        waiting = asyncio.wrap_future(done)
        try:
            async with asyncio.timeout(within_s):
                return await waiting
        finally:
            if not done.done():  # given up while it runs: cancelling took it from the queue if it was still there
                stop()

    def close(self) -> None:
        """Take nothing more; what waits is dropped, what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _admit(self, within_s: float, expected_s: float) -> None:
        waiting = self._under_way - self._threads + 1
        if waiting > self._queue:
            self._on_refused()
            raise Overloaded(
                f"{self._name} has {self._under_way} runs under way; send fewer, or try again later",
                retry_after_s=_RETRY_AFTER_S,
            )
        wait_s = max(waiting, 0) * expected_s / self._threads
        if waiting > 0 and wait_s + expected_s > within_s:
            self._on_refused()
            raise Overloaded(
                f"{self._name} would answer in about {wait_s + expected_s:.3f} s, but the request leaves it {within_s:.3f} s; "
                "send fewer, or allow more time",
                retry_after_s=max(wait_s, _RETRY_AFTER_S),
            )

    def _submit(self, work: Callable[[], _T]) -> "Future[_T]":
        holder = [work]  # the pool keeps a cancelled item until a thread reaches it; emptied, it holds no request's rows
        with self._lock:
            self._under_way += 1
        try:
            done = self._pool.submit(_run_held, holder)
        except BaseException:
            self._ended()
            raise

        def ended(_: object) -> None:
            holder.clear()
            self._ended()

        done.add_done_callback(ended)
        return done

    def _ended(self) -> None:
        with self._lock:
            self._under_way -= 1


def _run_held(holder: list[Callable[[], _T]]) -> _T:
    return holder.pop()()


class Bulkheads:
    """The bulkheads of one replica, one a model variant, made on first use."""

    def __init__(self, *, threads: int, queue: int) -> None:
        self._threads, self._queue = threads, queue
        self._of: dict[str, Bulkhead] = {}
        self.refused = 0
        """Runs refused so far, of models long gone too. One number, so that a scrape reads it in its thread while the loop goes on."""

    def of(self, name: str) -> Bulkhead:
        """The bulkhead of `<model>/<version>/<variant>`."""
        found = self._of.get(name)
        if found is None:
            found = self._of[name] = Bulkhead(
                f"model {name}", threads=self._threads, queue=self._queue, on_refused=self._count_refused
            )
        return found

    def under_way(self) -> dict[str, int]:
        """Runs that wait or run, by `<model>/<version>/<variant>`; a scrape reads it in its thread."""
        return {name: bulkhead.under_way for name, bulkhead in self._of.copy().items()}

    def keep(self, names: Iterable[str]) -> None:
        """Release the threads of every other model."""
        kept = set(names)
        for name in self._of.keys() - kept:
            self._of.pop(name).close()

    def close(self) -> None:
        """Release all threads."""
        self.keep(())

    def _count_refused(self) -> None:
        self.refused += 1
