"""Finds the reason codes of alerts that people look at in the list, ahead of anybody who asks: a few at a time, one after another.

The codes are kept in the index, so an alert is explained once. What cannot be explained is not tried again while this process runs."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from operators.console.log_index.alert_queries import AlertRow

MOST_WAITING: Final = 25
"""Alerts that wait; those of the page that was shown last go first."""
PAUSE_S: Final = 0.1
"""Between two, so that pages and replicas of this machine are not kept waiting."""
_MOST_TRIED: Final = 10_000
_log = logging.getLogger("vedette.console")


class ReasonPrefetch:
    """explain: finds and keeps the codes of one alert."""

    def __init__(self, explain: Callable[[AlertRow], None], *, pause_s: float = PAUSE_S) -> None:
        self._explain, self._pause_s = explain, pause_s
        self._waiting: deque[AlertRow] = deque()
        self._tried: set[str] = set()
        self._turn = threading.Condition()
        self._is_running = False

    def ask(self, rows: Iterable[AlertRow]) -> None:
        """Explain these soon, those without codes and rules, that were not tried yet. Returns at once."""
        with self._turn:
            wanted = [row for row in rows if not row.codes and not row.rules and row.event not in self._tried]
            self._waiting = deque(wanted[:MOST_WAITING])
            if self._waiting and not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="vedette-reasons", daemon=True).start()

    def wait(self, within_s: float) -> bool:
        """Wait until nothing waits; whether that came in time."""
        with self._turn:
            return self._turn.wait_for(lambda: not self._is_running, within_s)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._turn:
                if not self._waiting:
                    self._is_running = False
                    self._turn.notify_all()
                    return
                row = self._waiting.popleft()
                if len(self._tried) >= _MOST_TRIED:
                    self._tried.clear()
                self._tried.add(row.event)
            try:
                self._explain(row)
            except Exception as problem:  # whatever a model or its bundle does, the others are explained
                _log.warning("the reasons of %s were not found: %s", row.event, problem)
            pause.wait(self._pause_s)
