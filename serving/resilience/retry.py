"""Retries: only of calls without side effects, within the time left, and limited by a budget. Pure.

A read that was lost with its connection may be retried. A slow or refusing store is not: retries would keep it overloaded. The budget is
a share of the calls, so a dependency that always fails gets 10 % more calls, not twice as many."""

import random
from typing import Final

SHARE: Final = 0.1
_MOST: Final = 20.0


class RetryBudget:
    """Tokens: each call earns a share of one, each retry spends one. Begins full, so that the first calls may be retried too.

    share: retries a call, on the long run. most: retries at once."""

    __slots__ = ("_most", "_share", "refused", "spent", "tokens")

    def __init__(self, share: float = SHARE, most: float = _MOST) -> None:
        self._share, self._most = share, most
        self.tokens = most
        self.spent = self.refused = 0

    def earn(self) -> None:
        """A call was made."""
        tokens = self.tokens + self._share
        self.tokens = tokens if tokens < self._most else self._most

    def spend(self) -> bool:
        """Whether one more call may be made in place of one that failed."""
        if self.tokens < 1.0:
            self.refused += 1
            return False
        self.tokens -= 1.0
        self.spent += 1
        return True


def pause_s(attempt: int, left_s: float, rng: random.Random, *, base_s: float = 0.002, most_s: float = 0.05) -> float | None:
    """How long to wait before retry number `attempt` (from 0): anywhere up to a bound that doubles, so that callers do not come in
    step; None if less than twice that is left. Source: "full jitter", M. Brooker (2015), AWS Architecture Blog."""
    wait_s = rng.uniform(0.0, min(base_s * 2.0 ** min(attempt, 32), most_s))
    return wait_s if left_s > 2 * wait_s else None
