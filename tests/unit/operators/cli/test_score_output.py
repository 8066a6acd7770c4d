"""Where `vedette score` writes: never over its own rows, and over nothing before it has something to write."""

import pytest
from typer.testing import CliRunner

import operators.cli.up as up
from operators.cli.console import CommandError
from operators.cli.main import app
from operators.cli.models.features import _column
from operators.cli.rules.event_files import events_in
from serving.ports import FieldInfo


def score(tmp_path, file, out):
    return CliRunner().invoke(app, ["score", str(file), "--out", str(out), "--store-dir", str(tmp_path / "store")])


def test_the_rows_that_are_scored_are_not_written_over(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    (tmp_path / "link.jsonl").symlink_to(rows)
    for out in (rows, tmp_path / "link.jsonl"):
        done = score(tmp_path, rows, out)
        assert isinstance(done.exception, CommandError)
        assert "--out" in str(done.exception)
        assert rows.read_text() == "{}\n"


def test_what_cannot_be_scored_leaves_an_earlier_result_alone(tmp_path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "scored.jsonl"
    rows.write_text("{}\n")
    out.write_text("the result of yesterday\n")
    assert score(tmp_path, rows, out).exception is not None
    assert out.read_text() == "the result of yesterday\n"


@pytest.mark.parametrize(("datatype", "text"), [("INT64", "9" * 30), ("INT32", "many"), ("INT8", "300")])
def test_a_key_that_its_datatype_cannot_hold_is_refused(datatype, text):
    with pytest.raises(CommandError, match=f"expected {datatype}"):
        _column(FieldInfo("port", datatype), text)


def test_an_event_with_a_number_beyond_bounds_is_not_called_too_deep():
    found = list(events_in("x", b'{"a": ' + b"9" * 5_000 + b'}\n{"b": 1}\n'))
    assert [event.why_not is None for event in found] == [False, True]
    assert "digits" in str(found[0].why_not)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80"), ("localhost", "http://localhost:80")],
)
def test_the_address_that_is_announced_can_be_opened(host, expected):
    assert up.url_of(host, 80) == expected
