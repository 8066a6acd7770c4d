"""Early refusal: an overloaded replica refuses a request (429) before it decodes the body. Core; time and the loop come in.

One event loop answers every request, so a request waits in its socket while the loop works through those it found ready: one *turn*.
Who is refused depends on how long turns last:

    calm ------ a turn of 32 requests or more lasts longer than its budget -----> strained
    strained -- every turn does, for 0.1 s -------------------------------------> overloaded
    strained, overloaded -- a turn within its budget, or of fewer requests -----> calm

    calm, strained: no request is refused, so a burst is worked off.
    overloaded:     a turn accepts its first 32 requests, then accepts until its budget is used up, and refuses the rest of the turn.

The budget of a turn is half of max_wait_s: a request waits for about one turn before its own begins, and for those before it within
its turn. If nothing is under way and refusals take much of a turn, the budget grows to twice what they take, up to three times its
size: most of a turn is then spent on answers, and waiting in a socket costs nothing.

Requests that wait for features or threads come back to the loop, so what was accepted in one turn is work of a later one. While
requests are refused, no more may be under way (`_limit`) than were finished lately within half of max_wait_s, but always 32. The limit
doubles with each measurement in which nothing was refused or the loop was mostly idle: requests then wait for a store or for threads,
and refusing others does not help.

Beyond max_ongoing requests under way each one is refused, whatever the state. This bound alone remains if max_wait_s is set very high.

Waiting for a model's thread: serving.resilience.bulkhead. Deadlines: serving.resilience.deadline."""

import time
from collections.abc import Callable
from typing import Final

from serving.errors import Overloaded

_ALWAYS_ACCEPTED: Final = 32
"""Requests that every turn accepts: with as many clients or fewer nobody is refused, however slow the machine is."""
_STRAINED_S: Final = 0.1
"""Every turn must have been over its budget for this long before requests are refused."""
_RETRY_AFTER_S: Final = 1.0
_ANSWERS_TO_REFUSALS: Final = 2.0
"""A turn's budget is at least this many times what its refusals take."""
_LONGEST_TURN: Final = 3.0
"""The budget grows to at most this many times its size: a refusal must not wait long either."""
_MEASURE_EVERY_S: Final = 0.05
_ON_TIME: Final = 0.25
"""A loop that is late by less than this share of a turn's budget, and..."""
_IDLE: Final = 0.25
"""...idle for more than this share of its time, is mostly idle."""


class Admission:
    """Asked before every inference request of every door, on the loop; takes well below a microsecond.

    max_wait_s: how long a request may wait for the loop. max_ongoing: how many may be under way. ongoing: how many are.
    late_s: how late the loop has been lately (telemetry.loop_lag). call_soon: runs a function after the turn (`loop.call_soon`).
    now: monotonic seconds. cpu: seconds of CPU of the loop's thread."""

    __slots__ = (
        "_admitted",
        "_budget_s",
        "_busy_error",
        "_call_soon",
        "_cpu",
        "_cpu_then_s",
        "_finished_then",
        "_full_error",
        "_in_turn",
        "_late_s",
        "_limit",
        "_max_ongoing",
        "_measured_s",
        "_now",
        "_ongoing",
        "_refusals_took_s",
        "_refused_then",
        "_refusing_since_s",
        "_strained_since_s",
        "_turn_began_s",
        "refused",
    )

    def __init__(
        self,
        *,
        max_wait_s: float,
        max_ongoing: int,
        ongoing: Callable[[], int],
        late_s: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._budget_s, self._max_ongoing, self._ongoing = max_wait_s / 2, max_ongoing, ongoing
        self._call_soon, self._now, self._late_s, self._cpu = call_soon, now, late_s, cpu
        self._turn_began_s = self._refusing_since_s = self._refusals_took_s = 0.0
        self._in_turn = self._admitted = self._finished_then = self._refused_then = 0
        self._limit, self._measured_s, self._cpu_then_s = float(max_ongoing), 0.0, 0.0
        self._strained_since_s: float | None = None
        self._busy_error = Overloaded(
            "the server has more requests than it can answer in time; send fewer, or try again later",
            retry_after_s=_RETRY_AFTER_S,
        )
        self._full_error = Overloaded(
            f"{max_ongoing} requests are already under way; send fewer, or try again later", retry_after_s=_RETRY_AFTER_S
        )
        self.refused: dict[str, int] = {"busy": 0, "full": 0}
        """Requests refused so far by reason; only the loop changes it."""

    def refuse(self) -> Overloaded | None:
        """The error to answer this request with, or None to accept it. The errors are shared by all requests."""
        ongoing = self._ongoing()
        if ongoing >= self._max_ongoing:
            self.refused["full"] += 1
            return self._full_error
        if not self._in_turn:
            self._turn_began_s = self._now()
            self._call_soon(self._end_turn)
        if ongoing < self._limit and (
            self._in_turn < _ALWAYS_ACCEPTED or self._strained_since_s is None or not self._is_over_budget()
        ):
            self._in_turn += 1
            self._admitted += 1
            return None
        self._in_turn = self._in_turn or 1
        self.refused["busy"] += 1
        return self._busy_error

    def _is_over_budget(self) -> bool:
        if self._refusing_since_s:
            return True
        now_s = self._now()
        budget_s = self._budget_s
        if not self._ongoing():  # else a longer turn would delay the requests that wait to be finished
            budget_s = min(max(budget_s, _ANSWERS_TO_REFUSALS * self._refusals_took_s), _LONGEST_TURN * budget_s)
        is_over = now_s - self._turn_began_s > budget_s and now_s - (self._strained_since_s or now_s) > _STRAINED_S
        if is_over:
            self._refusing_since_s = now_s
        return is_over

    def _end_turn(self) -> None:
        """The turn has read what was ready: go from one state to another, see the module."""
        now_s = self._now()
        if now_s - self._turn_began_s <= self._budget_s or self._in_turn < _ALWAYS_ACCEPTED:
            self._strained_since_s = None
        elif self._strained_since_s is None:
            self._strained_since_s = now_s
        took_s = now_s - self._refusing_since_s if self._refusing_since_s else 0.0
        self._refusals_took_s = (self._refusals_took_s + took_s) / 2
        self._refusing_since_s = 0.0
        self._in_turn = 0
        if now_s - self._measured_s >= _MEASURE_EVERY_S:
            self._measure(now_s)

    def _measure(self, now_s: float) -> None:
        """Measure how many requests are finished a second, and set the limit of requests under way, see the module."""
        finished, refused, cpu_s = self._admitted - self._ongoing(), self.refused["busy"], self._cpu()
        lasted_s = now_s - self._measured_s
        rate, idled = (finished - self._finished_then) / lasted_s, 1 - (cpu_s - self._cpu_then_s) / lasted_s
        if refused == self._refused_then or (idled > _IDLE and self._late_s() < _ON_TIME * self._budget_s):
            self._limit = min(self._limit * 2, self._max_ongoing)
        elif lasted_s < 10 * _MEASURE_EVERY_S:
            self._limit = min(max(rate * self._budget_s, _ALWAYS_ACCEPTED), self._max_ongoing)
        self._finished_then, self._refused_then, self._measured_s, self._cpu_then_s = finished, refused, now_s, cpu_s
