"""Which alerts were seen before: a bounded memory of ids."""

from collections import OrderedDict


class RecentIds:
    """Ids of the last `window_s` seconds, at most `most` of them; beyond that the oldest are forgotten."""

    def __init__(self, window_s: float, most: int = 100_000) -> None:
        self._window_s, self.most = window_s, most
        self._seen: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def knows(self, alert_id: str, now_s: float) -> bool:
        """Whether the id was added within the window. now_s: a clock that does not go back."""
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now_s - self._window_s:
                break
            del self._seen[oldest]
        return alert_id in self._seen

    def add(self, alert_id: str, now_s: float) -> None:
        """Remember an id."""
        self._seen[alert_id] = now_s
        self._seen.move_to_end(alert_id)
        if len(self._seen) > self.most:
            self._seen.popitem(last=False)
