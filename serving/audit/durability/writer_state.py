"""The state of the prediction log's writer: records kept and lost, and the current fault. Logs each change once."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

log = logging.getLogger("serving.audit.writer")

STUCK_S: Final = 5.0
"""A disk that has not answered for so long counts as failing."""


class WriterState:
    """Counts of records. Changed by the writer's thread, read by any."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._now = folder, now
        self.written = 0
        self.lost = 0
        """Of answers that were given."""
        self.refused = 0
        """Of answers that were refused because of it."""
        self._problem: str | None = None
        self._overrun: str | None = None
        self._overrun_seen = 0
        self._busy_since_s: float | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong now, as the end of a sentence that begins with the log; None if nothing is."""
        since_s = self._busy_since_s
        if self._problem is None and since_s is not None and self._now() - since_s > STUCK_S:
            return f"has waited {self._now() - since_s:.0f} s for its disk"
        return self._problem or self._overrun

    def failed(self, problem: str, *, lost: int = 0, refused: int = 0) -> None:
        """Records could not be written or synced."""
        self.lost += lost
        self.refused += refused
        if self._problem is None:
            log.error("the prediction log in %s %s; records are lost, or their answers are refused", self._folder, problem)
        self._problem = problem

    def recovered(self, dropped: int) -> None:
        """Records were synced. dropped: how many were lost so far."""
        if self._problem is not None:
            log.warning("the prediction log in %s can be written again; %d records were lost so far", self._folder, dropped)
        self._problem = None

    def note_overrun(self, overrun: int, queue: int) -> None:
        """Called at each look at the queue. overrun: records that found it full so far."""
        if overrun > self._overrun_seen and self._overrun is None:
            self._overrun = f"writes more slowly than records arrive; its queue of {queue} records is full"
            log.error("the prediction log in %s %s; records are lost", self._folder, self._overrun)
        elif overrun == self._overrun_seen and self._overrun is not None:
            self._overrun = None
            log.warning(
                "the prediction log in %s accepts all records again; %d found its queue full so far", self._folder, overrun
            )
        self._overrun_seen = overrun

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While the disk is asked."""
        self._busy_since_s = self._now()
        try:
            yield
        finally:
            self._busy_since_s = None


def why(error: OSError) -> str:
    """The cause, without the path: clients see it."""
    return os.strerror(error.errno) if error.errno else str(error)
