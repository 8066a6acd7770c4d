import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from tests.unit.operators.capacity.figures_of import door, plan_figures

ASK = ["capacity", "--events-per-day", "5e7", "--p99", "60ms"]


@pytest.fixture
def slow(tmp_path: Path) -> list[str]:
    """Options of figures with few requests a second, so that little is simulated."""
    path = tmp_path / "figures.json"
    path.write_bytes(msgspec.json.encode(plan_figures(doors={"http/features": door(4e-3)})))
    return ["--figures", str(path)]


def run(*arguments: str, ends_with: int = 0) -> str:
    found = CliRunner().invoke(app, [*ASK, *arguments])
    assert found.exit_code == ends_with, found.output or found.exception
    return found.stdout


@pytest.mark.heavy
def test_a_plan_as_json_names_formula_inputs_and_bounds(slow: list[str]):
    record = json.loads(run(*slow, "--simulate-s", "9", "--budget", "1000", "--json"))
    line = next(one for one in record["plan"] if one["name"] == "serving/replicas")
    assert line["low"] <= line["value"] <= line["high"]
    assert "doors.http/features.busy_s" in line["inputs"]
    assert record["measured"]["processor"] == "a processor"
    assert [one["is_held"] for one in record["simulated"]] == [True] * 6
    assert {one["factor"] for one in record["bites"]} == {1, 10, 100}


@pytest.mark.heavy
def test_a_page_has_the_plan_and_the_chart_and_needs_no_network(slow: list[str], tmp_path: Path):
    page = tmp_path / "capacity.html"
    said = run(*slow, "--simulate-s", "0", "--html", str(page))
    assert "the plan was not simulated" in said
    text = page.read_text(encoding="utf-8")
    assert "chart-1" in text
    assert 'src="http' not in text


@pytest.mark.heavy
def test_a_profile_gives_the_peak(slow: list[str], tmp_path: Path):
    hours = tmp_path / "hours.txt"
    hours.write_text("1, " * 23 + "25\n", encoding="utf-8")
    record = json.loads(run(*slow, "--simulate-s", "0", "--profile", str(hours), "--json"))
    assert record["demand"]["peak_factor"] == 12.5


def test_a_profile_without_numbers_is_not_a_day_of_the_usual_peak(slow: list[str], tmp_path: Path):
    hours = tmp_path / "hours.txt"
    hours.write_text("\n", encoding="utf-8")
    found = CliRunner().invoke(app, [*ASK, *slow, "--simulate-s", "0", "--profile", str(hours)])
    assert "--profile has 0 numbers" in str(found.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--p99", "soon"], "--p99 is 'soon', expected a duration"),
        (["--zones", "0"], "--zones is 0"),
        (["--simulate-s", "3"], "--simulate-s is 3, expected 0, or 9 to 3600"),
        (["--door", "smtp"], "door 'smtp' is not among the figures"),
        (["--p99", "0.1ms"], "cannot be had"),
    ],
)
def test_what_cannot_be_planned_is_said_by_its_option(slow: list[str], arguments: list[str], words: str):
    found = CliRunner().invoke(app, [*ASK, *slow, *arguments])
    assert words in str(found.exception)


@pytest.mark.parametrize("option", ["--figures", "--assumptions", "--profile"])
def test_a_file_that_is_not_there_is_named(option: str, tmp_path: Path):
    found = CliRunner().invoke(app, [*ASK, option, str(tmp_path / "none")])
    assert isinstance(found.exception, OSError)
    assert "none" in str(found.exception)


@pytest.mark.parametrize("option", ["--figures", "--assumptions", "--profile"])
def test_a_file_of_something_else_is_refused(option: str, tmp_path: Path):
    path = tmp_path / "other"
    path.write_bytes(b"\xff\x00 {")
    found = CliRunner().invoke(app, [*ASK, option, str(path)])
    assert "other" in str(found.exception)
    assert type(found.exception).__module__.startswith("operators")
