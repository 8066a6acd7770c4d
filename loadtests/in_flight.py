"""Events that were sent and have no verdict yet: how long each waited, how many at once, which too long. Core: the caller gives the
time."""


class EventsInFlight:
    """The events by their ids, in the order in which they were sent. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._sent_s: dict[str, float] = {}
        self.most = 0
        """The most events that waited at one time."""

    def __len__(self) -> int:
        return len(self._sent_s)

    def sent(self, event_id: str, now_s: float) -> None:
        """Note that an event was sent now."""
        self._sent_s[event_id] = now_s
        self.most = max(self.most, len(self._sent_s))

    def answered(self, event_id: str, now_s: float) -> float | None:
        """Milliseconds that an event waited for its verdict. None if it does not wait: another client sent it, it was answered before,
        or it is overdue."""
        sent_s = self._sent_s.pop(event_id, None)
        return None if sent_s is None else (now_s - sent_s) * 1000

    def overdue(self, now_s: float, limit_s: float) -> list[float]:
        """Milliseconds that each event has waited that has waited for at least limit_s. These events do not wait any more."""
        late: list[tuple[str, float]] = []
        for event_id, sent_s in self._sent_s.items():
            if now_s - sent_s < limit_s:
                break
            late.append((event_id, (now_s - sent_s) * 1000))
        for event_id, _ in late:
            del self._sent_s[event_id]
        return [waited_ms for _, waited_ms in late]
