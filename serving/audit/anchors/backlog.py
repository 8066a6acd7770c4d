"""Checkpoints that wait to be published at one anchor, and the time of the next attempt. Pure: no clock, no thread.

Of each log only the newest checkpoint waits: it covers all before it. So memory is bounded, however long an anchor is down."""

from typing import Final

MOST_LOGS: Final = 256
"""Logs of which a checkpoint may wait; beyond it the one that has waited longest is given up and counted."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""Between two tries while an anchor refuses; the pause doubles from the first to the longest."""


class AnchorBacklog:
    """The checkpoints that wait for one anchor. every_s: time between two publications; times are monotonic, in seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._waiting: dict[str, tuple[float, str]] = {}
        self._is_urgent = False
        self._not_before_s = float("-inf")
        self._pause_s = 0.0
        self.published = 0
        self.failed = 0
        self.given_up = 0
        self.problem = ""
        """Why the last try failed; empty after one that did not."""

    def offer(self, log: str, note: str, now_s: float, *, is_urgent: bool) -> None:
        """Take the newest checkpoint of a log. is_urgent: publish it as soon as the anchor can, not at the next interval."""
        since_s = self._waiting.pop(log, (now_s, ""))[0]
        self._waiting[log] = (since_s, note)
        self._is_urgent |= is_urgent
        if len(self._waiting) > MOST_LOGS:
            del self._waiting[min(self._waiting, key=lambda name: self._waiting[name][0])]
            self.given_up += 1

    def due_s(self) -> float | None:
        """When to publish; None while nothing waits."""
        if not self._waiting:
            return None
        if self._pause_s or not self._is_urgent:
            return self._not_before_s
        return float("-inf")

    def waiting(self) -> list[tuple[str, str]]:
        """What to publish: (log, note), the longest waiting first."""
        return [(log, note) for log, (_, note) in sorted(self._waiting.items(), key=lambda item: item[1][0])]

    def succeeded(self, log: str, note: str) -> None:
        """A note is kept by the anchor. One that took its place meanwhile goes on waiting."""
        self.published += 1
        if self._waiting.get(log, (0.0, ""))[1] == note:
            del self._waiting[log]

    def done(self, now_s: float) -> None:
        """All that was due is published."""
        self._is_urgent, self._pause_s, self.problem = False, 0.0, ""
        self._not_before_s = now_s + self._every_s

    def refused(self, problem: str, now_s: float) -> None:
        """A try failed: wait longer than the last time."""
        self.failed += 1
        self.problem = problem
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._not_before_s = now_s + self._pause_s

    def lag_s(self, now_s: float) -> float:
        """How long the longest waiting checkpoint has waited; 0 while nothing waits."""
        return max((now_s - since_s for since_s, _ in self._waiting.values()), default=0.0)
