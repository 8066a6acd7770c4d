"""A folder of chained logs, written by the writers themselves: several replicas, a rotated key, retention, one that was killed and sealed.

alpha   four segments, ended; its key is replaced after the second
bravo   five segments, ended; the first two were removed by retention
charlie two segments, killed; delta sealed it
delta   runs: three segments, the last one open, its last records not yet below a checkpoint"""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from serving.audit.durability.sealing import seal_abandoned
from serving.audit.keys.trust import KeyNote, Trust
from serving.audit.note_files import append_note
from serving.audit.segment_files import SegmentFiles, read_notes, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer, VerifierKey
from serving.audit.tombstones import remove_segment

SHARES = {"alpha": 0.4, "bravo": 0.25, "charlie": 0.2, "delta": 0.15}
SEGMENTS = {"alpha": 4, "bravo": 5, "charlie": 2, "delta": 3}
REMOVED = 2
"""Segments of bravo that retention removed."""
TAIL = 3
"""Records of delta behind its last checkpoint."""
START_US = 1_760_000_000_000_000


@dataclass
class HonestLogs:
    """folder: of the logs. first, second: the keys, the second in place of the first. anchored: what an anchor outside holds."""

    folder: Path
    first: Signer
    second: Signer
    records: int
    checkpoints_a_segment: int
    anchored: list[tuple[str, str]] = field(default_factory=list)
    _clock: Iterator[int] = field(default_factory=lambda: itertools.count(START_US, 10_000))

    @property
    def pinned(self) -> list[VerifierKey]:
        """What a verifier pins: the first key, which vouches for the second."""
        return [self.first.verifier]

    @property
    def now_us(self) -> int:
        return START_US + 3600 * 1_000_000

    def trust_of(self, folder: Path) -> Trust:
        return Trust.read(folder, self.pinned)

    def segment(self, log: str, number: int) -> SegmentFiles:
        return next(files for files in segments_in(self.folder) if (files.log, files.number) == (log, number))

    def write(self) -> None:
        """Write everything, in the order in which it would have happened."""
        now_us = self._clock.__next__
        signers = {"alpha": self.first, "bravo": self.first, "charlie": self.first, "delta": self.second}
        logs = {
            name: ChainedSegments(self.folder, name, segment_bytes=1, signer=lambda name=name: signers[name], now_us=now_us)
            for name in SHARES
        }
        rounds = max(SEGMENTS.values())
        for number in range(1, rounds + 1):
            for name in ("alpha", "bravo", "charlie"):
                if number <= SEGMENTS[name]:
                    self._segment(logs[name], name, is_open=name == "charlie" and number == SEGMENTS[name])
            if number == 2:
                note = KeyNote(self.second.verifier, self.first.verifier, next(self._clock)).text()
                append_note(self.folder / "chain" / "keys.jsonl", self.first.sign(note))
                signers["alpha"] = self.second
        for name in ("alpha", "bravo"):
            logs[name].end()
        logs["charlie"]._segment.close()  # as the end of the process does
        seal_abandoned(self.folder, "delta", self.second, next(self._clock))
        for number in range(1, SEGMENTS["delta"] + 1):
            self._segment(logs["delta"], "delta", is_open=number == SEGMENTS["delta"])
        for number in range(1, REMOVED + 1):
            files = self.segment("bravo", number)
            remove_segment(files, self.second, now_us=next(self._clock), reason="past retention", by="retention")
        for files in segments_in(self.folder):
            self.anchored += [("depot", note) for note in read_notes(files.checkpoints)[-1:]]
        logs["delta"].append(self._lines("delta", TAIL))
        logs["delta"].leave_open()

    def _segment(self, log: ChainedSegments, name: str, *, is_open: bool) -> None:
        """One segment of a log. Writers are closed at the size of a segment; here by hand, so that each has its share."""
        log._segment_bytes = 1 << 40
        share = int(self.records * SHARES[name] / SEGMENTS[name])
        batches = self.checkpoints_a_segment
        for batch in range(batches):
            count = share // batches + (share % batches if batch == 0 else 0)
            log.append(self._lines(name, count))
            if not (is_open and name == "charlie" and batch == batches - 1):
                log.checkpoint()
        if not is_open:
            log.end()

    def _lines(self, name: str, count: int) -> list[bytes]:
        return [record_line(name, next(self._clock)) for _ in range(count)]


def record_line(name: str, time_us: int, *, verdict: str = "benign", size: int = 640) -> bytes:
    """A record of about the real size; the same arguments make the same line."""
    rng = random.Random(f"{name}{time_us}")
    record = {
        "receipt": f"{name}-{rng.getrandbits(40):010x}",
        "time_us": time_us,
        "door": "http",
        "model": ("flows", "nsl-kdd")[time_us // 10_000 % 2],
        "version": "1",
        "revision": "sha256:5b4c",
        "variant": "stable",
        "source": "model",
        "request_id": None,
        "trace_id": None,
        "rows": 1,
        "inputs": {},
        "event_times_us": {},
        "operating_point": "balanced",
        "degraded": [False],
        "latency_us": rng.randrange(300, 900),
        "scores": [round(rng.random(), 9)],
        "verdicts": [verdict],
        "features": {f"feature_{i}": [round(rng.random() * 1000, 6)] for i in range(size // 45)},
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def write_honest_logs(folder: Path, records: int, *, checkpoints_a_segment: int = 4) -> HonestLogs:
    """The logs of this module's docstring, with about so many records."""
    keys = folder.parent / "keys"
    logs = HonestLogs(
        folder, Signer.create(keys / "first.pem"), Signer.create(keys / "second.pem"), records, checkpoints_a_segment
    )
    logs.write()
    return logs
