"""Limits of rates: a token bucket for each caller, of requests and of rows. Core; the time is an argument.

A bucket holds `rate * burst_s` at most and refills at `rate`. A request of more rows than the bucket holds is let in when the bucket is
full, and is paid for afterwards: the bucket goes below zero. Limits are of one replica: with N replicas a caller gets up to N times as
much."""

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from serving.access.policy import RateLimit
from serving.access.refusals import RateLimited

MOST_CLIENTS: Final = 20_000
"""Buckets kept; the one that was idle longest goes first, and begins full if its client comes back."""


class Bucket:
    """One token bucket. rate: tokens a second, above 0; size: the most it holds."""

    __slots__ = ("_at_s", "_level", "rate", "size")

    def __init__(self, rate: float, burst_s: float, now_s: float) -> None:
        self.rate, self.size = rate, max(1.0, rate * burst_s)
        self._level, self._at_s = self.size, now_s

    def take(self, amount: float, now_s: float) -> float:
        """0.0 if so many tokens were taken; else the seconds until they can be, and none was taken."""
        level = min(self.size, self._level + (now_s - self._at_s) * self.rate)
        self._at_s = now_s
        needed = min(amount, self.size)
        if level + 1e-9 < needed:
            self._level = level
            return (needed - level) / self.rate
        self._level = level - amount
        return 0.0

    def is_empty(self, now_s: float) -> bool:
        """Whether not even one token is there."""
        return min(self.size, self._level + (now_s - self._at_s) * self.rate) < 1.0


class ClientLimits:
    """The buckets of one client."""

    __slots__ = ("_limit", "_requests", "_rows")

    def __init__(self, limit: RateLimit, now_s: float) -> None:
        self._limit = limit
        self._requests = Bucket(limit.requests_per_s, limit.burst_s, now_s) if limit.requests_per_s else None
        self._rows = Bucket(limit.rows_per_s, limit.burst_s, now_s) if limit.rows_per_s else None

    def request(self, now_s: float) -> None:
        """Take one request. Raises RateLimited."""
        if self._requests is not None and (wait_s := self._requests.take(1.0, now_s)):
            raise self._over(self._requests, "requests", wait_s)

    def rows(self, rows: int, now_s: float) -> None:
        """Take the rows of a request. Raises RateLimited."""
        if self._rows is not None and (wait_s := self._rows.take(float(rows), now_s)):
            raise self._over(self._rows, "rows", wait_s)

    def _over(self, bucket: Bucket, what: str, wait_s: float) -> RateLimited:
        window_s = max(1, round(self._limit.burst_s))
        return RateLimited(
            f"over the limit of {bucket.rate:g} {what} a second for this caller; send more slowly, or ask for a higher limit",
            retry_after_s=wait_s,
            policy=f'"caller";q={max(1, int(bucket.rate * window_s))};w={window_s};qu="{"requests" if what == "requests" else "rows"}"',
        )


class RateLimits:
    """Buckets by client; at most MOST_CLIENTS."""

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._clients: OrderedDict[str, ClientLimits] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._clients)

    def of(self, client: str, limit: RateLimit, now_s: float) -> ClientLimits:
        """The buckets of a client, made at its first request."""
        found = self._clients.get(client)
        if found is None:
            if len(self._clients) >= self._most:
                self._clients.popitem(last=False)
            found = self._clients[client] = ClientLimits(limit, now_s)
        else:
            self._clients.move_to_end(client)
        return found

    def clear(self) -> None:
        """Forget all: the limits have changed."""
        self._clients.clear()


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What counts as one client without a name: an IPv4 address, or the /64 of an IPv6 address, which one person may have whole."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
