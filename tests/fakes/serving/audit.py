"""A prediction log in memory."""

import asyncio
from collections.abc import Sequence

from serving.audit.encoding import decode_record, encode_record
from serving.audit.record import AuditRecord, NotRecorded
from serving.errors import Internal


class MemoryAudit:
    """Keeps what the real log would hold: each record as it reads back. At most `queue` records.

    problem: why nothing can be kept now; None: all is well. hold: commits wait until `release`."""

    def __init__(self, queue: int = 10_000) -> None:
        self._queue = queue
        self._is_closed = False
        self._held: list[tuple[Sequence[AuditRecord], asyncio.Future[None]]] = []
        self.records: list[AuditRecord] = []
        self.dropped = 0
        self.refused = 0
        self.problem: str | None = None
        self.is_holding = False

    @property
    def written(self) -> int:
        return len(self.records)

    @property
    def held(self) -> int:
        """Answers that wait."""
        return len(self._held)

    def append(self, record: AuditRecord) -> None:
        if self._is_closed or self.problem is not None or len(self.records) >= self._queue:
            self.dropped += 1
            return
        try:
            self.records.append(decode_record(encode_record(record)))
        except (TypeError, ValueError):
            self.dropped += 1

    def commit(self, records: Sequence[AuditRecord]) -> "asyncio.Future[None]":
        waiting = asyncio.get_running_loop().create_future()
        self._held.append((records, waiting))
        if not self.is_holding:
            self.release()
        return waiting

    def release(self) -> None:
        """Settle what waits."""
        held, self._held = self._held, []
        for records, waiting in held:
            if not waiting.cancelled():
                self._settle(records, waiting)

    def close(self) -> None:
        self._is_closed = True
        self.release()

    def _settle(self, records: Sequence[AuditRecord], waiting: "asyncio.Future[None]") -> None:
        try:
            kept = [decode_record(encode_record(record)) for record in records]
        except (TypeError, ValueError):
            self.refused += len(records)
            waiting.set_exception(Internal("no form"))
            return
        if self._is_closed or self.problem is not None or len(self.records) + len(kept) > self._queue:
            self.refused += len(records)
            waiting.set_exception(NotRecorded(self.problem or "full", retry_after_s=1.0))
            return
        self.records += kept
        waiting.set_result(None)
