"""`vedette score` over rows as nobody should send them: each is answered or set aside with its reason, and none is lost."""

import json

import pytest
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from tests.fakes.serving.hostile_rows import MODEL, write

ROWS = 10_000


def test_an_operating_point_that_the_model_has_not_is_one_message_and_not_one_a_row(tmp_path):
    file, store, _ = write(tmp_path, 3)
    words = ["score", str(file), "--model", MODEL, "--store-dir", str(store), "--operating-point", "night"]
    with pytest.raises(CommandError, match="--operating-point night: model 'touchy' has none"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_every_row_is_answered_or_set_aside_with_its_reason(tmp_path):
    file, store, right = write(tmp_path, ROWS)
    out = tmp_path / "out.jsonl"
    done = CliRunner().invoke(
        app, ["score", str(file), "--model", MODEL, "--store-dir", str(store), "--out", str(out), "--json"], env={"VEDETTE_STORE_DIR": ""}
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [line["row"] for line in lines] == list(range(ROWS))
    wrong = [line for line, is_right in zip(lines, right, strict=True) if ("error" not in line) is not is_right]
    assert wrong == []
    assert all(line["error"] for line in lines if "error" in line)
    counted = json.loads(done.stdout)
    assert (counted["rows"], counted["answered"], counted["rejected"]) == (ROWS, sum(right), ROWS - sum(right))
