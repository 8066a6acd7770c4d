"""A file's rows as a model's columns: what is wrong is set aside with its reason, what is right goes on."""

import json

import numpy as np
import pytest

from lifecycle.training.detector import read_detector
from operators.cli.console import CommandError
from operators.cli.rows import count_rows, read_chunks
from serving.models.manifest import Lineage, Manifest

MANIFEST = Manifest.model_validate(
    {
        "name": "d",
        "version": "1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "entity_keys": [{"name": "host", "datatype": "BYTES"}],
        "request_fields": [{"name": "size", "datatype": "FP32"}, {"name": "port", "datatype": "INT64"}],
        "event_time_field": "event_time",
        "assembly": [{"tensor": "x", "columns": ["size", "port"]}],
        "files": {},
    }
)
GOOD = {"host": "a", "size": 1.5, "port": 80}


def chunks(tmp_path, lines, manifest=MANIFEST):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    assert count_rows(file) == len(lines)
    return list(read_chunks(file, manifest))


def test_good_rows_become_columns(tmp_path):
    (chunk,) = chunks(tmp_path, [GOOD, {**GOOD, "host": "b", "other": 1}])
    columns = {t.name: t.data.tolist() for t in chunk.inputs}
    assert columns == {"host": [b"a", b"b"], "size": [1.5, 1.5], "port": [80, 80]}
    assert chunk.keys == {"host": ["a", "b"]}
    assert chunk.rejected == ()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        pytest.param({"host": "a", "size": 1}, "'port' is missing or null", id="a column is missing"),
        pytest.param({**GOOD, "size": None}, "'size' is missing or null", id="a null"),
        pytest.param({**GOOD, "size": "big"}, "expected a number", id="text for a number"),
        pytest.param({**GOOD, "size": True}, "expected a number", id="a truth value for a number"),
        pytest.param({**GOOD, "port": 1.5}, "expected a whole number", id="a fraction for a whole number"),
        pytest.param({**GOOD, "port": 2**70}, "expected a whole number", id="a number that does not fit"),
        pytest.param("{", "is not JSON", id="not JSON"),
        pytest.param("[1]", "expected an object", id="not an object"),
        pytest.param('{"host": "a", "size": NaN, "port": 1}', "finite", id="not a number"),
    ],
)
def test_a_wrong_row_is_set_aside_and_the_others_go_on(tmp_path, row, why):
    (chunk,) = chunks(tmp_path, [GOOD, row, GOOD])
    assert chunk.rows == (0, 2)
    ((number, reason),) = chunk.rejected
    assert number == 1
    assert why in reason
    assert chunk.size == 3


def test_event_times_are_sent_when_the_file_has_them(tmp_path):
    (chunk,) = chunks(tmp_path, [{**GOOD, "event_time": "2011-08-18T13:00:00Z"}, {**GOOD, "event_time": "soon"}])
    assert {t.name: t.data.tolist() for t in chunk.inputs}["event_time"] == [b"2011-08-18T13:00:00Z"]
    assert "expected a time" in chunk.rejected[0][1]


def test_parquet_is_read_too(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"host": ["a"] * 5000, "size": np.arange(5000.0), "port": [1] * 5000}), tmp_path / "r.parquet")
    read = list(read_chunks(tmp_path / "r.parquet", MANIFEST))
    assert sum(c.size for c in read) == count_rows(tmp_path / "r.parquet") == 5000
    assert [c.rows[0] for c in read] == [0, 4096]


@pytest.mark.parametrize(
    ("name", "says"), [("r.csv", "expected .jsonl or .parquet"), ("r.parquet", "cannot be read as Parquet")]
)
def test_a_file_of_another_kind_is_refused(tmp_path, name, says):
    (tmp_path / name).write_text("x")
    with pytest.raises(CommandError, match=says):
        list(read_chunks(tmp_path / name, MANIFEST))


def test_the_columns_of_the_detectors_own_source_are_taken_as_they_are(tmp_path):
    detector = read_detector("flows")
    fields = [{"name": n, "datatype": d} for n, d in (("proto", "BYTES"), ("state", "BYTES"), ("sport", "INT64"), ("dport", "INT64"),
              ("duration", "FP64"), ("packets", "INT64"), ("bytes", "INT64"), ("src_bytes", "INT64"))]  # fmt: skip
    lineage = Lineage(data_digest="x", code_commit="x", detector=detector.model_dump(mode="json", by_alias=True))
    manifest = MANIFEST.model_copy(update={"request_fields": Manifest.model_validate(
        {**MANIFEST.model_dump(), "assembly": [], "request_fields": fields}).request_fields, "lineage": lineage})  # fmt: skip
    row = {"StartTime": "2011-08-18T15:47:57", "Dur": 2.5, "Proto": "icmp", "SrcAddr": "10.0.0.1", "Sport": "0x0008", "Dport": None,
           "DstAddr": "10.0.0.2", "State": None, "TotPkts": 1, "TotBytes": 1066, "SrcBytes": 1066, "Label": "flow=Background"}  # fmt: skip
    (chunk,) = chunks(tmp_path, [row], manifest)
    assert chunk.rejected == ()
    sent = {t.name: t.data.tolist()[0] for t in chunk.inputs}
    assert sent["host"] == b"10.0.0.1"
    assert (sent["sport"], sent["dport"], sent["state"]) == (8, -1, b"")
    assert sent["event_time"] == b"2011-08-18T13:47:59.500000+00:00"  # Prague summer time, at the flow's end
