"""Delivers alarms to a receiver, in order, each at least once. The file of alarms is the spool, and a small file has the position.

What was handed over is written down after it was: a crash between the two hands the alarm over again, with the same id, by which the
receiver knows it. Nothing is lost while the receiver is away."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.monitoring.alarm import Alarm, AlarmLog
from serving.files.whole_files import write_whole

MOST_AT_ONCE: Final = 50
"""Alarms of one delivery; the others wait for the next, so that a slow receiver holds up no look for long."""
LONGEST_WAIT_S: Final = 300.0
_FIRST_WAIT_S: Final = 1.0
Send = Callable[[Alarm], None]
"""Hands one alarm over. Raises DeliveryFailed if it may be tried again."""


class DeliveryFailed(Exception):
    """The receiver did not take an alarm; the message says what it answered."""


class _Progress(msgspec.Struct, frozen=True):
    delivered: int


class AlarmDelivery:
    """Hands the alarms of one file on to one receiver. name: of its file, STORE/monitoring/delivered/NAME.json."""

    def __init__(self, alarms: AlarmLog, folder: Path, name: str, send: Send) -> None:
        self.name = name
        self._alarms, self._send = alarms, send
        self._path = folder / "delivered" / f"{name}.json"
        self._delivered: int | None = None
        self._size = -1
        self._failures, self._not_before_s = 0, 0.0
        self.waiting = 0
        """Alarms that the receiver has not taken yet."""

    def deliver(self, now_s: float) -> None:
        """Hand over what is new, at most MOST_AT_ONCE. now_s: monotonic time.

        Raises DeliveryFailed where the receiver is away, after which attempts wait longer and longer; AlarmError, OSError."""
        size = self._alarms.path.stat().st_size if self._alarms.path.exists() else 0
        if (size == self._size and not self.waiting) or now_s < self._not_before_s:
            return
        delivered = self._read()
        pending = list(islice(self._alarms.read(), delivered, None))
        self.waiting = len(pending)
        for alarm in pending[:MOST_AT_ONCE]:
            try:
                self._send(alarm)
            except DeliveryFailed:
                self._failures += 1
                self._not_before_s = now_s + min(_FIRST_WAIT_S * 2 ** (self._failures - 1), LONGEST_WAIT_S)
                raise
            self._failures = 0
            self._write(delivered := delivered + 1)
            self.waiting -= 1
        self._size = size if not self.waiting else -1

    def _read(self) -> int:
        if self._delivered is None:
            try:
                self._delivered = msgspec.json.decode(self._path.read_bytes(), type=_Progress).delivered
            except (FileNotFoundError, ValueError):
                self._delivered = 0
        return self._delivered

    def _write(self, delivered: int) -> None:
        self._delivered = delivered
        write_whole(self._path, msgspec.json.encode(_Progress(delivered)).decode())
