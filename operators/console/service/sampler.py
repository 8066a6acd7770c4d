"""The last minutes of all replicas, kept while somebody watches.

One sampler for all viewers: the replicas are asked once, however many look. A look that takes long holds up nobody: a page gets what is
known. Bounded: so many looks, so many models of each."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from operators.backends.exposition import ReplicaPage
from operators.control.figures.rates import PlaneFigures, figures_between
from operators.control.figures.scrape import MetricsScrape, read_scrape
from operators.control.port import ControlError

SPAN_S: Final = 300.0
"""How much time is kept."""
_MOST_LOOKS: Final = 160
_MOST_MODELS: Final = 50
"""Of each look that is kept: those with most requests. The newest look has all."""
_FRESH_S: Final = 1.5
_FORGET_AFTER_S: Final = 60.0
"""After so long without a look what was seen is too old to compare with."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What is known. newest: None before the first look."""

    newest: PlaneFigures | None = None
    looks: tuple[PlaneFigures, ...] = ()
    """The oldest first."""


class ReplicaSampler:
    """Asks the replicas at most once in 1.5 s. pages: theirs; blocks. now: UTC."""

    def __init__(self, pages: Callable[[], Sequence[ReplicaPage]], now: Callable[[], datetime]) -> None:
        self._pages, self._now = pages, now
        self._before: MetricsScrape | None = None
        self._looks: deque[PlaneFigures] = deque(maxlen=_MOST_LOOKS)
        self._newest: PlaneFigures | None = None
        self._looking, self._starting = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def seen(self) -> Sampled:
        """What is known, without a look."""
        return Sampled(self._newest, tuple(self._looks))

    def look(self) -> Sampled:
        """Ask the replicas, unless that was done just now. Blocks; several threads may call it."""
        with self._looking:
            now = self._now()
            if (
                self._newest is None or not 0 <= (now - self._newest.at).total_seconds() < _FRESH_S
            ):  # below 0: a clock was set back
                self._take()
        return self.seen

    def soon(self, within_s: float) -> Sampled:
        """What is known after a look, or before it if it takes longer."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self.look, name="service-look", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(within_s)
        return self.seen

    def _take(self) -> None:
        try:
            pages = self._pages()
        except ControlError as problem:
            pages = (ReplicaPage("", problem=str(problem)),)
        scrape = read_scrape(pages, self._now())
        since = timedelta(0) if self._before is None else scrape.at - self._before.at
        if not timedelta(0) <= since <= timedelta(seconds=_FORGET_AFTER_S):
            self._before = None
            self._looks.clear()
        found = figures_between(self._before, scrape)
        self._before = scrape
        self._newest = found
        busiest = sorted(found.models, key=lambda name: -(found.models[name].requests_per_s or 0.0))[:_MOST_MODELS]
        self._looks.append(replace(found, models={name: found.models[name] for name in sorted(busiest)}))
