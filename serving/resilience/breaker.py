"""The circuit breaker of one dependency: whether to call it at all, decided from how the last calls went.

    closed     Every call goes through. Of the last `calls` outcomes, too many failures or too many slow calls open it.
    open       No call goes through until the cooldown is over.
    half-open  `probes` calls go through. If all of them succeed it closes; the first bad one opens it again, for longer.

Each change of state starts a new generation. A call carries the ticket of its generation, and outcomes of earlier generations are
ignored: a call that began before the breaker opened says nothing about the dependency now.

`Breaker` is a frozen value and pure: time and jitter come in. `Guard` holds the current value for one dependency, on the listeners'
loop. `Breakers` has the guards of a replica, for metrics, readiness and the log."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

_log = logging.getLogger("vedette.breakers")
_MOST_GROWTH: Final = 32
"""The cooldown grows with at most this many openings in a row, so that its float does not overflow."""

GONE: Final = 64
"""How many dependencies keep the counts of their changes after they are no longer there, the last ones."""


class BreakerState(IntEnum):
    """The numbers are the values of the metric `vedette_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


NAMES: Final[Mapping[BreakerState, str]] = {
    BreakerState.CLOSED: "closed",
    BreakerState.HALF_OPEN: "half-open",
    BreakerState.OPEN: "open",
}


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens and when it closes again.

    calls: number of last outcomes that count. With fewer than least_calls the breaker stays closed; after forget_s without a call
    the outcomes are forgotten. failure_ratio, slow_ratio: shares of those outcomes that open it, 0 < x <= 1. A call is slow if it
    takes longer than slow_s.
    cooldown_s: time open after the first opening. It is multiplied by `growth` at each further opening in a row, up to
    most_cooldown_s, and starts again at cooldown_s once the breaker was closed for forget_s. jitter_ratio: share of the cooldown
    that is random. probes: calls that may be under way while half-open, and successes that close it."""

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
    """Permission for one call; its outcome is reported with it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state and the last outcomes of one dependency; see the module.

    failures, slowness: the last outcomes as bits, the newest lowest; known: how many there are. until_s: end of the cooldown (open),
    or when probes without an outcome are given up (half-open). openings: in a row. asked, good: probes that began and that succeeded.
    changed_s: when the state was entered. why: reason of the last opening; is_slow: whether slow calls were the reason."""

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
        """The permission to call now, or None; and the breaker after this."""
        if self.state is BreakerState.CLOSED:
            return Ticket(self.generation), self
        if now_s >= self.until_s:
            return self._half_opened(now_s).ask(now_s)
        if self.state is BreakerState.OPEN or self.asked >= self.limits.probes:
            return None, self
        return Ticket(self.generation), replace(self, asked=self.asked + 1)

    def succeeded(self, ticket: Ticket, took_s: float, now_s: float, jitter: float = 0.0) -> "Breaker":
        """The breaker after a call that succeeded; a slow one may open it too. jitter: -1..1."""
        return self._counted(ticket, took_s, now_s, jitter, is_failed=False)

    def failed(self, ticket: Ticket, took_s: float, now_s: float, jitter: float = 0.0) -> "Breaker":
        """The breaker after a call that failed by the dependency's fault. jitter: -1..1."""
        return self._counted(ticket, took_s, now_s, jitter, is_failed=True)

    def succeeded_often(self, ticket: Ticket, calls: int, first_s: float, last_s: float) -> "Breaker":
        """The breaker after this many quick successes between two moments, in one step. Equal to `succeeded` as often while closed."""
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
        """The breaker after a call that says nothing about the dependency (the client left, a wrong input). Another probe may begin."""
        if ticket.generation != self.generation or self.state is not BreakerState.HALF_OPEN:
            return self
        return replace(self, asked=max(self.asked - 1, self.good))

    def _counted(self, ticket: Ticket, took_s: float, now_s: float, jitter: float, *, is_failed: bool) -> "Breaker":
        if ticket.generation != self.generation:
            return self
        is_slow = took_s > self.limits.slow_s
        if self.state is BreakerState.HALF_OPEN:
            if is_failed or is_slow:
                why = "a probe failed" if is_failed else f"a probe took {took_s:.3f} s"
                return self._opened(now_s, jitter, why, is_slow=not is_failed)
            good = self.good + 1
            return self._closed(now_s) if good >= self.limits.probes else replace(self, good=good)
        counted = self.succeeded_often(ticket, 1, now_s, now_s)
        if not is_failed and not is_slow:
            return counted  # a good call never opens the breaker
        counted = replace(counted, failures=counted.failures | is_failed, slowness=counted.slowness | is_slow)
        return counted._judged(now_s, jitter)

    def _judged(self, now_s: float, jitter: float) -> "Breaker":
        """Opened if too many of the last calls failed or were slow."""
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

    def _half_opened(self, now_s: float) -> "Breaker":
        """Half-open; anew if the probes under way never reported an outcome."""
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


class Guard:
    """Holds the breaker of one dependency. Used on the listeners' loop only.

    A quick success while the breaker is closed costs two comparisons and an addition: such calls are counted here and reported to
    the breaker together, before anything else happens. A state machine test holds this equal to reporting each.
    instead: what happens while it is open, in words for the log and for readiness. changed: called after each change of state."""

    __slots__ = ("_changed", "_first_s", "_last_s", "_quick", "_rng", "breaker", "dependency", "instead", "slow_s", "standing")

    def __init__(
        self,
        dependency: str,
        limits: BreakerLimits,
        *,
        instead: str,
        rng: random.Random | None = None,
        changed: "Callable[[Guard, BreakerState], None] | None" = None,
    ) -> None:
        self.dependency, self.instead, self.breaker = dependency, instead, Breaker(limits)
        self._rng = rng or random.Random()  # noqa: S311  # nosec B311  # spreads cooldowns, keeps no secret
        self._changed = changed
        self.slow_s = limits.slow_s
        self.standing: Ticket | None = Ticket(0)
        """The one ticket of all calls while the breaker is closed; None while it is not."""
        self._quick = 0
        self._first_s = self._last_s = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether every call goes through."""
        return self.standing is not None

    def ask(self, now_s: float) -> Ticket | None:
        """Permission to call the dependency now, or None. The caller reports the outcome by one of the methods below."""
        if self.standing is not None:
            return self.standing
        ticket, breaker = self.breaker.ask(now_s)
        self._replace(breaker)
        return ticket

    def would_ask(self, now_s: float) -> bool:
        """Whether `ask` would give permission now. Changes nothing."""
        return self.standing is not None or self.breaker.ask(now_s)[0] is not None

    def retry_after_s(self, now_s: float) -> float:
        """Seconds until the dependency may be called again."""
        return max(self.breaker.until_s - now_s, 0.0)

    def succeeded(self, ticket: Ticket, took_s: float, now_s: float) -> None:
        """The call succeeded."""
        if ticket is not self.standing or took_s > self.slow_s:
            self._report_quick()
            self._replace(self.breaker.succeeded(ticket, took_s, now_s, self._jitter()))
            return
        if not self._quick:
            self._first_s = now_s
        elif now_s - self._last_s > self.breaker.limits.forget_s:
            self._report_quick()
            self._first_s = now_s
        self._quick += 1
        self._last_s = now_s

    def failed(self, ticket: Ticket, took_s: float, now_s: float) -> None:
        """The call failed by the dependency's fault."""
        self._report_quick()
        self._replace(self.breaker.failed(ticket, took_s, now_s, self._jitter()))

    def unused(self, ticket: Ticket) -> None:
        """The call says nothing about the dependency."""
        if ticket is not self.standing:
            self._replace(self.breaker.unused(ticket))

    def _report_quick(self) -> None:
        """Report the quick successes to the breaker."""
        if self._quick and self.standing is not None:
            self.breaker = self.breaker.succeeded_often(self.standing, self._quick, self._first_s, self._last_s)
        self._quick = 0

    def _replace(self, breaker: Breaker) -> None:
        before, self.breaker = self.breaker, breaker
        if breaker.generation == before.generation:
            return
        self.standing = Ticket(breaker.generation) if breaker.state is BreakerState.CLOSED else None
        if breaker.state is not before.state and self._changed is not None:
            self._changed(self, before.state)

    def _jitter(self) -> float:
        return self._rng.uniform(-1.0, 1.0)


class Breakers:
    """The guards of one replica by dependency: `features`, `cache`, `model:<name>/<version>/<variant>`."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._guards: dict[str, Guard] = {}
        self._rng = rng
        self.changes: Counter[tuple[str, str]] = Counter()
        """How often each breaker entered each state, by (dependency, state). The count of a dependency that is there only grows."""

    def new(self, dependency: str, limits: BreakerLimits, *, instead: str) -> Guard:
        """Make a closed guard for a dependency; it replaces the former one."""
        made = self._guards[dependency] = Guard(dependency, limits, instead=instead, rng=self._rng, changed=self._log_change)
        return made

    def keep(self, kind: str, dependencies: Iterable[str]) -> None:
        """Remove the guards of this kind (`model:`) whose dependency is not among these, and of their counts all but those of the last
        GONE."""
        wanted = set(dependencies)
        self._guards = {name: g for name, g in self._guards.items() if name in wanted or not name.startswith(kind)}
        gone = list(dict.fromkeys(name for name, _ in self.changes if name not in wanted and name.startswith(kind)))
        if gone:  # those that were there last come last
            told = frozenset(gone[-GONE:])
            still = [key for key in self.changes if key[0] in told]
            there = [key for key in self.changes if key[0] in wanted or not key[0].startswith(kind)]
            self.changes = Counter({key: self.changes[key] for key in (*still, *there)})

    def states(self) -> Mapping[str, BreakerState]:
        """The state of each breaker, by dependency."""
        return {name: guard.breaker.state for name, guard in self._guards.copy().items()}

    def degraded(self) -> tuple[str, ...]:
        """One line for each breaker that is not closed: its state, why, and what happens instead."""
        return tuple(
            f"{g.dependency}: breaker {NAMES[g.breaker.state]}, {g.breaker.why}; {g.instead}"
            for g in self._guards.values()
            if not g.is_closed
        )

    def _log_change(self, guard: Guard, before: BreakerState) -> None:
        """One line in the log for each change. Repeated openings of a dependency that stays down are INFO."""
        breaker, name = guard.breaker, guard.dependency
        self.changes[name, NAMES[breaker.state]] += 1
        if breaker.state is BreakerState.CLOSED:
            _log.info("breaker of %s closed after %d good probes: all calls pass again", name, breaker.limits.probes)
        elif breaker.state is BreakerState.OPEN:
            wait_s = breaker.until_s - breaker.changed_s
            level = logging.WARNING if before is BreakerState.CLOSED or breaker.openings <= 1 else logging.INFO
            _log.log(level, "breaker of %s opened: %s; %s; it is probed in %.1f s", name, breaker.why, guard.instead, wait_s)
        else:
            _log.debug("breaker of %s is half-open: %d probes", name, breaker.limits.probes)
