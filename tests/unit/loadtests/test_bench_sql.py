"""The archive that the benchmark asks is one that `vedette audit archive` could have left, and its questions are checked."""

import msgspec
import pytest

from lifecycle.governance.archive.parquet import table_of
from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.governance.archive.record_log import RecordLog
from loadtests.bench.benchmarks.records import sql
from loadtests.bench.errors import BenchError

SEGMENTS, RECORDS = 2, 40


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "RECORDS_A_SEGMENT", RECORDS)
    monkeypatch.setattr(sql, "US_A_RECORD", 10_000_000)  # so that ten seconds hold one record
    sql.write_archive(tmp_path, SEGMENTS)
    return tmp_path


def test_each_record_says_the_same_in_its_line_and_in_its_columns(archive):
    lines = [
        line for s in RecordLog(archive / "audit", ArchivePlace(str(archive / "archive"))).segments() for line in s.entries()
    ]
    records = table_of(lines).to_pylist()
    assert [r["receipt"] for r in records] == [sql.receipt_of(s, n) for s in range(SEGMENTS) for n in range(RECORDS)]
    assert len({r["time_us"] for r in records}) == SEGMENTS * RECORDS
    assert all(msgspec.json.decode(line)["time_us"] == r["time_us"] for line, r in zip(lines, records, strict=True))


@pytest.mark.heavy
def test_questions_have_answers_that_are_checked(archive):
    assert {question for question, _ in sql.ask(archive, SEGMENTS)} == {"receipt", "inputs", "time", "all"}
    (path, _) = sorted((archive / "archive").iterdir())
    path.unlink()
    with pytest.raises(BenchError, match="was asked for"):
        list(sql.ask(archive, SEGMENTS))
