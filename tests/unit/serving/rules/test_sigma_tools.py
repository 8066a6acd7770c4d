"""Events as public tools write them, one file of samples a tool and option: the same fields and the same rules, whatever the tool.

The samples are made up; how they are laid out follows the tools' sources, at the versions that docs/reference/rules.md names. Each file
holds three events: one with named data (Sysmon 1), one with unnamed data (Windows PowerShell 400), one with user data (a session)."""

import copy
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from operators.cli.rules.event_files import read_events
from serving.rules.events import MultiValue, fields_of_json

SAMPLES = Path(__file__).parent / "samples"
TOOLS = sorted(p.name for p in SAMPLES.iterdir() if p.name != "python_evtx.json")
REFERENCE = Path(__file__).parents[4] / "docs" / "reference" / "rules.md"

SYSMON = {
    "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": "1", "Computer": "WS-17.example.org",
    "Provider_Name": "Microsoft-Windows-Sysmon", "EventRecordID": "4711", "ProcessId": "4242",
    "Image": "C:\\Windows\\System32\\whoami.exe", "CommandLine": "whoami.exe /priv", "User": "EXAMPLE\\anna",
    "ParentImage": "C:\\Windows\\System32\\cmd.exe", "IntegrityLevel": "High", "RuleName": "-",
}  # fmt: skip
POWERSHELL = {
    "Channel": "Windows PowerShell", "EventID": "400", "Computer": "WS-17.example.org", "Provider_Name": "PowerShell",
    "EventRecordID": "12",
}  # fmt: skip
SESSION = {
    "Channel": "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational", "EventID": "21",
    "Computer": "WS-17.example.org", "Provider_Name": "Microsoft-Windows-TerminalServices-LocalSessionManager",
    "EventRecordID": "88", "User": "EXAMPLE\\anna", "SessionID": "2", "Address": "203.0.113.9",
}  # fmt: skip
NOT_WRITTEN = {"hayabusa": {"Provider_Name"}}
RULES = {
    "whoami": {"logsource": {"category": "process_creation", "product": "windows"},
               "detection": {"s": {"Image|endswith": "\\whoami.exe", "Provider_Name|contains": "Sysmon"}, "condition": "s"}},
    "encoded": {"logsource": {"category": "ps_classic_start", "product": "windows"},
                "detection": {"s": {"Data|contains": "powershell.exe -enc"}, "condition": "s"}},
    "session": {"logsource": {"service": "terminalservices-localsessionmanager", "product": "windows"},
                "detection": {"s": {"EventID": 21, "Address|cidr": "203.0.113.0/24"}, "condition": "s"}},
}  # fmt: skip


def tool_of(name):
    return name.split("_")[0].split(".")[0]


def events(name):
    found = list(read_events(SAMPLES / name))
    assert [f.error for f in found] == [None] * 3
    return [fields_of_json(f.body)[0] for f in found]


@pytest.mark.parametrize("name", TOOLS)
def test_an_event_has_the_same_fields_whatever_tool_wrote_it(name):
    gone = NOT_WRITTEN.get(tool_of(name), set())
    for fields, expected in zip(events(name), (SYSMON, POWERSHELL, SESSION), strict=True):
        wanted = {field: value for field, value in expected.items() if field not in gone}
        assert {field: fields.get(field) for field in wanted} == wanted


@pytest.mark.parametrize("name", TOOLS)
def test_unnamed_data_are_values_and_no_json(name):
    data = events(name)[1]["Data"]
    texts = data.values if isinstance(data, MultiValue) else tuple(data.split(", "))  # EvtxECmd joins them
    assert texts[:2] == ("Available", "None")
    assert "HostApplication=powershell.exe -enc" in texts[2]


@pytest.mark.parametrize("name", TOOLS)
def test_rules_are_tried_on_what_each_tool_writes(name, tmp_path):
    for title, body in copy.deepcopy(RULES).items():
        if NOT_WRITTEN.get(tool_of(name)):
            body["detection"]["s"].pop("Provider_Name|contains", None)
        (tmp_path / f"{title}.yml").write_text(json.dumps({"title": title, "level": "high", **body}))
    done = CliRunner().invoke(app, ["rules", "test", str(tmp_path), str(SAMPLES / name), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [[r["title"] for r in e["rules"]] for e in said["events"]] == [["whoami"], ["encoded"], ["session"]]
    assert said["set_aside"] == []


def test_a_tool_that_leaves_out_what_an_event_is_needs_to_be_told():
    """python-evtx's evtx_dump_json.py writes neither channel nor id."""
    (found,) = read_events(SAMPLES / "python_evtx.json")
    fields, _ = fields_of_json(found.body)
    assert fields["Image"] == SYSMON["Image"]
    assert not {"Channel", "EventID"} & fields.keys()


def test_the_reference_names_every_sample():
    section = REFERENCE.read_text(encoding="utf-8").split("### Events")[1].split("### Log sources")[0]
    assert set(re.findall(r"`(\w+\.(?:json|jsonl|ndjson))`", section)) == {p.name for p in SAMPLES.iterdir()}
