"""Who holds the breakers: one Guard a dependency, all on one board that metrics, readiness and the log read.

A call that went well while the breaker is closed costs two comparisons and an addition here: such calls are told to the breaker
together, when something else happens. All of it belongs to the listeners' loop."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from serving.resilience.breaker import Breaker, BreakerLimits, BreakerState, Ticket

_log = logging.getLogger("vedette.breakers")
NAMES: Final[Mapping[BreakerState, str]] = {
    BreakerState.CLOSED: "closed",
    BreakerState.HALF_OPEN: "half-open",
    BreakerState.OPEN: "open",
}


class Guard:
    """One dependency's breaker. instead: what happens while it is open, in words for the log and for readiness."""

    __slots__ = ("_changed", "_fine", "_first_s", "_last_s", "_rng", "breaker", "dependency", "instead", "slow_s", "standing")

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
        self._rng = rng or random.Random()  # noqa: S311 - spreads cooldowns, keeps no secret
        self._changed = changed
        self.slow_s = limits.slow_s
        self.standing: Ticket | None = Ticket(0)
        """The ticket that everybody gets while the breaker is closed; None while it is not."""
        self._fine = 0
        self._first_s = self._last_s = 0.0

    @property
    def is_closed(self) -> bool:
        """Calls go through as ever."""
        return self.standing is not None

    def ask(self, now_s: float) -> Ticket | None:
        """Leave to call the dependency now; whoever gets it tells the outcome by one of the other methods."""
        if self.standing is not None:
            return self.standing
        ticket, breaker = self.breaker.ask(now_s)
        self._put(breaker)
        return ticket

    def retry_after_s(self, now_s: float) -> float:
        """When the dependency may be asked again, seconds from now."""
        return max(self.breaker.until_s - now_s, 0.0)

    def succeeded(self, ticket: Ticket, took_s: float, now_s: float) -> None:
        """The call came back well."""
        if ticket is not self.standing or took_s > self.slow_s:
            self._tell()
            self._put(self.breaker.succeeded(ticket, took_s, now_s, self._jitter()))
            return
        if not self._fine:
            self._first_s = now_s
        elif now_s - self._last_s > self.breaker.limits.forget_s:
            self._tell()
            self._first_s = now_s
        self._fine += 1
        self._last_s = now_s

    def failed(self, ticket: Ticket, took_s: float, now_s: float) -> None:
        """The call failed by the dependency's fault."""
        self._tell()
        self._put(self.breaker.failed(ticket, took_s, now_s, self._jitter()))

    def unused(self, ticket: Ticket) -> None:
        """The call says nothing about the dependency."""
        if ticket is not self.standing:
            self._put(self.breaker.unused(ticket))

    def _tell(self) -> None:
        """Tell the breaker of the calls that went well."""
        if self._fine and self.standing is not None:
            self.breaker = self.breaker.fine(self.standing, self._fine, self._first_s, self._last_s)
        self._fine = 0

    def _put(self, breaker: Breaker) -> None:
        before, self.breaker = self.breaker, breaker
        if breaker.generation == before.generation:
            return
        self.standing = Ticket(breaker.generation) if breaker.state is BreakerState.CLOSED else None
        if breaker.state is not before.state and self._changed is not None:
            self._changed(self, before.state)

    def _jitter(self) -> float:
        return self._rng.uniform(-1.0, 1.0)


class Breakers:
    """Every guard of one replica, by dependency: `features`, `cache`, `model:<name>/<version>/<variant>`."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._guards: dict[str, Guard] = {}
        self._rng = rng
        self.changes: Counter[tuple[str, str]] = Counter()
        """How often each dependency's breaker entered each state, by (dependency, state); never goes back."""

    def new(self, dependency: str, limits: BreakerLimits, *, instead: str) -> Guard:
        """A closed guard for a dependency, in place of the one it had."""
        made = self._guards[dependency] = Guard(dependency, limits, instead=instead, rng=self._rng, changed=self._note)
        return made

    def keep(self, kind: str, dependencies: Iterable[str]) -> None:
        """Forget every other dependency of this kind (`model:`): it is not loaded any more."""
        kept = set(dependencies)
        self._guards = {name: g for name, g in self._guards.items() if name in kept or not name.startswith(kind)}

    def states(self) -> Mapping[str, BreakerState]:
        """By dependency."""
        return {name: guard.breaker.state for name, guard in self._guards.copy().items()}

    def degraded(self) -> tuple[str, ...]:
        """What is out and what happens instead, a line each; empty when all is well."""
        return tuple(
            f"{g.dependency}: breaker {NAMES[g.breaker.state]}, {g.breaker.why}; {g.instead}"
            for g in self._guards.values()
            if not g.is_closed
        )

    def _note(self, guard: Guard, before: BreakerState) -> None:
        """One line a change: why, and what happens now. Probing again and again is not told each time."""
        breaker, name = guard.breaker, guard.dependency
        self.changes[name, NAMES[breaker.state]] += 1
        if breaker.state is BreakerState.CLOSED:
            _log.info("breaker of %s closed after %d good probes: it is asked as before", name, breaker.limits.probes)
        elif breaker.state is BreakerState.OPEN:
            wait_s = breaker.until_s - breaker.changed_s
            level = logging.WARNING if before is BreakerState.CLOSED or breaker.openings <= 1 else logging.INFO
            _log.log(
                level, "breaker of %s opened: %s; %s; it is asked again in %.1f s", name, breaker.why, guard.instead, wait_s
            )
        else:
            _log.debug("breaker of %s is half-open: %d probes", name, breaker.limits.probes)
