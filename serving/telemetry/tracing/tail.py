"""Which requests keep their trace although they were not sampled: failed, slow and degraded ones. Pure; time is an argument.

Each reason keeps a bounded number of traces a second. In an overload every request fails, and the collector must not be overloaded too.
One reason does not use up another's share."""

from typing import Final, Literal

KeepReason = Literal["error", "slow", "degraded"]
KEEP_REASONS: Final[tuple[KeepReason, ...]] = ("error", "slow", "degraded")


class KeepPolicy:
    """slow_s: a request that takes longer is slow. per_s: traces that each reason may keep in a second; 0 keeps none."""

    __slots__ = ("_kept", "_second", "is_on", "per_s", "slow_s")

    def __init__(self, slow_s: float, per_s: int) -> None:
        self.slow_s, self.per_s = slow_s, per_s
        self.is_on = per_s > 0
        """Whether it keeps anything."""
        self._second: dict[KeepReason, int] = {}
        self._kept: dict[KeepReason, int] = {}

    def may_keep(self, reason: KeepReason, now_s: float) -> bool:
        """Whether one more of this reason may be kept in the second of `now_s`; it counts as kept if so."""
        second = int(now_s)
        if self._second.get(reason) != second:
            self._second[reason], self._kept[reason] = second, 0
        if self._kept[reason] >= self.per_s:
            return False
        self._kept[reason] += 1
        return True


KEEP_NONE: Final = KeepPolicy(float("inf"), 0)
