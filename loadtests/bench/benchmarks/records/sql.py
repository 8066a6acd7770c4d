"""SQL over archived records: 10 million of them in 100 segments, as `vedette audit archive` leaves them.

Each record has a receipt and a time of its own, also in its line; inputs, features and scores are those of 100,000 answers, over and over.
`receipt` asks for one record by its receipt (the slowest of several places, and one that is nowhere), `inputs` for what was asked
in it, `time` counts the records of ten seconds, `all` groups all of them. Each question opens the archive anew. The files were just
written, so the system has most of them in memory. Takes up to 3 GB of TMPDIR, and removes them."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lifecycle.governance.archive.parquet import ROW_GROUP, SCHEMA, segment_writer, table_of
from lifecycle.governance.archive.place import SUFFIX, ArchivePlace
from lifecycle.governance.archive.query import LogQuery
from lifecycle.governance.archive.record_log import RecordLog
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.targets import value
from serving.audit.encoding import encode_record
from serving.audit.record import AuditRecord

IS_LONG: Final = True
RECORDS_A_SEGMENT: Final = 100_000
SEGMENTS: Final = 100
MOST_BYTES: Final = 3 * 10**9
WITHIN_S: Final = 1.0
BEGAN_US: Final = 1_700_000_000_000_000
US_A_RECORD: Final = 1_000
FEATURES: Final = 20
_RECEIPT: Final = "R" * 20
_TIME_US: Final = 10**15
"""A placeholder in the lines, which is replaced by each record's own time."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Write the archive, then query it. Raises BenchError if the disk has no room, or if an answer is wrong."""
    segments = 5 if quick else SEGMENTS
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        if shutil.disk_usage(name).free < MOST_BYTES:
            raise BenchError(f"{name} has less than {MOST_BYTES / 1e9:.0f} GB free; set TMPDIR to a disk that has")
        folder = Path(name)
        size_bytes = write_archive(folder, segments)
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for question, took_s in ask(folder, segments):
                found.setdefault(question, []).append(took_s)
    return list(rows(found, segments * RECORDS_A_SEGMENT, size_bytes))


def rows(found: Mapping[str, Sequence[float]], records: int, size_bytes: int) -> Iterator[Row]:
    """Seconds of each query, and the size on disk."""
    for question, taken in found.items():
        yield row(
            f"sql/{question}/{records:,} records", taken, "s", target=value("<", WITHIN_S) if question == "receipt" else None
        )
    yield row(f"sql/size/{records:,} records", [size_bytes / 1e6], "MB", target=value("<", MOST_BYTES / 1e6))


def write_archive(folder: Path, segments: int) -> int:
    """Write segments of RECORDS_A_SEGMENT records each to `folder/archive`; returns their size in bytes."""
    (folder / "audit").mkdir()
    archive = folder / "archive"
    archive.mkdir()
    table, before, middle, after = answers()
    for segment in range(segments):
        receipts = pa.array([receipt_of(segment, number) for number in range(len(table))])
        first_us = BEGAN_US + segment * RECORDS_A_SEGMENT * US_A_RECORD
        times_us = pa.array(np.arange(len(table), dtype=np.int64) * US_A_RECORD + first_us)
        lines = pc.binary_join_element_wise(before, receipts, middle, times_us.cast(pa.string()), after, "").cast(pa.binary())
        own = {"receipt": receipts, "time_us": times_us, "time": times_us.cast(pa.timestamp("us")), "line": lines}
        columns = [own.get(name, table.column(name)) for name in SCHEMA.names]
        with segment_writer(archive / f"segment-{first_us}-1-bench-{segment + 1:06d}{SUFFIX}") as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=ROW_GROUP)
        if segment % 10 == 9:
            sys.stderr.write(f"sql: {(segment + 1) * RECORDS_A_SEGMENT:,} records written\n")
    return sum(path.stat().st_size for path in archive.iterdir())


def answers() -> tuple[pa.Table, pa.Array, str, pa.Array]:
    """RECORDS_A_SEGMENT answers of a detector of network flows, and their lines, cut where receipt and time will stand."""
    lines = list(_lines(RECORDS_A_SEGMENT))
    tables = [table_of(lines[at : at + ROW_GROUP]) for at in range(0, RECORDS_A_SEGMENT, ROW_GROUP)]
    cut = [line.decode().replace(_RECEIPT, "|", 1).replace(str(_TIME_US), "|", 1).split("|", 2) for line in lines]
    before, middle, after = zip(*cut, strict=True)
    return pa.concat_tables(tables), pa.array(before), middle[0], pa.array(after)


