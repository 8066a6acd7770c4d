"""A file of rows: what is wrong with a line or a value is set aside with its place, nothing is lost, and a damaged file is refused."""

import gzip
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.datasets.checks import file_rows
from lifecycle.datasets.checks.check import check_file, judge_file
from lifecycle.datasets.data import read_data
from lifecycle.errors import DataError, TooManyBadRows
from lifecycle.training.origin import describe_data
from tests import laws
from tests.unit.lifecycle.declared import detector, rows

HEADER = "user,method,failures,seconds,verdict"
GOOD = "u1,key,3,1.5,fine"


def csv_file(folder, *lines, header=HEADER, end="\n", name="rows.csv"):
    path = folder / name
    path.write_bytes(b"".join(line if isinstance(line, bytes) else f"{line}{end}".encode() for line in (header, *lines)))
    return path


def reasons(checked):
    return [(row.line, [(f.column, f.rule) for f in row.faults]) for row in checked.quality.bad]


@pytest.mark.parametrize(
    ("line", "rule", "words"),
    [
        pytest.param("u1,key,3,1.5", (None, "line"), "has 4 fields, the header has 5", id="a line that was cut short"),
        pytest.param("u1,key,3,1.5,fine,1", (None, "line"), "has 6 fields", id="a field too many"),
        pytest.param("u1,ke\0y,3,1.5,fine", (None, "line"), "holds a NUL byte", id="a NUL byte"),
        pytest.param(b"u1,k\xffy,3,1.5,fine\n", (None, "line"), r"is not UTF-8 text \(byte 4\)", id="bytes that are no text"),
        pytest.param('"u1,key,3,1.5,fine', (None, "line"), "quote that is not closed", id="a quote that is never closed"),
        pytest.param("u1,k\rey,3,1.5,fine", (None, "line"), "is not a row", id="a carriage return within the line"),
        pytest.param(f'u1,"{"k" * 200_000}",3,1.5,fine', (None, "line"), "field larger", id="a field of 200 kB in quotes"),
        pytest.param(f"u1,{'k' * 2**20},3,1.5,fine", (None, "line"), "is longer than 1048576 bytes", id="a line of a megabyte"),
        pytest.param("u1,key,many,1.5,fine", ("failures", "type"), "'many' is not of type int", id="text for a number"),
        pytest.param("u1,key,1.5,1.5,fine", ("failures", "type"), "is not of type int", id="a fraction for a whole number"),
        pytest.param("u1,key,,1.5,fine", ("failures", "null"), "has no value", id="a missing value"),
        pytest.param("u1,key,3,1.5,", ("verdict", "null"), "has no value", id="a missing label"),
        pytest.param("u1,key,3,1e39,fine", ("seconds", "range"), "beyond FP32", id="a number the model cannot take"),
        pytest.param("u1,key,3,inf,fine", ("seconds", "range"), "infinite", id="an infinity"),
        pytest.param("u1,key,-1,1.5,fine", ("failures", "range"), "'-1' is below 0", id="a number below min"),
        pytest.param("u1,key,100,1.5,fine", ("failures", "range"), "'100' is above 99", id="a number above max"),
        pytest.param("u1,tokne,3,1.5,fine", ("method", "category"), "'tokne' is not one of key, password, token", id="a misspelt value"),
        pytest.param("u1,key,3,1.5,norml", ("verdict", "category"), "is not one of attack, fine", id="a misspelt label"),
    ],
)  # fmt: skip
def test_a_bad_row_is_set_aside_with_its_line_and_reason(tmp_path, line, rule, words):
    columns = {"user": "string", "method": {"type": "string", "values": ["key", "password", "token"]},
               "failures": {"type": "int", "min": 0, "max": 99}, "seconds": "float",
               "verdict": {"type": "string", "values": ["attack", "fine"]}}  # fmt: skip
    path = csv_file(tmp_path, GOOD, "", line, GOOD, GOOD)
    checked = check_file(detector(source__columns=columns), path, max_bad=0.5)
    (bad,) = checked.quality.bad
    assert (bad.line, bad.row) == (4, 1), "the empty line is no row, and the header is line 1"
    assert [(f.column, f.rule) for f in bad.faults] == [rule]
    assert re.search(words, bad.faults[0].words)
    assert (len(checked.frame), checked.quality.rows) == (3, 4), "the lines after it are rows of their own"


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_bad_rows_change_nothing_about_the_others(tmp_path, kind):
    """The same digest as that of a file without them: neither values nor types of a column differ."""
    declared, frame = detector(source__format=kind), rows(400)
    write(frame, tmp_path / "clean", kind)
    spoilt = frame.astype(object)
    spoilt.loc[17, "failures"] = "many"
    spoilt.loc[90, "seconds"] = None
    spoilt.loc[200, "verdict"] = None
    write(pd.concat([spoilt, frame.iloc[[17, 90, 200]]], ignore_index=True), tmp_path / "spoilt", kind)
    clean, found = read_data(declared, tmp_path / "clean"), read_data(declared, tmp_path / "spoilt")
    assert [row.row for row in found.quality.bad] == [17, 90, 200]
    order = [*(i for i in range(400) if i not in (17, 90, 200)), 17, 90, 200]
    again = tmp_path / "ordered"
    write(frame.iloc[order], again, kind)
    assert found.digest == read_data(declared, again).digest != clean.digest
    assert [str(found.frame[c].dtype) for c in found.frame] == [str(clean.frame[c].dtype) for c in clean.frame]


