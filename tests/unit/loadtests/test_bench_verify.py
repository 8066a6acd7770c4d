"""The log that the benchmark verifies is whole, and a log with a record changed gives no rate."""

import pytest

from loadtests.bench.benchmarks.records import sql, verify
from loadtests.bench.errors import BenchError

RECORDS = 40


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "RECORDS_A_SEGMENT", RECORDS)
    monkeypatch.setattr(verify, "A_CHECKPOINT", RECORDS // 4)
    folder = tmp_path / "audit"
    return folder, verify.write_log(folder, RECORDS)


def test_every_record_is_found_right(log):
    report, *_ = verify.verified(*log, RECORDS)
    assert report.bytes_read == sum(path.stat().st_size for path in log[0].glob("segment-*.jsonl"))


def test_a_changed_record_gives_no_rate(log):
    (path,) = log[0].glob("segment-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"flows", b"flaws", 1))
    with pytest.raises(BenchError, match="changed"):
        verify.verified(*log, RECORDS)