def differing_lines(count: int) -> Iterator[bytes]:
    """Records of which each has its own inputs, features, scores, receipt and time, as lines without their ends."""
    for number, line in enumerate(_lines(count)):
        own = line.replace(_RECEIPT.encode(), receipt_of(0, number).encode(), 1)
        yield own.replace(str(_TIME_US).encode(), str(BEGAN_US + number * US_A_RECORD).encode(), 1)


def _lines(count: int) -> Iterator[bytes]:
    rng = np.random.default_rng(17)
    values = np.round(rng.lognormal(2.0, 1.5, (count, FEATURES)), 2).astype(np.float32)
    scores = rng.beta(1, 8, count).astype(np.float32)
    for number in range(count):
        yield encode_record(_record(number, values[number], scores[number])).rstrip(b"\n")


def receipt_of(segment: int, number: int) -> str:
    """A receipt as replicas make them: an identity, and a number."""
    return f"{0xABC000000000 + segment * 7919:012x}-{number + 0x100000:x}"


def ask(folder: Path, segments: int) -> Iterator[tuple[str, float]]:
    """Run each query; gives its name and how many seconds it took. Raises BenchError for a wrong answer."""
    places = [(0, 0), (segments // 2, RECORDS_A_SEGMENT // 3), (segments - 1, RECORDS_A_SEGMENT - 1)]
    since_us = BEGAN_US + RECORDS_A_SEGMENT * US_A_RECORD // 2
    records = segments * RECORDS_A_SEGMENT
    yield "receipt", max(_one(folder, place, "receipt, time_us, model, verdicts, scores") for place in [*places, None])
    yield "inputs", max(_one(folder, place, "receipt, time_us, inputs") for place in places)
    yield "time", _count(folder, "records", f"time_us BETWEEN {since_us} AND {since_us + 9_999_999}", 10_000_000 // US_A_RECORD)
    yield (
        "all",
        _count(folder, "(SELECT model, source, count(*) AS n FROM records GROUP BY ALL)", "n > 0", records, what="sum(n)"),
    )


def _one(folder: Path, place: tuple[int, int] | None, columns: str) -> float:
    """Seconds until the record of a place was found; None: search a receipt that no record has."""
    receipt = receipt_of(*place) if place is not None else "none-such"
    lines, took_s = _timed(folder, f"SELECT {columns} FROM records WHERE receipt = '{receipt}'")  # noqa: S608  # nosec B608  # its own text
    expected = [(receipt, BEGAN_US + (place[0] * RECORDS_A_SEGMENT + place[1]) * US_A_RECORD)] if place is not None else []
    if [line[:2] for line in lines] != expected:
        raise BenchError(f"{receipt} was asked for, the answer is {lines}")
    return took_s


def _count(folder: Path, of: str, where: str, expected: int, *, what: str = "count(*)") -> float:
    lines, took_s = _timed(folder, f"SELECT {what} FROM {of} WHERE {where}")  # noqa: S608  # nosec B608  # its own text
    if lines != [(expected,)]:
        raise BenchError(f"{what} of {of} where {where} is {lines}, expected {expected}")
    return took_s


def _timed(folder: Path, sql: str) -> tuple[list[tuple[Any, ...]], float]:
    began_s = time.perf_counter()
    lines = LogQuery(RecordLog(folder / "audit", ArchivePlace(str(folder / "archive")))).run(sql).lines
    return lines, time.perf_counter() - began_s


def _record(number: int, values: np.ndarray[Any, Any], score: np.float32) -> AuditRecord:
    return AuditRecord(
        receipt=_RECEIPT,
        time_us=_TIME_US,
        door="http",
        model="flows",
        version="3",
        revision=f"sha256:{'5c' * 32}",
        variant="stable",
        source="cache" if number % 10 == 0 else "model",
        request_id=None,
        trace_id=None,
        rows=1,
        inputs={"host": {"datatype": "BYTES", "shape": [1], "data": [f"10.{number % 7}.{number % 251}.{number % 113}"]}},
        features={f"flows__{at}": values[at : at + 1] for at in range(FEATURES)},
        event_times_us={view: [BEGAN_US - number % 977 * 1000] for view in ("flows", "logins", "names")},
        operating_point="siem_alerting",
        scores=[float(score)],
        verdicts=["alert" if score > 0.4 else "investigate" if score > 0.3 else "benign"],
        degraded=[False],
        latency_us=300 + number % 400,
        processor="x86_64-avx2",
    )
