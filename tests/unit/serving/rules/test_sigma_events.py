"""Events in the forms they come in, and the log sources they are."""

import orjson
import pytest

from serving.rules import windows
from serving.rules.errors import RuleError
from serving.rules.events import MAX_EVENT_BYTES, MultiValue, fields_of, fields_of_json
from serving.rules.logsources import EventSource, LogSources, declared_source, read_entries
from serving.rules.tree import LogSource

SYSMON = "Microsoft-Windows-Sysmon/Operational"


def plain(value):
    return value.values if isinstance(value, MultiValue) else value


SYSTEM = {
    "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
    "EventID": 1,
    "Channel": SYSMON,
    "Correlation": None,
}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(
            {"Event": {"System": SYSTEM, "EventData": {"Image": "a", "Threat Name": "b"}}},
            {"Provider_Name": "Microsoft-Windows-Sysmon", "EventID": "1", "Channel": SYSMON, "Image": "a", "ThreatName": "b"},
            id="evtx as JSON",
        ),
        pytest.param(
            {"Event": {"System": {"EventID": {"#text": "5", "#attributes": {"Qualifiers": 0}}}, "EventData": {}}},
            {"EventID": "5", "EventID_Qualifiers": "0"},
            id="an id with qualifiers",
        ),
        pytest.param(
            {"Event": {"System": {}, "EventData": {"Data": [{"#attributes": {"Name": "Image"}, "#text": "a"}]}}},
            {"Image": "a"},
            id="named data",
        ),
        pytest.param({"Event": {"EventData": {"Data": ["a", "b"]}}}, {"Data": ("a", "b")}, id="unnamed data"),
        pytest.param(
            {"Event": {"EventData": {"Data": {"#text": ["a", "b"]}}}}, {"Data": ("a", "b")}, id="unnamed data as one text"
        ),
        pytest.param({"Event": {"EventData": {"Data": {"#text": "a"}, "Binary": None}}}, {"Data": "a"}, id="one unnamed data"),
        pytest.param(
            {"Event": {"EventData": {"Data": [{"#text": ["a", "b"]}, "c"]}}}, {"Data": ("a", "b", "c")}, id="lists within lists"
        ),
        pytest.param(
            {"Event": {"EventData": {"Data": "a", "Data_attributes": {"Name": "Image"}}}}, {"Image": "a"}, id="a name apart"
        ),
        pytest.param(
            {
                "Event": {
                    "System": {
                        "Provider_attributes": {"Name": "p", "Guid": "g"},
                        "EventID_attributes": {"Qualifiers": 1},
                        "EventID": 5,
                        "Provider": None,
                    }
                }
            },
            {"Provider_Name": "p", "Provider_Guid": "g", "EventID": "5", "EventID_Qualifiers": "1"},
            id="attributes apart",
        ),
        pytest.param(
            {"Event": {"System": {"Provider": "p", "Provider_attributes": {"Name": "n"}}}},
            {"Provider": "p", "Provider_Name": "n"},
            id="attributes beside a value",
        ),
        pytest.param(
            {
                "Event": {
                    "UserData": {
                        "Op": {"URL": {"#attributes": {"scheme": "http"}, "#text": "u"}, "A": {"B": {"#text": [1, 2]}}}
                    }
                }
            },
            {"URL": "u", "URL_scheme": "http", "A.B": ("1", "2")},
            id="user data with attributes",
        ),
        pytest.param(
            {
                "Event": {
                    "UserData": {"Op_attributes": {"xmlns": "x"}, "Op": {"URL_attributes": {"scheme": "http"}, "URL": "u"}}
                }
            },
            {"URL": "u", "URL_scheme": "http"},
            id="user data with attributes apart",
        ),
        pytest.param(
            {
                "Event": {
                    "@xmlns": "x",
                    "System": {"Provider": {"@Name": "p"}},
                    "EventData": {"@Name": "n", "Data": {"@Name": "A"}},
                }
            },
            {"Provider_Name": "p"},
            id="attributes with an at sign, and a value that is empty",
        ),
        pytest.param(
            {"Channel": "c", "EventId": 7, "Payload": "no JSON", "Level": "Warning", "Keywords": "Audit failure"},
            {"Channel": "c", "EventID": "7", "Data": "no JSON", "Level": "3", "Keywords": "0x8010000000000000"},
            id="EvtxECmd with a payload that is not JSON",
        ),
        pytest.param(
            {"Event": {"System": {"Level": 2}, "UserData": {"Op": {"#attributes": {"xmlns": "x"}, "Operation": "o"}}}},
            {"Level": "2", "Operation": "o"},
            id="user data",
        ),
        pytest.param(
            {"Event": {"System": {"Level": 2}, "EventData": {"Level": "own"}}}, {"Level": "own"}, id="the event's own name wins"
        ),
        pytest.param(
            {"winlog": {"channel": SYSMON, "event_id": "1", "event_data": {"Image": "a"}}, "host": {"name": "h"}},
            {"Image": "a", "Channel": SYSMON, "EventID": "1", "host.name": "h"},
            id="winlogbeat",
        ),
        pytest.param(
            {"winlog": {"channel": "c", "event_data": {"param1": "a", "param2": "b"}}},
            {"Channel": "c", "param1": "a", "param2": "b", "Data": ("a", "b")},
            id="winlogbeat's name of unnamed data",
        ),
        pytest.param(
            {"EventID": 1, "Image": "a", "b": {"c": [1, 2.0, True]}, "n": None},
            {"EventID": "1", "Image": "a", "b.c": ("1", "2", "true")},
            id="flat or any other JSON",
        ),
    ],
)
def test_forms(document, expected):
    fields, _ = fields_of_json(orjson.dumps(document))
    assert {name: plain(value) for name, value in fields.items()} == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"{", "is not JSON", id="no JSON"),
        pytest.param(b"[1]", "expected one object", id="no object"),
        pytest.param(b'{"a":"' + b"x" * MAX_EVENT_BYTES + b'"}', "are accepted", id="too large"),
    ],
)
def test_what_is_no_event(body, message):
    with pytest.raises(RuleError, match=message):
        fields_of_json(body)


