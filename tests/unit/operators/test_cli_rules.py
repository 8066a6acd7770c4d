"""`vedette rules`, as it is typed."""

import json

import pytest
from typer.testing import CliRunner

from operators.cli.main import app

RULE = """
title: Shell
id: 5a6e1e16-07de-48d8-8aae-faa766c05e88
level: high
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: cmd.exe}, condition: s}
"""
EVENT = {"Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": "C:\\cmd.exe"}


def run(*words):
    return CliRunner().invoke(app, ["rules", *map(str, words)], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "shell.yml").write_text(RULE)
    (tmp_path / "rules" / "rules.yaml").write_text("thresholds: [{id: a, when: x > 1, severity: high}]")
    (tmp_path / "events.jsonl").write_text("\n".join([json.dumps(EVENT), json.dumps({**EVENT, "EventID": 3})]))
    return tmp_path


def test_rules_that_hold(folder):
    done = run("check", folder / "rules", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["rules"], found["thresholds"], found["unsupported"], found["unreached"]) == (1, 1, [], [])


def test_what_is_not_supported_is_told_with_the_reason(folder):
    (folder / "rules" / "late.yml").write_text(
        RULE.replace("5a6e1e16", "6a6e1e16").replace("condition: s", "timeframe: 5m, condition: s")
    )
    done = run("check", folder / "rules")
    assert done.exit_code == 1
    assert "it has a timeframe" in done.stdout


def test_events_are_matched(folder):
    found = json.loads(run("test", folder / "rules", folder / "events.jsonl", "--json").stdout)
    assert [[r["title"] for r in e["rules"]] for e in found["events"]] == [["Shell"], []]
    assert "high: Shell" in run("test", folder / "rules", folder / "events.jsonl").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["check", "nowhere"], "no rules", id="no rules"),
        pytest.param(["test", "rules", "nothing"], "no events", id="no events"),
        pytest.param(["test", "rules", "bad.json"], "is not JSON", id="no JSON"),
    ],
)
def test_what_is_refused(folder, words, says):
    (folder / "bad.json").write_text("{")
    done = run(words[0], *[folder / w for w in words[1:]])
    assert done.exit_code == 1
    assert says in str(done.exception)
