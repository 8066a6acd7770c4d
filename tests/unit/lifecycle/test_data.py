"""A file is taken only if it is what the declaration says."""

import contextlib
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.datasets.data import check_data, find_file, read_data
from lifecycle.errors import DataError, DetectorError
from tests import laws
from tests.unit.lifecycle.declared import PLAIN, detector, rows


def changed(column, at, value):
    frame = rows(50).astype(object)
    frame.loc[at, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        pytest.param(rows(50).drop(columns="seconds"), "has no column 'seconds'; it has", id="a missing column"),
        pytest.param(
            changed("failures", 3, "many"),
            "column 'failures', row 3: 'many' is not of type int",
            id="text where a number is declared",
        ),
        pytest.param(
            changed("failures", 3, 1.5), "row 3: 1.5 is not of type int", id="a fraction where a whole number is declared"
        ),
        pytest.param(
            changed("failures", 3, None), "null in 1 rows, first in row 3; give it a default", id="a null without a default"
        ),
        pytest.param(changed("verdict", 3, None), "column 'verdict' is null in 1 rows", id="a row without a label"),
        pytest.param(changed("seconds", 3, np.inf), "holds infinities", id="an infinity"),
        pytest.param(
            changed("seconds", 3, 1e39), r"beyond FP32 .*: 1e\+39 in row 3", id="a number the model's FP32 cannot hold"
        ),
        pytest.param(changed("failures", 3, np.inf), "row 3: inf is not of type int", id="an infinity for a whole number"),
        pytest.param(changed("failures", 3, 2.0**63), "row 3: .* is not of type int", id="a whole number of more than 64 bits"),
        pytest.param(changed("method", 3, "\ud800"), "row 3: '.*ud800' is not of type string", id="half a surrogate pair"),
        pytest.param(rows(50).assign(verdict="fine"), "no row is positive: column 'verdict' holds 'fine'", id="no attacks"),
        pytest.param(rows(50).assign(verdict="attack"), "no row is negative", id="nothing but attacks"),
        pytest.param(rows(0), "has no rows", id="no rows"),
    ],
)
def test_refuses(frame, says):
    with pytest.raises(DataError, match=says) as refused:
        check_data(detector(), frame, where="mine.csv")
    assert str(refused.value).startswith("mine.csv")


def test_a_default_stands_in_for_a_null():
    declared = detector(request_fields={"method": {}, "failures": {"default": 0}, "seconds": {}})
    assert check_data(declared, changed("failures", 3, None), where="x").frame["failures"][3] == 0


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, kind):
    frame, path = rows(80), tmp_path / f"rows.{kind}"
    match kind:
        case "csv":
            frame.to_csv(path, index=False)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True, double_precision=15)
        case _:
            frame.to_parquet(path)
    data = read_data(detector(source__format=kind), path)
    assert data.attack.tolist() == (frame["verdict"] == "attack").tolist()
    np.testing.assert_allclose(data.frame["seconds"], frame["seconds"], rtol=1e-12)


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    rows(10).to_csv(path)
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_data(detector(source__format="parquet"), path)


def test_the_digest_is_of_the_content():
    one, two = (check_data(detector(), f, where="x").digest for f in (rows(50), rows(50)))
    assert one == two != check_data(detector(), rows(50, seed=1), where="x").digest


