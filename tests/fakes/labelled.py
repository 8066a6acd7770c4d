"""A prediction log and labels for tests: written by the code that writes the real ones."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lifecycle.labels.label import Label
from serving.audit.encoding import encode_record
from serving.audit.record import AuditRecord
from serving.audit.segments import ChainedSegments

START_US = 1_760_000_000_000_000
SECOND_US = 1_000_000


def record(
    number: int,
    *,
    verdicts: Sequence[str] = ("benign",),
    scores: Sequence[float] | None = None,
    model: str = "flows",
    variant: str = "stable",
    revision: str = "sha256:aa",
    request_id: str | None = None,
    row_numbers: list[int] | None = None,
    receipt: str | None = None,
    columns: dict[str, list[float]] | None = None,
    door: str = "http",
) -> AuditRecord:
    """The record of one answer; its time is the number, in seconds after START_US."""
    rows = len(verdicts)
    return AuditRecord(
        receipt=receipt or f"r-{number:x}",
        time_us=START_US + number * SECOND_US,
        door=door,
        model=model,
        version="1",
        revision=revision,
        variant=variant,
        source="model",
        request_id=request_id,
        trace_id=None,
        rows=rows,
        inputs={},
        features={name: np.array(values, dtype=np.float64) for name, values in (columns or {}).items()},
        event_times_us={},
        operating_point="default",
        scores=np.array(scores if scores is not None else [0.9 if v == "alert" else 0.1 for v in verdicts]),
        verdicts=np.array([("benign", "investigate", "alert", "unknown").index(v) for v in verdicts], dtype=np.intp),
        degraded=np.zeros(rows, dtype=bool),
        latency_us=100,
        row_numbers=row_numbers,
    )


@dataclass
class PredictionLog:
    """A prediction log in a folder, appended to by hand."""

    folder: Path
    segment_bytes: int = 1 << 20
    clock: "itertools.count[int]" = field(default_factory=lambda: itertools.count(START_US))

    def append(self, *records: AuditRecord) -> None:
        """Write records, synced."""
        chain = ChainedSegments(
            self.folder, "replica", segment_bytes=self.segment_bytes, signer=lambda: None, now_us=self.clock.__next__
        )
        chain.resume()
        for one in records:
            chain.append([encode_record(one)])
        chain.checkpoint()
        chain.leave_open()


def said(number: int, verdict: str = "attack", event: str | None = None, **fields: object) -> Label:
    """A label of the event of that number's record, given an hour later."""
    known = {"label_id": f"l-{number}", "event": event or f"r-{number:x}", "model": "flows", "analyst": "ada"}
    return Label(**{**known, "verdict": verdict, "time_us": START_US + 3600 * SECOND_US + number, **fields})  # type: ignore[arg-type]
