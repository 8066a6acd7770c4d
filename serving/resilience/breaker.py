"""The breaker of one dependency: whether to ask it at all, judged by how the last calls went. Pure; time and jitter come in.

Closed, it lets everything through and looks at the last `calls` outcomes: too many failures, or too many slow ones, open it. Open, it
lets nothing through until its cooldown is over; then it is half-open and lets a few probes through. As many good probes in a row
close it, one bad one opens it again, for longer. Every change begins a new generation, and an outcome counts only in the
generation its ticket is of: a success that was asked for before the breaker opened says nothing about now.

Who holds it, counts and tells is serving.resilience.guard's."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final


class BreakerState(IntEnum):
    """The numbers are the metric's."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, and how it comes back.

    calls: how many of the last outcomes are looked at; fewer than least_calls prove nothing, and a pause of forget_s without any
    forgets them. failure_ratio, slow_ratio: shares of them that open it, 0 < x <= 1; a call is slow that takes longer than slow_s.
    cooldown_s: how long it stays open at first, times `growth` with each opening in a row, up to most_cooldown_s; a breaker that
    stayed closed for forget_s begins anew. probes: how many may be under way when half-open, and how many must be good."""

    slow_s: float
    calls: int = 40
    least_calls: int = 10
    failure_ratio: float = 0.5
    slow_ratio: float = 0.8
    forget_s: float = 30.0
    cooldown_s: float = 0.5
    growth: float = 2.0
    most_cooldown_s: float = 15.0
    jitter_ratio: float = 0.2
    probes: int = 3


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call; its outcome is told with it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """See the module. failures, slowness: the last outcomes as bits, the newest lowest; known: how many there are.

    until_s: when the cooldown ends (open), or when probes nobody answered for are given up (half-open). openings: in a row.
    changed_s: when the state was entered. why: of the last opening, in words; is_slow: it was for slowness."""

    limits: BreakerLimits
    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    failures: int = 0
    slowness: int = 0
    known: int = 0
    last_s: float = 0.0
    until_s: float = 0.0
    openings: int = 0
    asked: int = 0
    good: int = 0
    changed_s: float = 0.0
    why: str = ""
    is_slow: bool = False

    def ask(self, now_s: float) -> tuple[Ticket | None, "Breaker"]:
        """Leave to call now, or None."""
        if self.state is BreakerState.CLOSED:
            return Ticket(self.generation), self
        if now_s >= self.until_s:
            return self._probing(now_s).ask(now_s)
        if self.state is BreakerState.OPEN or self.asked >= self.limits.probes:
            return None, self
        return Ticket(self.generation), replace(self, asked=self.asked + 1)

    def succeeded(self, ticket: Ticket, took_s: float, now_s: float, jitter: float = 0.0) -> "Breaker":
        """A call came back well; a slow one may open the breaker too. jitter: -1..1."""
        return self._told(ticket, took_s, now_s, jitter, is_failed=False)

    def failed(self, ticket: Ticket, took_s: float, now_s: float, jitter: float = 0.0) -> "Breaker":
        """A call failed by the dependency's fault. jitter: -1..1."""
        return self._told(ticket, took_s, now_s, jitter, is_failed=True)

    def fine(self, ticket: Ticket, calls: int, first_s: float, last_s: float) -> "Breaker":
        """As many calls came back well and in time between these moments: what `succeeded` as often makes of them when closed."""
        if ticket.generation != self.generation or self.state is not BreakerState.CLOSED:
            return self
        limits, is_forgotten = self.limits, first_s - self.last_s > self.limits.forget_s
        shift, mask = min(calls, limits.calls), (1 << limits.calls) - 1
        return replace(
            self,
            failures=0 if is_forgotten else (self.failures << shift) & mask,
            slowness=0 if is_forgotten else (self.slowness << shift) & mask,
            known=min((0 if is_forgotten else self.known) + calls, limits.calls),
            last_s=last_s,
        )

    def unused(self, ticket: Ticket) -> "Breaker":
        """The call says nothing about the dependency (given up by the client, a wrong input): a probe's leave goes to another."""
        if ticket.generation != self.generation or self.state is not BreakerState.HALF_OPEN:
            return self
        return replace(self, asked=max(self.asked - 1, self.good))

    def _told(self, ticket: Ticket, took_s: float, now_s: float, jitter: float, *, is_failed: bool) -> "Breaker":
        if ticket.generation != self.generation:
            return self
        is_slow = took_s > self.limits.slow_s
        if self.state is BreakerState.HALF_OPEN:
            if is_failed or is_slow:
                why = "a probe failed" if is_failed else f"a probe took {took_s:.3f} s"
                return self._opened(now_s, jitter, why, is_slow=not is_failed)
            good = self.good + 1
            return self._closed(now_s) if good >= self.limits.probes else replace(self, good=good)
        seen = self.fine(ticket, 1, now_s, now_s)
        if not is_failed and not is_slow:
            return seen  # what goes well opens nothing, whatever was before
        seen = replace(seen, failures=seen.failures | is_failed, slowness=seen.slowness | is_slow)
        return seen._judged(now_s, jitter)

    def _judged(self, now_s: float, jitter: float) -> "Breaker":
        """Open if the last calls say so."""
        limits, known = self.limits, self.known
        failed, slow = self.failures.bit_count(), self.slowness.bit_count()
        if known < limits.least_calls:
            return self
        if failed >= limits.failure_ratio * known:
            return self._opened(now_s, jitter, f"{failed} of the last {known} calls failed", is_slow=False)
        if slow >= limits.slow_ratio * known:
            return self._opened(now_s, jitter, f"{slow} of the last {known} calls took over {limits.slow_s:g} s", is_slow=True)
        return self

    def _opened(self, now_s: float, jitter: float, why: str, *, is_slow: bool) -> "Breaker":
        limits = self.limits
        is_calm = self.state is BreakerState.CLOSED and now_s - self.changed_s > limits.forget_s
        openings = 1 if is_calm else self.openings + 1
        cooldown_s = min(limits.cooldown_s * limits.growth ** min(openings - 1, _MOST_GROWTH), limits.most_cooldown_s)
        return Breaker(
            limits,
            BreakerState.OPEN,
            self.generation + 1,
            until_s=now_s + cooldown_s * (1.0 + limits.jitter_ratio * jitter),
            openings=openings,
            changed_s=now_s,
            why=why,
            is_slow=is_slow,
        )

    def _probing(self, now_s: float) -> "Breaker":
        """Half-open, again if the probes under way never came back."""
        patience_s = max(self.limits.cooldown_s, 2 * self.limits.slow_s)
        return Breaker(
            self.limits,
            BreakerState.HALF_OPEN,
            self.generation + 1,
            until_s=now_s + patience_s,
            openings=self.openings,
            changed_s=now_s if self.state is BreakerState.OPEN else self.changed_s,
            why=self.why,
            is_slow=self.is_slow,
        )

    def _closed(self, now_s: float) -> "Breaker":
        return Breaker(
            self.limits,
            BreakerState.CLOSED,
            self.generation + 1,
            last_s=now_s,
            openings=self.openings,
            changed_s=now_s,
            why=self.why,
        )


_MOST_GROWTH: Final = 32
"""Openings in a row beyond which the cooldown grows no more: a float must not overflow."""