def timed(times, durations=None):
    declared = detector(
        source__columns={**PLAIN["source"]["columns"], "at": "timestamp"},
        event_time={"column": "at", "timezone": "Europe/Prague", "duration": "seconds"},
    )  # fmt: skip
    frame = rows(len(times)).assign(at=times, seconds=durations or [0.0] * len(times))
    frame["verdict"] = ["attack", "fine"] * (len(times) // 2)
    return check_data(declared, frame, where="x")


def test_an_event_counts_at_its_end_and_rows_are_sorted_by_it():
    data = timed(["2026-07-01T12:00:02", "2026-07-01T12:00:00"], [0.0, 1.5])
    assert data.at_us.tolist() == [1782900001500000, 1782900002000000]  # 12:00 in Prague in July is 10:00 UTC
    assert "out of event-time order" in data.notes[0]


def test_bad_times_are_refused():
    with pytest.raises(DataError, match="not of type timestamp"):
        timed(["2026-07-01T12:00:02", "yesterday"])
    with pytest.raises(DataError, match="negative"):
        timed(["2026-07-01T12:00:02"] * 2, [1.0, -1.0])
    with pytest.raises(DataError, match=r"is 1e\+10 in row 1"):
        timed(["2026-07-01T12:00:02"] * 2, [1.0, 1e10])
    with pytest.raises(DataError, match="store UTC"):
        timed(["2026-10-25T02:30:00"] * 2)


def test_unverified_rows_are_said_to_be():
    declared = detector(label__negative={"equals": ["fine"]})
    frame = rows(50)
    frame.loc[:9, "verdict"] = "unknown"
    data = check_data(declared, frame, where="x")
    assert not data.verified[:10].any()
    assert "10 rows are neither positive nor negative" in data.notes[0]


def test_a_field_that_gives_the_label_away_is_noted():
    frame = rows(100).assign(failures=lambda f: np.where(f["verdict"] == "attack", 9, 1))
    assert any("'failures' alone tells every attack" in n for n in check_data(detector(), frame, where="x").notes)
    assert not check_data(detector(), rows(100), where="x").notes


def test_a_key_under_another_name_is_refused():
    declared = detector(source__columns__alias="string", entity={"key": "user"}, request_fields=["alias", "failures"])
    with pytest.raises(DataError, match="'alias' is the entity key 'user' under another name"):
        check_data(declared, rows(50).assign(alias=lambda f: f["user"]), where="x")


def test_a_text_field_that_identifies_is_noted():
    frame = rows(600).assign(method=[f"m{i}" for i in range(600)])
    assert any("600 values: a name rather than a feature" in n for n in check_data(detector(), frame, where="x").notes)


def test_ports_are_numbers():
    declared = detector(source__columns__failures={"from": "Port", "type": "port"})
    frame = rows(4).drop(columns="failures").assign(Port=["80", "0x0303", None, ""], verdict=["attack", "fine"] * 2)
    assert check_data(declared, frame, where="x").frame["failures"].tolist() == [80, 771, -1, -1]


def test_a_data_folder_may_be_the_detectors_or_the_one_above(tmp_path):
    declared = detector(source__train="rows.csv")
    (tmp_path / "logins").mkdir()
    rows(10).to_csv(tmp_path / "logins" / "rows.csv", index=False)
    assert find_file(declared, tmp_path) == tmp_path / "logins" / "rows.csv"
    assert find_file(declared, tmp_path / "logins") == tmp_path / "logins" / "rows.csv"
    with pytest.raises(DataError, match="no such file"):
        find_file(declared, tmp_path / "other")


def test_a_typed_column_may_be_timestamps_already():
    data = timed(pd.to_datetime(["2026-07-01T10:00:00Z", "2026-07-01T10:00:01Z"]))
    assert data.at_us.tolist() == [1782900000000000, 1782900001000000]


def test_a_line_that_is_no_row_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"user": "u"}\n\n{"user": \n')
    with pytest.raises(DataError, match="line 3 is not a JSON object"):
        read_data(detector(source__format="jsonl"), path)


HOSTILE = {
    "user": "string", "method": "string", "failures": "int", "seconds": "float", "verdict": "string", "at": "timestamp",
    "port": "port", "flag": "bool",
}  # fmt: skip
GOOD = {"user": "u", "method": "key", "failures": 3, "seconds": 1.5, "at": "2026-01-01T00:00:00Z", "port": "80", "flag": True}
odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2), st.just({"a": 1}),
    st.sampled_from([10**400, 1e39, -1e39, 2**63, 2**64, "1e999", "\ud800", "\x00", "²", "9" * 400, "0x50", "true", "9999-12-31T23:59:59Z",
                     "0001-01-01", "2026-01-01T00:00:00+02:00"]),
)  # fmt: skip
odd_rows = st.lists(st.dictionaries(st.sampled_from([*GOOD, "verdict"]), odd, max_size=2), min_size=1, max_size=4)


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@laws.examples(30)
@given(odd_rows)
def test_of_any_rows_a_file_is_taken_or_refused_in_one_message(tmp_path_factory, form, changes):
    """Training data are refused as a whole, with the row; they are never read wrong and never end in a trace."""
    made = [{**GOOD, "verdict": ["attack", "fine"][n % 2], **change} for n, change in enumerate([{}, {}, *changes])]
    path = tmp_path_factory.mktemp("rows") / f"rows.{form}"
    _write(path, form, made)
    declared = detector(source__columns=HOSTILE, source__format=form, entity={"key": "user"}, label__others="ignore",
                        event_time={"column": "at", "duration": "seconds"},
                        request_fields=["method", "failures", "seconds", "port", "flag"])  # fmt: skip
    with contextlib.suppress(DataError):
        _is_right(read_data(declared, path), len(made))


def _is_right(data, rows):
    assert len(data) == rows
    for column in ("failures", "seconds", "port"):
        numbers = data.frame[column].to_numpy(dtype=np.float64)
        assert np.isfinite(numbers).all()
        assert np.isfinite(numbers.astype(np.float32)).all()
    assert (data.at_us > -(2**55)).all()


def _write(path, form, made):
    frame = pd.DataFrame(made, dtype=object)
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    elif form == "csv":
        with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
            frame.to_csv(stream, index=False)
    else:
        pq.write_table(pa.table({name: _column(frame[name].tolist()) for name in frame}), path)


def _column(values):
    """A column has one type: where values are of several, they are written as text."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return pa.array([repr(v) for v in values])


def test_times_with_different_offsets_are_of_one_clock():
    data = timed(["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"])
    assert data.at_us.tolist() == [1792888200000000, 1792891800000000]
    with pytest.raises(DataError, match=r"row 1: .* has an offset, others have none"):
        timed(["2026-07-01T12:00:02", "2026-07-01T12:00:02+02:00"])


@pytest.mark.parametrize("zone", ["Prague", "Europe", "../etc/passwd", ""])
def test_a_time_zone_that_is_none_is_refused_with_the_declaration(zone):
    with pytest.raises(DetectorError, match=r"event_time.timezone: .* is not a time zone; write e.g. UTC or Europe/Prague"):
        detector(source__columns__at="timestamp", event_time={"column": "at", "timezone": zone})
