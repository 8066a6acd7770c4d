"""Rows of windows on their way to the online store, so that requests over HTTP see what the stream saw.

The stream's thread offers the newest row of each entity; a thread of its own writes them in batches, about once a second. Of an entity only
the newest row waits. What cannot be written waits and is tried again; scoring never waits for it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from serving.errors import ServingError
from serving.features.plan.definitions import StoredView
from serving.features.stores.writing import CannotWrite, OnlineWriter, ViewRows
from serving.stream.windows.engine import Key
from serving.stream.windows.plan import WindowPlan
from serving.telemetry.tracing.message_names import PUSH, STORE_ROWS
from serving.telemetry.tracing.names import ERROR_TYPE, KEPT, Attributes
from serving.telemetry.tracing.tracer import SAMPLED, Tracer

MOST_WAITING: Final = 100_000
"""Entities whose row waits to be written. Beyond it rows stay in the states until there is room."""
_MOST_AT_ONCE: Final = 5_000
_PAUSE_S: Final = 30.0
_REST: Final = 9.0
"""A pause is at least so many times the processor time of the writing before it: a stream that catches up is not slowed by its rows."""
_log = logging.getLogger("vedette.stream")

PushTarget = Callable[[], tuple[OnlineWriter, Mapping[str, StoredView]]]
"""Opens the store's writer, and names the views of the windows as they are registered. Raises ServingError."""
WaitingRow = tuple[int, bytes]
"""Tick and raw row."""


class OnlinePush:
    """Writes the rows of one specification's windows."""

    def __init__(self, plan: WindowPlan, target: PushTarget, every_s: float, tracer: Tracer | None = None) -> None:
        """Nothing is written before `start`. tracer: None, or one that is off: nothing is traced."""
        self._tracer = tracer if tracer is not None and tracer.is_on else None
        self._plan, self._target, self._every_s = plan, target, every_s
        self._waiting: dict[Key, WaitingRow] = {}
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="windows-push", daemon=True)
        self.written = self.failures = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, once, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many rows may be offered."""
        return max(0, MOST_WAITING - len(self._waiting))

    def offer(self, rows: Mapping[Key, WaitingRow]) -> None:
        """Rows to write; each replaces an older one of its entity."""
        with self._lock:
            self._waiting.update(rows)

    def _run(self) -> None:
        pause_s = self._every_s
        while True:
            is_last = self._stopping.wait(pause_s)
            began_s, busy_s = time.monotonic(), time.thread_time()
            is_written = self._write_all()
            if is_last:
                return
            pause_s = min(max(pause_s, self._every_s) * 2, _PAUSE_S) if not is_written else self._every_s
            pause_s = max(pause_s - (time.monotonic() - began_s), _REST * (time.thread_time() - busy_s), 0.0)

    def _write_all(self) -> bool:
        """Write what waits now; whether it could be."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        left = list(taken.items())
        try:
            while left:
                self._write_traced(left[:_MOST_AT_ONCE])
                self.written += len(left[:_MOST_AT_ONCE])
                left = left[_MOST_AT_ONCE:]
        except (CannotWrite, ServingError) as problem:
            self._failed(dict(left), str(problem))
            return False
        except Exception as problem:
            self._failed(dict(left), repr(problem))
            _log.exception("windows: writing to the online store failed")
            return False
        return True

    def _failed(self, left: dict[Key, WaitingRow], why: str) -> None:
        self.failures += 1
        if self.failures & (self.failures - 1) == 0:  # the first, second, fourth, eighth time
            _log.warning(
                "windows: %d rows wait for the online store, which takes none (%d times): %s", len(left), self.failures, why
            )
        with self._lock:
            self._waiting = {**left, **self._waiting}

    def _write_traced(self, rows: Sequence[tuple[Key, WaitingRow]]) -> None:
        tracer = self._tracer
        if tracer is None:
            self._write(rows)
            return
        began_ns = time.time_ns()
        trace = tracer.begin(None, PUSH, kind="client", start_ns=began_ns)
        told: Attributes = {KEPT: SAMPLED, STORE_ROWS: len(rows)}
        try:
            self._write(rows)
        except Exception as problem:
            kept = trace or tracer.keep("error", None, PUSH, kind="client", start_ns=began_ns)
            if kept is not None:
                why = {KEPT: SAMPLED if trace is not None else "error", ERROR_TYPE: type(problem).__name__}
                kept.end({**told, **why}, error=str(problem) or type(problem).__name__)
            raise
        if trace is not None:
            trace.end(told)

    def _write(self, rows: Sequence[tuple[Key, WaitingRow]]) -> None:
        writer, views = self._target()
        plan, spec = self._plan, self._plan.spec
        raw = np.frombuffer(b"".join([row for _, (_, row) in rows]), dtype="<f8").reshape(len(rows), -1)
        values = plan.features(raw)
        dtype = (
            np.dtype(object)
            if spec.key_datatype == "BYTES"
            else np.dtype(np.int64 if spec.key_datatype == "INT64" else np.int32)
        )
        keys = np.empty(len(rows), dtype=dtype)
        keys[:] = [key for key, _ in rows]
        seconds = [tick for _, (tick, _) in rows]
        width = len(spec.aggregates)
        each = []
        for place, view in enumerate(spec.views):
            registered = views[view.name]
            columns = {a.name: values[:, place * width + at].tolist() for at, a in enumerate(spec.aggregates)}
            named = {registered.keys[0].asked: keys}
            each.append(ViewRows(registered, named, seconds, [columns[feature.name] for feature in registered.features]))
        writer.write(each)