def write(frame, path, kind):
    match kind:
        case "csv":
            frame.to_csv(path, index=False)
        case "jsonl":
            path.write_text("".join(json.dumps(r, default=float) + "\n" for r in frame.to_dict("records")), encoding="utf-8")
        case _:
            as_text = frame["failures"].map(str) if frame["failures"].dtype.hasobject else frame["failures"]
            frame.assign(failures=as_text, seconds=frame["seconds"].astype(float)).to_parquet(path)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@laws.examples(60)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    b"",
                    b'"',
                    b",,,,",
                    b"\xff\xfe",
                    b"{}",
                    b"[1]",
                    b'{"user": 1}',
                    b"\0",
                    b"a,b",
                    b'"a\n',
                    b"\r",
                    b"u,key,3,1,x\r",
                ]
            ),
            st.binary(max_size=12).filter(lambda b: b"\n" not in b),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_good_row_is_lost_among_any_junk(tmp_path_factory, kind, junk):
    """Each good line between lines of junk is a row. Each junk line that is not empty is a row, or set aside."""
    good = (
        GOOD.encode()
        if kind == "csv"
        else json.dumps(dict(zip(HEADER.split(","), ["u1", "key", 3, 1.5, "fine"], strict=True))).encode()
    )
    path = tmp_path_factory.mktemp("junk") / "rows"
    between = [line for piece in junk for line in (piece, *[good] * 60)]
    head = [HEADER.encode()] if kind == "csv" else []
    path.write_bytes(b"\n".join([*head, *[good] * 60, *between]) + b"\n")
    checked = judge_file(detector(source__format=kind), path)
    as_good = int(((checked.frame["user"] == "u1") & (checked.frame["seconds"] == 1.5)).sum())
    assert as_good == 60 * (len(junk) + 1)
    assert checked.quality.rows == len(checked.frame) + len(checked.quality.bad)
    empty = sum(1 for piece in junk for part in piece.split(b"\n") if not part.strip())
    assert checked.quality.rows >= as_good + len(junk) - empty


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a BOM"])
def test_a_file_of_another_editor_has_the_same_rows(tmp_path, end, bom):
    path = csv_file(tmp_path, GOOD, 'u2,"a ""b"", c",1,2.5,attack', end=end)
    path.write_bytes(bom + path.read_bytes().removesuffix(end.encode()))
    frame = check_file(detector(), path).frame
    assert frame.to_numpy().tolist() == [["u1", "key", 3, 1.5, "fine"], ["u2", 'a "b", c', 1, 2.5, "attack"]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "is empty; the first line of a CSV file names its columns", id="an empty file"),
        pytest.param(HEADER.encode() + b"\n", "has no rows", id="nothing but a header"),
        pytest.param(b"a,b,c\n1,2,3\n", "has no column 'user', 'method'", id="another header"),
        pytest.param(f"{GOOD}\n".encode() * 3, "has no column 'user'.* it has", id="no header"),
        pytest.param(f"{HEADER},user\n{GOOD},u2\n".encode(), "has column 'user' twice", id="a column that is there twice"),
        pytest.param(f"{HEADER}\n{GOOD}\n".encode("utf-16"), "has no column", id="UTF-16"),
        pytest.param(f"{HEADER}\n".replace(",", ";").encode(), "has no column", id="semicolons"),
        pytest.param(f"{HEADER}\r{GOOD}\r".encode(), "first line names no columns", id="line ends of an old Mac"),
        pytest.param(b"k" * 3 * 2**20, "first line names no columns", id="one line of three megabytes"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole(tmp_path, content, says):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_data(detector(), path)


def test_files_that_are_cut_short_are_refused_whatever_their_rows(tmp_path):
    body = rows(500).to_csv(index=False).encode()
    whole = gzip.compress(body)
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read as csv .*EOFError"):
        read_data(detector(), path)
    path.write_bytes(whole)
    assert len(read_data(detector(), path)) == 500
    buffer = io.BytesIO()
    rows(500).to_parquet(buffer)
    for cut in (0, 3, 100, len(buffer.getvalue()) - 1):
        (tmp_path / "rows.parquet").write_bytes(buffer.getvalue()[:cut])
        with pytest.raises(DataError, match="cannot be read as parquet"):
            read_data(detector(source__format="parquet"), tmp_path / "rows.parquet")


def test_a_file_beyond_the_share_is_refused_with_its_first_rows(tmp_path):
    path = csv_file(tmp_path, *[GOOD, "u2,key,1,1.0,attack"] * 50, "u1,key,x,1.5,fine")
    with pytest.raises(
        TooManyBadRows,
        match=r"1 of 101 rows \(0.99%\) are bad, more than 0.50% .*line 102: column 'failures': 'x' is not of type",
    ):
        read_data(detector(checks={"max_bad": 0.005}), path)
    assert len(read_data(detector(), path)) == 100


def test_a_file_of_bad_rows_alone_is_refused_whatever_the_limit(tmp_path):
    path = csv_file(tmp_path, "u1,key,x,1.5,fine")
    with pytest.raises(TooManyBadRows):
        check_file(detector(), path, max_bad=1.0)


def test_what_was_set_aside_is_in_the_bundles_lineage_without_values(tmp_path):
    lines = [GOOD, "u2,key,1,1.0,attack"] * 100
    path = csv_file(tmp_path, *lines, "ada@example.org,key,secret,1.5,fine")
    data = read_data(detector(), path)
    assert data.notes[0] == "1 of 201 rows (0.50%) were set aside: column 'failures' not of its type in 1"
    told = describe_data(data)
    assert told["set_aside"] == {"rows": 1, "of": 201, "share": 1 / 201, "reasons": {"failures: type": 1}}
    assert "secret" not in json.dumps([told, data.notes])
    assert "ada" not in json.dumps([told, data.notes])


def test_a_clean_file_adds_nothing_to_the_lineage(tmp_path):
    rows(100).to_csv(tmp_path / "rows.csv", index=False)
    data = read_data(detector(), tmp_path / "rows.csv")
    assert "set_aside" not in describe_data(data)
    assert not data.notes


def test_all_bad_rows_are_listed_with_what_the_file_has(tmp_path):
    path = csv_file(tmp_path, GOOD, "u1,key", "u3,key,x,,fine", GOOD)
    listed = list(judge_file(detector(), path).set_aside())
    assert [(r["line"], r["content"]) for r in listed] == [
        (3, {}), (4, {"user": "u3", "method": "key", "failures": "x", "seconds": None, "verdict": "fine"}),
    ]  # fmt: skip
    assert listed[0]["faults"][0]["value"] == "u1,key"
    assert [f["rule"] for f in listed[1]["faults"]] == ["type"]


def test_repeated_rows_are_remarked_or_set_aside_as_declared(tmp_path):
    path = csv_file(tmp_path, GOOD, "u2,key,1,1.0,attack", GOOD, GOOD)
    noted = check_file(detector(), path)
    assert noted.quality.remarks == ("2 rows are equal to an earlier one in every declared column",)
    assert not noted.quality.bad
    strict = judge_file(detector(checks={"duplicates": "bad", "max_bad": 0.5}), path)
    assert reasons(strict) == [(4, [(None, "duplicate")]), (5, [(None, "duplicate")])]


def timed(folder, *times, **declared):
    columns = {
        "user": "string",
        "method": "string",
        "failures": "int",
        "seconds": "float",
        "verdict": "string",
        "at": "timestamp",
    }
    made = detector(
        source__columns=columns, event_time={"column": "at", "timezone": "Europe/Prague", "duration": "seconds"}, **declared
    )
    lines = [f"u1,key,{n},{seconds},{['attack', 'fine'][n % 2]},{time}" for n, (time, seconds) in enumerate(times)]
    return made, csv_file(folder, *lines, header=f"{HEADER},at")


def test_times_that_no_clock_shows_are_set_aside(tmp_path):
    hour = [("2026-07-01T12:00:00", 0)] * 3
    made, path = timed(tmp_path, *hour, ("2026-10-25T02:30:00", 0), ("2026-03-29T02:30:00", 0), ("2026-07-01T12:00:00Z", 0),
                       ("yesterday", 0), ("2026-07-01T12:00:00", -1), ("2026-07-01T12:00:00", 1e10))  # fmt: skip
    assert reasons(judge_file(made, path)) == [
        (5, [("at", "time")]), (6, [("at", "time")]), (7, [("at", "time")]), (8, [("at", "type")]),
        (9, [("seconds", "range")]), (10, [("seconds", "range")]),
    ]  # fmt: skip


def test_rows_may_be_as_late_as_is_declared(tmp_path):
    times = [
        ("2026-07-01T12:00:00", 0),
        ("2026-07-01T12:02:00", 0),
        ("2026-07-01T12:01:00", 0),
        ("2026-07-01T12:00:30", 45),
        ("2026-07-01T12:00:30", 0),
    ]
    made, path = timed(tmp_path, *times, checks={"max_lateness_s": 60, "max_bad": 0.5})
    assert reasons(judge_file(made, path)) == [(6, [("at", "late")])]
    made, path = timed(tmp_path, *times)
    assert not judge_file(made, path).quality.bad


def test_a_long_quoted_row_is_read_and_an_open_quote_swallows_no_more_than_its_line(tmp_path):
    path = csv_file(tmp_path, '"u\n1",key,3,1.5,fine', '"u1,key,3,1.5,fine', *[GOOD] * 120)
    checked = judge_file(detector(), path)
    assert [row.line for row in checked.quality.bad] == [4]
    assert len(checked.frame) == 121
    assert checked.frame["user"][0] == "u\n1"


def test_a_long_line_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(file_rows, "LONGEST_LINE", 100)
    path = csv_file(tmp_path, GOOD, "k" * 10_000, GOOD)
    checked = judge_file(detector(), path)
    assert [row.line for row in checked.quality.bad] == [3]
    assert len(checked.frame) == 2


def test_numbers_are_read_as_pandas_reads_a_clean_file(tmp_path):
    frame = pd.DataFrame({**rows(300), "seconds": np.random.default_rng(1).lognormal(size=300)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    clean = check_file(detector(), tmp_path / "rows.csv").frame["seconds"]
    with (tmp_path / "rows.csv").open("a", encoding="utf-8") as stream:
        stream.write("u1,key,3,never,fine\n")
    assert (check_file(detector(), tmp_path / "rows.csv").frame["seconds"] == clean).all()


@pytest.mark.parametrize(("field", "value", "rule"), [
    pytest.param("seconds", 10**400, "range", id="a number that no float holds"),
    pytest.param("failures", 2**63, "type", id="a whole number of 64 bits and one more"),
    pytest.param("method", ["key"], "type", id="a list for a text"),
    pytest.param("method", {"a": 1}, "type", id="an object for a text"),
])  # fmt: skip
def test_a_hostile_value_of_json_costs_its_row_alone(tmp_path, field, value, rule):
    good = dict(zip(HEADER.split(","), ["u1", "key", 3, 1.5, "fine"], strict=True))
    bad = json.dumps({**good, field: value})
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(good)] * 4 + [bad]), encoding="utf-8")
    found = judge_file(detector(source__format="jsonl"), path)
    assert reasons(found) == [(5, [(field, rule)])]
    assert "np." not in found.quality.bad[0].faults[0].words


def parquet_with(folder, **columns):
    path = folder / "rows.parquet"
    rows(20).assign(**columns).to_parquet(path)
    return judge_file(detector(source__format="parquet"), path)


def test_flags_are_whole_numbers_and_bytes_are_their_text(tmp_path):
    found = parquet_with(tmp_path, failures=[True, False] * 10, method=[b"key"] * 19 + [b"\xff"])
    assert found.frame["failures"].tolist() == [1, 0] * 9 + [1]
    assert set(found.frame["method"]) == {"key"}
    assert reasons(found) == [(None, [("method", "type")])]


@pytest.mark.parametrize("column", [
    pytest.param(pd.to_datetime(["2026-01-01"] * 20, utc=True), id="times"),
    pytest.param(pd.to_timedelta([1] * 20, unit="s"), id="durations"),
])  # fmt: skip
def test_times_for_a_number_are_refused_and_not_counted_in_nanoseconds(tmp_path, column):
    with pytest.raises(DataError, match=r"'seconds' is .*, expected float"):
        parquet_with(tmp_path, seconds=column)
