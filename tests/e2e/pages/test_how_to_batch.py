"""docs/how-to/score-in-batch.md, followed to the letter in an empty folder."""

import pyarrow.dataset as ds
import pytest

from tests.e2e.running.how_to import Reader, played

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PAGE = "score-in-batch.md"


def test_events_become_verdicts_and_risks(tmp_path):
    reader = Reader(tmp_path)
    said = {command: reader.types(PAGE, command) for command in played(PAGE)[:4]}
    verdicts = ds.dataset(str(tmp_path / "verdicts"), partitioning="hive").to_table()
    events = ds.dataset(str(tmp_path / "events")).count_rows()
    assert verdicts.num_rows == events
    assert f"in all │ {events}" in " ".join(said.popitem()[1].split()).replace("| ", "│ ")
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "verdicts").rglob("*.parquet")}
    rest = [reader.types(PAGE, command) for command in played(PAGE)[4:]]
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "verdicts").rglob("*.parquet")} == files
    assert "alert" in rest[1]
    assert "reasons" in rest[-1]
    assert [command for _, command in reader.typed] == played(PAGE)
