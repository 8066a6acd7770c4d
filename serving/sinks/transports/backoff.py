"""How long to wait before the next attempt: exponential with full jitter, never shorter than the destination asks."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits grow from `first_s`, doubling, to `most_s`. A far end may ask for at most `most_asked_s`."""

    first_s: float = 0.5
    most_s: float = 60.0
    most_asked_s: float = 900.0

    def wait_s(self, tries: int, rng: Random, asked_s: float | None = None) -> float:
        """Seconds before try number `tries` + 1.

        Source: Brooker (2015), "Exponential Backoff and Jitter", with half of the wait fixed, so that no try is immediate.

        >>> Backoff(first_s=1, most_s=8).wait_s(10, Random(1)) <= 8
        True
        """
        most = min(self.most_s, self.first_s * 2.0 ** min(max(tries - 1, 0), 30))
        return max(most / 2 + rng.random() * most / 2, min(asked_s or 0.0, self.most_asked_s))
