"""`vedette score --explain`: every line of the result has its explanation."""

import json

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from serving.models.store import BundleStore
from tests.unit.serving.scoring.variants import threat

ROWS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    store = BundleStore(folder / "store")
    store.add(threat(folder / "1", "1"))
    plain = threat(folder / "2", "2", score=None, operating_points={}, default_operating_point=None)
    store.add(plain)
    rows = [json.dumps({"host": f"h{i}", "level": float(i % 5 - 2)}) for i in range(ROWS)]
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def score(folder, *options, version="1"):
    given = ["score", str(folder / "rows.jsonl"), "--model", "threat", "--version", version]
    return CliRunner().invoke(app, [*given, "--store-dir", str(folder / "store"), *options])


@pytest.mark.heavy
def test_every_row_is_explained_however_many_there_are(folder):
    done = score(folder, "--explain", "shap", "--out", str(folder / "out.jsonl"))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == ROWS
    assert [line["explanation"]["verdict"] for line in lines] == [line["verdict"] for line in lines]
    assert lines[4]["explanation"]["reasons"][0]["column"] == "level"


def test_what_cannot_be_explained_is_said_before_a_row_is_scored(folder):
    for options, version, says in (
        (("--explain", "guess"), "1", "expected one of"),
        (("--explain", "shap"), "2", "has no score"),
    ):
        done = score(folder, *options, "--out", str(folder / "never.jsonl"), version=version)
        assert says in str(done.exception)
        assert not (folder / "never.jsonl").exists()
