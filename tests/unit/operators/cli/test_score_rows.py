"""A file's rows as a model's columns: what is wrong is set aside with its reason, what is right goes on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.datasets.declarations import read_detector
from operators.cli.console import CommandError
from operators.cli.models.rows import count_rows, read_chunks
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


def test_a_number_that_the_models_tensor_cannot_hold_is_set_aside(tmp_path):
    """A column of 64 bits comes into a tensor of 32."""
    wide = {
        **MANIFEST.model_dump(),
        "request_fields": [{"name": "size", "datatype": "FP64"}, {"name": "port", "datatype": "INT64"}],
    }
    (chunk,) = chunks(tmp_path, [GOOD, {**GOOD, "size": 1e39}, {**GOOD, "size": 0.1}], Manifest.model_validate(wide))
    assert {t.name: t.data.tolist() for t in chunk.inputs}["size"] == [1.5, 0.1]
    assert chunk.rejected == ((1, "column 'size' is 1e+39, more than FP32 holds"),)


def test_an_odd_first_row_does_not_decide_for_the_others(tmp_path):
    """A row that has some of the source's columns is one of the source's, whatever stands before it."""
    detector = read_detector("flows")
    lineage = Lineage(data_digest="x", code_commit="x", detector=detector.model_dump(mode="json", by_alias=True))
    manifest = MANIFEST.model_copy(
        update={
            "entity_keys": (),
            "request_fields": Manifest.model_validate(
                {**MANIFEST.model_dump(), "assembly": [], "request_fields": [{"name": "dport", "datatype": "INT64"}]}
            ).request_fields,
            "lineage": lineage,
        }
    )
    source = {"StartTime": "2011-08-18T15:47:57", "Dur": 2.5, "Proto": "icmp", "Dport": 80}
    (chunk,) = chunks(tmp_path, [{}, source, {"dport": 81}], manifest)
    assert [t.data.tolist() for t in chunk.inputs if t.name == "dport"] == [[80, 81]]
    assert [number for number, _ in chunk.rejected] == [0]


def test_a_row_with_a_time_does_not_ask_one_of_the_others(tmp_path):
    (chunk,) = chunks(tmp_path, [GOOD, {**GOOD, "event_time": "2011-08-18T13:00:00Z"}])
    now, said = {t.name: t.data.tolist() for t in chunk.inputs}["event_time"]
    assert chunk.rejected == ()
    assert said == b"2011-08-18T13:00:00Z"
    assert now > said, "a row that does not say when counts now"


@pytest.mark.parametrize("most_rows", [1, 2, 4096])
def test_no_more_rows_come_at_once_than_a_request_may_have(tmp_path, most_rows):
    (tmp_path / "r.jsonl").write_text((json.dumps(GOOD) + "\n") * 5)
    read = list(read_chunks(tmp_path / "r.jsonl", MANIFEST, most_rows=most_rows))
    assert max(chunk.size for chunk in read) <= most_rows
    assert [row for chunk in read for row in chunk.rows] == [0, 1, 2, 3, 4]


def test_a_value_that_python_has_not_is_set_aside_in_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    late = pa.array([0, 2**62, None], pa.timestamp("ms"))
    odd = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"b", b"\xff"]).buffers())
    table = pa.table({"host": odd, "size": [1.0] * 3, "port": [1] * 3, "seen": late})
    pq.write_table(table, tmp_path / "r.parquet")
    (chunk,) = read_chunks(tmp_path / "r.parquet", MANIFEST)
    assert chunk.rows == (0,)
    assert [(number, why.split()[1]) for number, why in chunk.rejected] == [(1, "'seen'"), (2, "'host'")]


numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e39, 2**63, -(2**63) - 1, 1e308])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.heavy
@given(
    st.lists(
        st.one_of(
            st.fixed_dictionaries({}, optional=dict.fromkeys((*GOOD, "event_time", "other"), values)),
            st.fixed_dictionaries({"host": values, "size": numbers, "port": numbers}),
            st.binary().map(lambda line: line.replace(b"\n", b"") + b"."),
            values,
        ),
        max_size=8,
    )
)
def test_of_any_rows_each_is_taken_or_set_aside(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    read = list(read_chunks(file, MANIFEST))
    taken = [row for chunk in read for row in chunk.rows]
    aside = [row for chunk in read for row, why in chunk.rejected if why]
    assert sorted(taken + aside) == list(range(len(rows)))
    assert count_rows(file) == len(rows)
    for chunk in read:
        for tensor in chunk.inputs:
            assert tensor.shape == (len(chunk.rows),)
            assert tensor.data.dtype.kind != "f" or np.isfinite(tensor.data).all()
