"""A prediction log in memory."""

from serving.audit.encoding import decode_record, encode_record
from serving.audit.record import AuditRecord


class MemoryAudit:
    """Keeps what the real log would hold: each record as it reads back. At most `queue` records."""

    def __init__(self, queue: int = 10_000) -> None:
        self._queue = queue
        self._is_closed = False
        self.records: list[AuditRecord] = []
        self.dropped = 0

    @property
    def written(self) -> int:
        return len(self.records)

    def append(self, record: AuditRecord) -> None:
        if self._is_closed or len(self.records) >= self._queue:
            self.dropped += 1
            return
        try:
            self.records.append(decode_record(encode_record(record)))
        except (TypeError, ValueError):
            self.dropped += 1

    def close(self) -> None:
        self._is_closed = True
