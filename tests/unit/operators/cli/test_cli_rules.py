"""`vedette rules`, as it is typed."""

import contextlib
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from operators.cli.main import app
from operators.cli.rules.app import _matched
from operators.cli.rules.event_files import events_in
from serving.rules.errors import RuleError
from serving.rules.matcher import compile_sigma

RULE = """
title: Shell
id: 5a6e1e16-07de-48d8-8aae-faa766c05e88
level: high
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: cmd.exe}, condition: s}
"""
NAMES = ["Event", "System", "EventData", "UserData", "Data", "#text", "#attributes", "@Name", "Name", "Data_attributes", "winlog",
         "event_data", "Provider_attributes", "AllFieldInfo", "Channel", "EventID", "EventId", "Payload", "logsource"]  # fmt: skip
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
    ],
)
def test_what_is_refused(folder, words, says):
    done = run(words[0], *[folder / w for w in words[1:]])
    assert done.exit_code == 1
    assert says in str(done.exception)


def test_an_event_that_cannot_be_read_is_set_aside_and_the_others_are_tried(folder):
    whole, huge = json.dumps(EVENT), json.dumps({**EVENT, "x": "y" * 300_000})
    said = json.dumps({**EVENT, "logsource": {"produkt": "windows"}})
    lines = [whole, "{", huge, "7", whole[:-1] + ', "n": NaN}', said, whole]
    (folder / "odd.jsonl").write_text("\n".join(lines))
    done = run("test", folder / "rules", folder / "odd.jsonl", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [e["event"] for e in found["events"]] == ["odd.jsonl:1", "odd.jsonl:7"]
    assert all(e["rules"] for e in found["events"])
    assert [s["event"] for s in found["set_aside"]] == [f"odd.jsonl:{n}" for n in (2, 3, 4, 5, 6)]
    reasons = ("is not JSON", "are accepted", "is a JSON int", "is not JSON", "expected some of")
    assert [reason in s["reason"] for reason, s in zip(reasons, found["set_aside"], strict=True)] == [True] * 5
    assert "5 set aside" in run("test", folder / "rules", folder / "odd.jsonl").stdout


things = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
)
"""Any JSON, with names that forms of events have."""


@pytest.mark.heavy
@given(
    st.lists(
        things.map(json.dumps) | st.binary().map(lambda b: b.decode("latin-1").replace("\n", " ").strip() or "0"), max_size=6
    )
)
def test_of_any_lines_each_is_an_event_or_set_aside(lines):
    body = "\n".join(lines).encode()
    found = list(events_in("e", body))
    compiled = compile_sigma([("shell.yml", RULE)])
    for event in found:
        with contextlib.suppress(RuleError):
            assert _matched(compiled, event)[1] in ([], [compiled.rules[0]])
    if len(lines) > 1 and all(line.startswith("{") for line in lines):
        assert len(found) == len(lines), "one event a line"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        pytest.param(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n', ["e:1", "e:2"], id="a byte order mark"),
        pytest.param('{"a": 1}\n{"a": 2}\n'.encode("utf-16"), ["e:1", "e:2"], id="what PowerShell writes"),
        pytest.param(
            b'Record 1\n{\n "a": 1\n}\nRecord 2\n{\n "a":\n}\nRecord 3\n{\n "a": 3\n}\n',
            ["e:2", "e:6!", "e:10"],
            id="evtx_dump",
        ),
        pytest.param(b'[{"a": 1}\n,\n{"a": 2}]\n', ["e[0]", "e[1]"], id="a list"),
        pytest.param(b'[{"a": 1}\n,\n{"a": 2', ["e:1", "e:3!"], id="a list that breaks off"),
        pytest.param(b"[" * 100_000, ["e:1!"], id="nested too deeply"),
        pytest.param(
            b"[" + b'{"a":' * 1015 + b"1" + b"}" * 1015 + b', {"b": 2}]',
            ["e[0]!" if sys.version_info < (3, 12) else "e[0]", "e[1]"],
            id="in a list, read; not to be written before Python 3.12, which takes twice the depth",
        ),
        pytest.param(b"\n \n", [], id="nothing"),
    ],
)
def test_files_of_every_layout(content, names):
    assert [f.name + ("!" if f.error else "") for f in events_in("e", content)] == names


@pytest.mark.heavy
def test_what_the_sources_of_a_site_reach(folder):
    (folder / "rules" / "cloud.yml").write_text(
        RULE.replace("5a6e1e16", "6a6e1e16").replace(
            "product: windows, category: process_creation", "product: okta, service: okta"
        )
    )
    without = json.loads(run("reach", folder / "rules", "--json").stdout)
    assert (without["rules"], without["reached"]) == (2, 1)
    assert without["unreached"][0]["reached_by"] == ["ecs", "okta"]
    assert "okta has it" in run("reach", folder / "rules").stdout
    assert json.loads(run("reach", folder / "rules", "--sources", "okta,zeek", "--json").stdout)["reached"] == 2
    assert json.loads(run("reach", folder / "rules", "--sources", "all", "--json").stdout)["reached"] == 2
    (folder / "rules" / "rules.yaml").write_text("sources: [okta]")
    assert json.loads(run("reach", folder / "rules", "--json").stdout)["reached"] == 2
    assert json.loads(run("check", folder / "rules", "--json").stdout)["unreached"] == []


def test_a_source_that_there_is_not_is_refused(folder):
    done = run("reach", folder / "rules", "--sources", "syslog")
    assert done.exit_code != 0
    assert "no mapping of a source 'syslog'" in str(done.exception)


FAILED = """
title: Failed logon
name: failed
logsource: {product: okta, service: okta}
detection: {s: {outcome.result: FAILURE}, condition: s}
---
title: Many failed logons
tags: [attack.t1110.001]
level: high
correlation:
  type: event_count
  rules: [failed]
  group-by: [actor.alternateId]
  timespan: 1m
  condition: {gte: 3}
"""


def failed(second, user="eve"):
    return {"eventType": "user.session.start", "legacyEventType": "x", "published": f"2026-11-20T10:00:{second:02}Z",
            "actor": {"alternateId": user}, "outcome": {"result": "FAILURE"}}  # fmt: skip


def test_correlations_over_a_file_of_events(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "many.yml").write_text(FAILED)
    events = [failed(50), failed(1), failed(2, "bob"), failed(30), {**failed(31), "published": "never"}]
    (tmp_path / "events.json").write_text(json.dumps(events))
    found = json.loads(run("test", tmp_path / "rules", tmp_path / "events.json", "--sources", "okta", "--json").stdout)
    (hit,) = found["correlations"]
    assert (hit["title"], hit["level"], hit["group"]) == ("Many failed logons", "high", {"actor.alternateId": "eve"})
    assert (hit["at"], hit["measure"], hit["techniques"]) == ("2026-11-20T10:00:50Z", 3, ["T1110.001"])
    assert hit["events"] == ["events.json[1]", "events.json[3]", "events.json[0]"]
    assert found["events_without_time"] == 1
    shown = run("test", tmp_path / "rules", tmp_path / "events.json", "--sources", "okta").stdout
    assert "1 correlations" in shown
    assert "have no time" in shown


def test_correlations_that_pass_are_told(tmp_path):
    (tmp_path / "many.yml").write_text(FAILED.replace("gte: 3", "lt: 3"))
    done = run("check", tmp_path)
    assert done.exit_code == 0
    assert "1 SIGMA rules, 1 correlations" in done.stdout
    assert "a late event may add a hit" in done.stdout
