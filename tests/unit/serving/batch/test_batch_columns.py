"""Columns of Arrow tables become what a request takes; a wrong value is its row's fault alone."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from serving.batch.data.columns import read_columns
from serving.batch.data.event_times import NO_TIME, event_times_us
from serving.batch.data.source import Source, SourceColumn, SourceTime
from serving.batch.errors import BatchInputError


def read(kind, values, **options):
    rows = read_columns(pa.table({"x": values}), Source((SourceColumn("x", kind, **options),)))
    return rows.columns["x"].values.tolist(), rows.why


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("string", pa.array(["a", "", "ü"]), [b"a", b"", "ü".encode()]),
        ("string", pa.array(["a", "a"]).dictionary_encode(), [b"a", b"a"]),
        ("string", pa.array([7, 8]), [b"7", b"8"]),
        ("port", pa.array(["53", "0x0303", "", None, "0080"]), [53, 771, -1, -1, 80]),
        ("port", pa.array([53, None]), [53, -1]),
        ("int", pa.array([1, -2], pa.int16()), [1, -2]),
        ("int", pa.array([3.0, 4.0]), [3, 4]),
        ("float", pa.array([1, 2], pa.int32()), [1.0, 2.0]),
        ("float", pa.array([0.5]), [0.5]),
        ("bool", pa.array([True, False]), [True, False]),
    ],
)
def test_values(kind, values, expected):
    assert read(kind, values) == (expected, {})


@pytest.mark.parametrize(
    ("kind", "values", "row", "words"),
    [
        ("string", pa.array(["a", None]), 1, "missing or null"),
        ("int", pa.array([1, None]), 1, "missing or null"),
        ("int", pa.array([1.0, 1.5]), 1, "expected a whole number"),
        ("int", pa.array([1.0, 1e30]), 1, "expected a whole number"),
        ("float", pa.array([0.5, float("nan")]), 1, "expected a finite number"),
        ("float", pa.array([0.5, float("inf")]), 1, "expected a finite number"),
    ],
)
def test_a_wrong_value_rejects_its_row_only(kind, values, row, words):
    _, why = read(kind, values)
    assert list(why) == [row]
    assert words in why[row]


def test_a_number_beyond_fp32_is_wrong_where_the_tensor_is_fp32():
    assert list(read("float", pa.array([1.0, 1e39]), is_narrow=True)[1]) == [1]
    assert read("float", pa.array([1.0, 1e39]))[1] == {}


@pytest.mark.parametrize(
    ("kind", "values", "default", "expected"), [("string", ["a", None], "-", [b"a", b"-"]), ("int", [1, None], 0, [1, 0])]
)
def test_a_default_stands_in_for_a_null(kind, values, default, expected):
    assert read(kind, pa.array(values), default=default) == (expected, {})


@pytest.mark.parametrize(("kind", "values"), [("int", ["a"]), ("float", ["a"]), ("bool", [1]), ("string", [[1]])])
def test_a_column_of_another_type_stops_the_job(kind, values):
    with pytest.raises(BatchInputError, match="column 'x' is"):
        read(kind, pa.array(values))


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(BatchInputError, match=r"no column 'y' \(or 'Y'\); it has \['x'\]"):
        read_columns(pa.table({"x": [1]}), Source((SourceColumn("y", "int", "Y"),)))


def test_the_data_may_have_the_models_names_or_the_sources():
    source = Source((SourceColumn("bytes", "int", "TotBytes"),))
    for name in ("bytes", "TotBytes"):
        assert read_columns(pa.table({name: [5]}), source).columns["bytes"].values.tolist() == [5]


MOMENT = datetime(2011, 8, 18, 13, 0, 0, 250_000, tzinfo=UTC)
AT_US = 1_313_672_400_250_000


@pytest.mark.parametrize(
    ("values", "zone"),
    [
        (pa.array([MOMENT]), "UTC"),
        (pa.array([MOMENT.replace(tzinfo=None)]), "UTC"),
        (pa.array([MOMENT.replace(tzinfo=None, hour=15)]), "Europe/Prague"),
        (pa.array([AT_US]), "UTC"),
        (pa.array(["2011-08-18T15:00:00.250000+02:00"]), "UTC"),
        (pa.array(["2011-08-18T13:00:00.250000"]), "UTC"),
    ],
    ids=["with-a-zone", "naive-is-utc", "naive-is-of-the-declared-zone", "microseconds", "text-with-offset", "text"],
)
def test_times(values, zone):
    assert event_times_us(pa.table({"t": values}), SourceTime("t", zone)).tolist() == [AT_US]


def test_an_event_is_known_at_its_end():
    table = pa.table({"t": pa.array([MOMENT] * 4), "d": [1.5, None, -1.0, 0.0]})
    assert event_times_us(table, SourceTime("t", duration="d")).tolist() == [AT_US + 1_500_000, NO_TIME, NO_TIME, AT_US]


def test_a_null_is_no_time():
    assert event_times_us(pa.table({"t": pa.array([None, MOMENT])}), SourceTime("t")).tolist() == [NO_TIME, AT_US]


@pytest.mark.parametrize("at_us", [2**60, -(2**60), 2**63 - 1, -(2**63) + 1])
def test_a_time_that_no_calendar_has_is_its_rows_fault_alone(at_us):
    times = event_times_us(pa.table({"t": pa.array([at_us, AT_US])}), SourceTime("t"))
    assert times.tolist() == [NO_TIME, AT_US]


NO_TIMES = ["soon", "", "2011-02-30T13:00:00", "2011-08-18T25:00:00Z", "99999-01-01", "1313676000"]


@pytest.mark.parametrize(
    "form", [pa.array, lambda v: pa.chunked_array([v[:3], v[3:]]), lambda v: pa.array(v, pa.large_string())]
)
@pytest.mark.parametrize("good", ["2011-08-18T15:00:00.250000+02:00", "2011-08-18 13:00:00.250000"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "amid"])
def test_text_that_is_no_time_is_its_rows_fault_alone(form, good, is_first):
    texts = [*NO_TIMES, good, None, good] if is_first else [good, *NO_TIMES, None, good]
    expected = [AT_US if text == good else NO_TIME for text in texts]
    assert event_times_us(pa.table({"t": form(texts)}), SourceTime("t")).tolist() == expected


def test_texts_with_and_without_an_offset_may_be_mixed():
    texts = pa.array(["2011-08-18T15:00:00.250000", "2011-08-18T13:00:00.250000Z", "2011-08-18T14:00:00.250000+0100"])
    assert event_times_us(pa.table({"t": texts}), SourceTime("t", "Europe/Prague")).tolist() == [AT_US] * 3


def test_a_column_of_text_without_a_time_has_no_times():
    assert event_times_us(pa.table({"t": pa.array(["soon"])}), SourceTime("t")).tolist() == [NO_TIME]


@pytest.mark.parametrize("values", [pa.array([1.5]), pa.array([True])])
def test_what_is_no_time_is_refused(values):
    with pytest.raises(BatchInputError, match="column 't'"):
        event_times_us(pa.table({"t": values}), SourceTime("t"))


def test_codes_tell_values_apart_and_blanks_are_none():
    rows = read_columns(pa.table({"x": ["a", "", "b", "a"]}), Source((SourceColumn("x", "string"),)))
    codes = rows.columns["x"].codes
    assert codes is not None
    assert codes[1] == -1
    assert codes[0] == codes[3] != codes[2]
    assert np.issubdtype(codes.dtype, np.int64)
