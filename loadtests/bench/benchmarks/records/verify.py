"""`vedette audit verify`: records hashed and checked a second, of one replica's signed log.

The log is written by the writers' own code: 1,000 records below each checkpoint, segments of 64 MiB. Rates are by the processor time of the
process, which has one thread at work, so they are rates of one core; `wall` is by the clock. The files were just written, so the system
has most of them in memory."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lifecycle.governance.verify.findings import Report
from lifecycle.governance.verify.run import Verification
from loadtests.bench.benchmarks.records.sql import answers
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.targets import value
from serving.audit.keys.trust import Trust
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer

RECORDS: Final = 300_000
QUICK_RECORDS: Final = 60_000
LEAST_PER_S: Final = 200_000
A_CHECKPOINT: Final = 1_000
SEGMENT_BYTES: Final = 64 * 1024 * 1024
BEGAN_US: Final = 1_700_000_000_000_000


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Write a log, then verify it once per round. Raises BenchError unless every record is found right."""
    records = QUICK_RECORDS if quick else RECORDS
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        signer = write_log(Path(name) / "audit", records)
        found = [verified(Path(name) / "audit", signer, records) for _ in range(rounds)]
    line_bytes = found[0][0].bytes_read / records
    return [
        row(
            f"verify/a core/{records:,} records of {line_bytes:.0f} bytes",
            [records / cpu_s for _, cpu_s, _ in found],
            "records/s",
            target=value(">=", LEAST_PER_S),
        ),
        row(f"verify/wall/{records:,} records of {line_bytes:.0f} bytes", [records / s for *_, s in found], "records/s"),
    ]


def write_log(folder: Path, records: int) -> Signer:
    """Write a log of this many records, a multiple of A_CHECKPOINT; returns the signer."""
    signer, clock = Signer.create(folder.parent / "key.pem"), iter(range(BEGAN_US, 1 << 62, A_CHECKPOINT))
    log = ChainedSegments(folder, "bench", segment_bytes=SEGMENT_BYTES, signer=lambda: signer, now_us=lambda: next(clock))
    lines = _lines()
    for _ in range(records // A_CHECKPOINT):
        log.append([next(lines) for _ in range(A_CHECKPOINT)])
        log.checkpoint()
    log.end()
    return signer


def verified(folder: Path, signer: Signer, records: int) -> tuple[Report, float, float]:
    """The report, seconds of the processor, and seconds of the clock. Raises BenchError unless all records are found right."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    report = Verification(time.time_ns() // 1000, lambda at: Trust.read(at, [signer.verifier])).verify(folder)
    cpu_s, took_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
    protected = sum(log.protected for log in report.logs)
    if not report.is_sound or protected != records:
        raise BenchError(f"of {records} records {protected} were found right, findings: {report.findings}")
    return report, cpu_s, took_s


def _lines() -> Iterator[bytes]:
    """Records of answers about network flows, each with a receipt and a time of its own."""
    _, before, middle, after = answers()
    number = 0
    while True:
        at = number % len(before)
        yield f"{before[at].as_py()}{number:020x}{middle}{BEGAN_US + number}{after[at].as_py()}\n".encode()
        number += 1
