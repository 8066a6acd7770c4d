"""A far end in memory (port SinkTransport)."""

from collections.abc import Callable, Sequence

from serving.sinks.alert import SinkAlert
from serving.sinks.errors import FarEndDown
from serving.sinks.ports import TAKEN, SendAnswer


class FarEndInMemory:
    """Takes alerts, or answers as `judge` says. is_down: it cannot be reached."""

    label = "memory"

    def __init__(self, judge: Callable[[SinkAlert], SendAnswer] = lambda alert: TAKEN, most: int = 1_000_000) -> None:
        self.judge, self.most = judge, most
        self.is_down = False
        self.tries = 0
        self.taken: list[SinkAlert] = []
        self.batches: list[int] = []
        self.is_closed = False

    def send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        self.tries += 1
        if self.is_down:
            raise FarEndDown("memory: it is down")
        if len(alerts) > self.most:
            return [SendAnswer("split", "too many")] * len(alerts)
        answers = [self.judge(alert) for alert in alerts]
        self.taken += [alert for alert, answer in zip(alerts, answers, strict=True) if answer.what == "taken"]
        self.batches.append(len(alerts))
        return answers

    def close(self) -> None:
        self.is_closed = True