def test_depth_and_number_of_fields_are_bounded():
    deep = {"a": "x"}
    for _ in range(500):
        deep = {"a": deep}
    assert len(fields_of(deep)) == 1
    assert len(fields_of({f"f{n}": 1 for n in range(10_000)})) == 4096


def event(channel, number, **fields):
    return {"Channel": channel, "EventID": str(number), **fields}


@pytest.mark.parametrize(
    ("fields", "about", "not_about"),
    [
        pytest.param(
            event(SYSMON, 1),
            [
                ("windows", "process_creation", None),
                ("windows", None, "sysmon"),
                ("windows", None, None),
                (None, "process_creation", None),
            ],
            [("linux", "process_creation", None), ("windows", "file_event", None), ("windows", None, "security")],
            id="Sysmon 1",
        ),
        pytest.param(
            event(SYSMON, 12, EventType="DeleteValue"),
            [("windows", "registry_delete", None), ("windows", "registry_event", None)],
            [("windows", "registry_add", None)],
            id="Sysmon 12 by its type",
        ),
        pytest.param(event(SYSMON.upper(), 13), [("windows", "registry_set", None)], [], id="case does not count"),
        pytest.param(
            event(SYSMON, 9999), [("windows", None, "sysmon")], [("windows", "process_creation", None)], id="an id nobody knows"
        ),
        pytest.param(
            event("Security", 4688), [("windows", "process_creation", None), ("windows", None, "security")], [], id="4688"
        ),
        pytest.param(
            event("Their-Own", 1),
            [("windows", None, None)],
            [("windows", "process_creation", None)],
            id="a channel nobody knows",
        ),
        pytest.param({"A": "x"}, [], [("windows", None, None)], id="no Windows event"),
    ],
)
def test_log_sources(fields, about, not_about):
    source = LogSources().of(fields)
    assert source.covered(LogSource(*k) for k in [*about, *not_about]) == [LogSource(*k) for k in about]


def test_a_log_source_that_names_no_part_covers_nothing():
    assert EventSource(("windows",)).covered([LogSource(None, None, None)]) == []


def test_audited_fields_get_the_names_rules_use():
    fields = event("Security", 4688, NewProcessName="a.exe", ParentProcessName="b.exe")
    LogSources().of(fields)
    assert (fields["Image"], fields["ParentImage"], fields["NewProcessName"]) == ("a.exe", "b.exe", "a.exe")


def test_a_site_adds_its_own():
    entries = read_entries(
        [
            {"when": {"event.dataset": "auditd"}, "product": "linux", "service": "auditd", "fields": {"exe": "process.exe"}},
            {"when": {"Channel": SYSMON, "EventID": [1]}, "category": "their_own"},
        ]
    )
    sources = LogSources(entries)
    fields = {"event.dataset": "AuditD", "process.exe": "x"}
    assert sources.of(fields) == EventSource(("linux",), (), ("auditd",))
    assert fields["exe"] == "x"
    assert set(sources.of(event(SYSMON, 1)).categories) == {"their_own", "process_creation"}
    assert sources.reaches(LogSource("linux", None, "auditd"))
    assert not LogSources().reaches(LogSource("linux", None, "auditd"))


@pytest.mark.parametrize("channel", [SYSMON, "Their-Own"], ids=["a channel that is known", "a channel nobody knows"])
def test_a_sites_entry_on_an_id_holds_on_every_channel(channel):
    sources = LogSources(read_entries([{"when": {"EventID": 9001}, "category": "their_own"}]))
    assert "their_own" in sources.of(event(channel, 9001)).categories
    assert "their_own" not in sources.of(event(channel, 9002)).categories
    assert "their_own" not in sources.of({"EventID": "9001"}).categories, "no Windows record: it has no channel"


def test_an_event_may_say_what_it_is():
    said = {"product": "windows", "category": ["file_event", "file_delete"]}
    assert LogSources().of({}, said) == declared_source(said) == EventSource(("windows",), ("file_event", "file_delete"))
    with pytest.raises(RuleError, match="expected some of"):
        declared_source({"produkt": "windows"})


def test_every_service_pysigma_knows_is_known():
    from sigma.pipelines.common import windows_logsource_mapping as theirs

    ours = {service: set(channels) for service, channels in windows.SERVICES.items()}
    for service, channels in theirs.items():
        channels = {channels} if isinstance(channels, str) else set(channels)
        assert channels <= ours.get(service, set()), service
