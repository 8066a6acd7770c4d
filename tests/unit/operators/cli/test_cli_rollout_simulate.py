"""`vedette rollout simulate`: a table for people, JSON for programs, a page to look at, and an exit code that says whether it holds."""

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from operators.labs import rollout_simulation


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(rollout_simulation, "TABLE", rollout_simulation.TABLE[3:5])
    monkeypatch.setattr(rollout_simulation, "BESIDES", rollout_simulation.BESIDES[3:4])


def run(*args: str):
    return CliRunner().invoke(app, ["rollout", "simulate", "--runs", "200", *args])


@pytest.mark.heavy
def test_rows_stand_beside_the_reference_and_a_fixed_threshold():
    result = run()
    assert result.exit_code == 0, result.output
    assert "100 % at 3,600 (360)" in result.output
    assert "fixed threshold" in result.output


@pytest.mark.heavy
def test_json_and_page(tmp_path):
    page = tmp_path / "page.html"
    result = run("--json", "--html", str(page))
    found = json.loads(result.stdout)
    assert [r["is_met"] for r in found["rows"]] == [True, True, True]
    assert found["rows"][0]["threshold"]["stopped"] > 0.9
    assert "1 % : 3 % (vedette)" in page.read_text(encoding="utf-8").replace("\\u0025", "%")


@pytest.mark.heavy
def test_a_row_that_does_not_hold_fails_the_command(monkeypatch):
    hard = dataclasses.replace(rollout_simulation.TABLE[0], median=100)
    monkeypatch.setattr(rollout_simulation, "TABLE", (hard,))
    result = run()
    assert isinstance(result.exception, CommandError)
    assert "1 of 2 rows" in str(result.exception)


def test_a_folder_that_is_not_there_is_said_before_anything_runs(tmp_path):
    result = run("--html", str(tmp_path / "none" / "page.html"))
    assert "make it first" in str(result.exception)
