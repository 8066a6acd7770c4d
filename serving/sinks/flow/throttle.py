"""How many alerts a sink gets: token buckets, one for the sink and one for each group. Time comes in as an argument, in seconds."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

MOST_GROUPS: Final = 10_000
"""Groups whose buckets are remembered; the one that was not asked for longest is forgotten, and begins full again."""


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """Limits on the rate of alerts of one sink. None: no limit."""

    per_second: float | None = None
    burst: int = 100
    group_per_minute: float | None = None
    group_burst: int = 10


class TokenBucket:
    """Holds at most `burst` tokens, filled at `per_s` tokens a second; it begins full."""

    __slots__ = ("_at_s", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s, self._burst, self._tokens, self._at_s = per_s, burst, float(burst), now_s

    def has_one(self, now_s: float) -> bool:
        """Whether a token can be taken now."""
        self._tokens = min(float(self._burst), self._tokens + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = max(self._at_s, now_s)
        return self._tokens >= 1.0

    def take(self) -> None:
        """Take a token that `has_one` saw."""
        self._tokens -= 1.0


class Throttle:
    """The buckets of one sink."""

    def __init__(self, limits: ThrottleLimits, now_s: float) -> None:
        self._limits = limits
        self._whole = None if limits.per_second is None else TokenBucket(limits.per_second, limits.burst, now_s)
        self._groups: OrderedDict[str, TokenBucket] = OrderedDict()

    def refuses(self, group: str, now_s: float) -> Literal["sink", "group"] | None:
        """Which limit an alert is over; None: it may pass, and its tokens are taken."""
        bucket = self._bucket(group, now_s)
        if bucket is not None and not bucket.has_one(now_s):
            return "group"
        if self._whole is not None:
            if not self._whole.has_one(now_s):
                return "sink"
            self._whole.take()
        if bucket is not None:
            bucket.take()
        return None

    def _bucket(self, group: str, now_s: float) -> TokenBucket | None:
        limits = self._limits
        if limits.group_per_minute is None:
            return None
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = TokenBucket(limits.group_per_minute / 60, limits.group_burst, now_s)
            if len(self._groups) > MOST_GROUPS:
                self._groups.popitem(last=False)
        else:
            self._groups.move_to_end(group)
        return found
