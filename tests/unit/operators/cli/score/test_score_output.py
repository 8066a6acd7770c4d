"""Where `vedette score` writes: never over its own rows, and over nothing before it has something to write."""

from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app


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
