"""Early refusal: a request that would wait too long is told so at once, before it is read. Core; time and the loop come in.

One event loop answers everything, so what waits does not wait here: it waits in its socket while the loop's turn works through the
requests it found ready. The first request of a turn marks its beginning; each further one has waited for those before it, and for
about one turn before that. A request is refused when its turn has gone on for half of what a request may wait, and turns have been
that long for a while without a break: a burst is worked off, a queue that stands is not kept. A turn always takes its first few
requests, so a server that idles or has few clients refuses nobody, however slow its machine is; and a request counts by the time it
took.

Requests that wait for features come back to the loop to be finished, and what was taken last turn is this turn's work. So while requests
are refused, no more may be under way than the replica finished lately within half the time a request may wait (the other half it waits
for its turn), by its own measured rate. That holds only while the loop is busy: where it idles, requests wait for a slow store or for
threads, and refusing others helps nobody.

Also refused is what comes while too many requests are under way at all (they wait for features or threads, not for the loop).
Where refusing itself is costly (clients that come again at once, small requests) and nothing waits to be finished, turns are made longer,
so that most of each is spent on answers: waiting in a socket costs nothing, and a server that only refuses helps nobody.

What waits for a thread is serving.resilience.bulkhead's, what cannot be answered in time serving.resilience.deadline's."""

import time
from collections.abc import Callable
from typing import Final

from serving.errors import Overloaded

_ALWAYS: Final = 32
"""Requests that every turn takes: with as many clients or fewer nobody is refused."""
_PATIENCE_S: Final = 0.1
"""How long every turn must have been too long before one refuses."""
_RETRY_AFTER_S: Final = 1.0
_ANSWERS_TO_REFUSALS: Final = 2.0
"""Of a turn, this many times what refusals took is for answers..."""
_LOOK_S: Final = 0.05
"""How often the rate is measured, while requests are refused."""
_ON_TIME: Final = 0.25
"""A loop that is late by less than this share of a turn's time..."""
_IDLE: Final = 0.25
"""...and idles for this share of its time has no queue worth refusing for."""
_LONGEST: Final = 3.0
"""...but no more than so many times what it would be: a refusal must not wait long either."""


class Admission:
    """Asked at the head of every inference request, on the loop, whichever door it came through; costs well below a microsecond.

    max_wait_s: how long a request may wait for the loop. max_ongoing: how many may be under way. ongoing: how many are.
    late_s: how late the loop is these days (telemetry.loop_lag).
    soon: calls back at the end of the loop's turn (`loop.call_soon`). now: monotonic seconds. cpu: of the loop's thread, seconds."""

    __slots__ = (
        "_admitted",
        "_budget_s",
        "_busy",
        "_cpu",
        "_cpu_s",
        "_finished",
        "_full",
        "_late_s",
        "_limit",
        "_looked_s",
        "_max_ongoing",
        "_now",
        "_ongoing",
        "_over_since_s",
        "_refusals_s",
        "_refused_before",
        "_refusing_s",
        "_soon",
        "_taken",
        "_turn_s",
        "refused",
    )

    def __init__(
        self,
        *,
        max_wait_s: float,
        max_ongoing: int,
        ongoing: Callable[[], int],
        late_s: Callable[[], float],
        soon: Callable[[Callable[[], None]], object],
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._budget_s, self._max_ongoing, self._ongoing = max_wait_s / 2, max_ongoing, ongoing
        self._soon, self._now, self._late_s, self._cpu = soon, now, late_s, cpu
        self._turn_s = self._refusing_s = self._refusals_s = 0.0
        self._taken = self._admitted = self._finished = self._refused_before = 0
        self._limit, self._looked_s, self._cpu_s = float(max_ongoing), 0.0, 0.0
        self._over_since_s: float | None = None
        self._busy = Overloaded(
            "the server has more requests than it can answer in time; send fewer, or again later", retry_after_s=_RETRY_AFTER_S
        )
        self._full = Overloaded(
            f"{max_ongoing} requests are under way already; send fewer, or again later", retry_after_s=_RETRY_AFTER_S
        )
        self.refused: dict[str, int] = {"busy": 0, "full": 0}
        """Requests refused so far, by reason; only the loop changes it."""

    def refuse(self) -> Overloaded | None:
        """The error to answer this request with, always the same one, or None: go on."""
        ongoing = self._ongoing()
        if ongoing >= self._max_ongoing:
            self.refused["full"] += 1
            return self._full
        if not self._taken:
            self._turn_s = self._now()
            self._soon(self._turned)
        if ongoing < self._limit and (self._taken < _ALWAYS or self._over_since_s is None or not self._is_late()):
            self._taken += 1
            self._admitted += 1
            return None
        self._taken = self._taken or 1
        self.refused["busy"] += 1
        return self._busy

    def _is_late(self) -> bool:
        if self._refusing_s:
            return True
        now_s = self._now()
        budget_s = self._budget_s
        if not self._ongoing():  # else a longer turn would hold up those that wait to be finished
            budget_s = min(max(budget_s, _ANSWERS_TO_REFUSALS * self._refusals_s), _LONGEST * budget_s)
        is_late = now_s - self._turn_s > budget_s and now_s - (self._over_since_s or now_s) > _PATIENCE_S
        if is_late:
            self._refusing_s = now_s
        return is_late

    def _turned(self) -> None:
        """The turn has read what was ready. One that was short, or had few requests, ends the overload."""
        now_s = self._now()
        if now_s - self._turn_s <= self._budget_s or self._taken < _ALWAYS:
            self._over_since_s = None
        elif self._over_since_s is None:
            self._over_since_s = now_s
        took_s = now_s - self._refusing_s if self._refusing_s else 0.0
        self._refusals_s = (self._refusals_s + took_s) / 2
        self._refusing_s = 0.0
        self._taken = 0
        if now_s - self._looked_s >= _LOOK_S:
            self._look(now_s)

    def _look(self, now_s: float) -> None:
        """Measure the rate. While requests are refused and the loop is busy, as many may be under way as are finished within half
        a request's wait, but never fewer than every turn takes; otherwise twice as many as before."""
        finished, refused, cpu_s = self._admitted - self._ongoing(), self.refused["busy"], self._cpu()
        lasted_s = now_s - self._looked_s
        rate, idled = (finished - self._finished) / lasted_s, 1 - (cpu_s - self._cpu_s) / lasted_s
        if refused == self._refused_before or (idled > _IDLE and self._late_s() < _ON_TIME * self._budget_s):
            self._limit = min(self._limit * 2, self._max_ongoing)
        elif lasted_s < 10 * _LOOK_S:
            self._limit = min(max(rate * self._budget_s, _ALWAYS), self._max_ongoing)
        self._finished, self._refused_before, self._looked_s, self._cpu_s = finished, refused, now_s, cpu_s
