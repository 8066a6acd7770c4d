"""`vedette risk`: what people see of an entity's risk, and what programs get."""

import json

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from serving.risk.rules_of_risk import read_rules

S = 1_000_000
T0 = 1_700_000_000 * S
AT = "2023-11-14T22:13:20Z"


@pytest.fixture
def risk(tmp_path):
    """Runs `vedette risk ...` on a store of its own."""

    def run(*words, code=0):
        result = CliRunner().invoke(app, ["risk", *map(str, words)], env={"VEDETTE_STORE_DIR": str(tmp_path / "store")})
        assert result.exit_code == code, (result.output, result.exception)
        return result if code == 0 else result.exception

    return run


def line(**change):
    fields = {"entity": "10.0.0.1", "kind": "realtime", "name": "flows", "probability": 0.9, "at_us": T0, "id": "events/0/1"}
    return json.dumps({**fields, **change}) + "\n"


@pytest.fixture
def signals(tmp_path):
    path = tmp_path / "signals.jsonl"
    lines = [line(), line(kind="batch", name="behaviour", probability=0.3, id="w/1"), line(entity="10.0.0.2", probability=0.1)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_an_entity_is_shown_with_its_parts(risk, signals):
    assert "2 entities" in risk("add", signals, "--at", AT).stderr
    shown = risk("10.0.0.1", "--at", AT).stdout
    assert "10.0.0.1: risk 0.992 (critical), complete" in shown
    assert "behaviour" in shown


def test_programs_get_the_documented_form(risk, signals):
    risk("add", signals, "--at", AT)
    form = json.loads(risk("show", "10.0.0.1", "--json", "--at", AT).stdout)
    assert (form["schema"], form["entity"], form["at"]) == ("vedette.risk/1", "10.0.0.1", "2023-11-14T22:13:20.000Z")
    assert [one["entity"] for one in json.loads(risk("top", "--json", "--at", AT).stdout)] == ["10.0.0.1", "10.0.0.2"]


def test_the_same_signals_change_nothing_the_second_time(risk, signals):
    risk("add", signals, "--at", AT)
    assert json.loads(risk("add", signals, "--at", AT, "--json").stdout)["entities_changed"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (line() + "{", "line 2"),
        (line(probability=2), "probability is 2.0, expected 0 to 1"),
        (line(kind="guess"), "Invalid enum value 'guess'"),
        (line(id=""), "id has 0 letters"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_added(risk, tmp_path, text, words):
    path = tmp_path / "wrong.jsonl"
    path.write_text(text, encoding="utf-8")
    assert words in str(risk("add", path, code=1))
    assert "nothing was ever said" in str(risk("10.0.0.1", code=1))


def test_an_unknown_entity_says_where_to_look(risk):
    assert "vedette risk top" in str(risk("nobody", code=1))


def test_a_wrong_time_is_refused(risk, signals):
    assert "'yesterday' is not a time" in str(risk("top", "--at", "yesterday", code=1))


def test_fit_writes_rules_with_its_figures(risk, tmp_path):
    rows = [{"harmful": i % 4 == 0, "realtime": 0.6 if i % 4 == 0 else 0.02, "batch": None} for i in range(200)]
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert json.loads(risk("fit", path, "--dry-run", "--json").stdout)["written"] is None
    assert read_rules(tmp_path / "store").version == 1
    assert "fitted" in risk("fit", path).stdout
    rules = read_rules(tmp_path / "store")
    assert (rules.version, rules.fitted["entities"], rules.fitted["harmful"]) == (2, 200, 50)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"realtime": 0.5}], "expected a column 'harmful'"),
        ([{"harmful": True, "realtime": 1.5}], "row 0: realtime is 1.5"),
        ([{"harmful": True, "realtime": "much"}], "expected a probability or nothing"),
    ],
)
def test_wrong_labelled_files_are_refused(risk, tmp_path, rows, words):
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert words in str(risk("fit", path, code=1))
