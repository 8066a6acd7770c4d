"""Chained logs on disk for the tests of archive and query: written by the real writer's parts, with a clock of their own."""

from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.governance.archive.record_log import RecordLog
from serving.audit.encoding import encode_record
from serving.audit.record import AuditRecord
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer
from tests.fakes.serving.records import record

START_US = 1_700_000_000_000_000


class LogWorld:
    """A store with a log that tests append to. Each `write` is one finished segment unless it is left open."""

    def __init__(self, folder: Path) -> None:
        self.store = folder
        self.folder = folder / "audit"
        self.folder.mkdir(parents=True)
        self.now_us = START_US
        self.signer = Signer.create(folder / "keys" / "audit.pem", "audit")
        trusted = folder / "keys" / "trusted"
        trusted.mkdir()
        (trusted / "audit.pub").write_text(f"{self.signer.verifier}\n")
        self._logs: dict[str, ChainedSegments] = {}

    @property
    def place(self) -> ArchivePlace:
        return ArchivePlace(str(self.store / "archive"))

    @property
    def log(self) -> RecordLog:
        return RecordLog(self.folder, self.place)

    def now(self) -> int:
        self.now_us += 1
        return self.now_us

    def write(self, *records: AuditRecord, log: str = "1-aa", is_open: bool = False) -> list[bytes]:
        """Append records as a segment of `log`; their lines without the newline."""
        chain = self._logs.get(log)
        if chain is None:
            chain = self._logs[log] = ChainedSegments(
                self.folder, log, segment_bytes=1 << 30, signer=lambda: self.signer, now_us=self.now
            )
        lines = [encode_record(r) for r in records]
        chain.append(lines)
        if not is_open:
            chain.end()
        return [line[:-1] for line in lines]

    def some(self, count: int, *, identity: str = "aa", first: int = 1, **changes: Any) -> list[AuditRecord]:
        """Records of one replica, a second apart."""
        made = []
        for number in range(first, first + count):
            self.now_us += 1_000_000
            made.append(record(receipt=f"{identity}-{number:x}", time_us=self.now_us, **changes))
        return made


def batch(receipt: str, rows: int, **changes: Any) -> AuditRecord:
    """A record of many rows, some of which have no score."""
    scores = np.linspace(0, 1, rows, dtype=np.float32)
    scores[::3] = np.nan
    return record(
        receipt=receipt,
        rows=rows,
        inputs={"level": {"datatype": "FP32", "shape": [rows], "data": list(range(rows))}},
        features={"flows__count": np.arange(rows, dtype=np.float32)},
        scores=scores,
        verdicts=["benign"] * (rows - 1) + ["alert"],
        degraded=np.zeros(rows, np.bool_),
        **changes,
    )
