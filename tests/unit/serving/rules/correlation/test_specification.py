"""The specification's own examples, as its text has them (Sigma Correlation Rules Specification 2.1.0)."""

import pytest

from serving.rules.matcher import compile_sigma
from tests.unit.serving.rules.correlation.correlating import base, compiled, correlator, event, play, seen

FAILED = "5638f7c0-ac70-491d-8465-2a65075e0d86"
FAILED_LOGON = f"""
title: failed
id: {FAILED}
logsource: {{product: site, service: log}}
detection: {{s: {{kind: failed}}, condition: s}}
"""
MANY_FAILED = f"""
title: Many failed logins
id: 0e95725d-7320-415d-80f7-004da920fc11
name: many
correlation:
    type: event_count
    rules:
        - {FAILED}
    group-by:
        - ComputerName
    timespan: 1h
    condition:
        gte: 100
"""
USERS = f"""
title: Failed login
id: 0e95725d-7320-415d-80f7-004da920fc12
name: users
correlation:
    type: value_count
    rules:
        - {FAILED}
    group-by:
        - ComputerName
        - WorkstationName
    timespan: 1d
    condition:
        field: User
        gte: 100
"""
RECON = """
title: Recon
name: recon
correlation:
    type: temporal
    rules:
        - recon_cmd_a
        - recon_cmd_b
        - recon_cmd_c
    group-by:
        - ComputerName
        - User
    timespan: 5m
"""
ALIASES = """
title: errors
name: errors
correlation:
    type: temporal
    rules:
        - internal_error
        - new_network_connection
    group-by:
        - internal_ip
        - remote_ip
    timespan: 10s
    aliases:
        internal_ip:
            internal_error: destination.ip
            new_network_connection: source.ip
        remote_ip:
            internal_error: source.ip
            new_network_connection: destination.ip
"""
BRUTE_FORCE = """
title: Correlation - Multiple Failed Logins Followed by Successful Login
id: b180ead8-d58f-40b2-ae54-c8940995b9b6
name: brute_force
correlation:
    type: temporal_ordered
    rules:
        - multiple_failed_login
        - successful_login
    group-by:
        - User
    timespan: 10m
level: high
---
title: Multiple failed logons
id: a8418a5a-5fc4-46b5-b23b-6c73beb19d41
name: multiple_failed_login
correlation:
    type: event_count
    rules:
        - failed_login
    group-by:
        - User
    timespan: 10m
    condition:
        gte: 10
---
title: Single failed login
id: 53ba33fd-3a50-4468-a5ef-c583635cfa92
name: failed_login
logsource:
    product: windows
    service: security
detection:
    selection:
        EventID:
            - 529
            - 4625
    condition: selection
---
title: Successful login
id: 4d0a2c83-c62c-4ed4-b475-c7e23a9269b8
name: successful_login
logsource:
    product: windows
    service: security
detection:
    selection:
        EventID:
            - 528
            - 4624
    condition: selection
"""
WINDOWS = {"product": "windows", "service": "security"}


def logon(at, number, user):
    return at, {"EventID": number, "User": user, "logsource": WINDOWS}


def test_a_hundred_failed_logins_to_a_host_in_an_hour():
    matcher = compiled(FAILED_LOGON, MANY_FAILED)
    events = [event(36 * n, "failed", ComputerName="dc1") for n in range(100)]
    assert seen(play(matcher, events)) == {("many", ("dc1",), 0)}
    assert not play(matcher, events[:99])
    assert not play(matcher, [event(37 * n, "failed", ComputerName="dc1") for n in range(98)])
    assert not play(matcher, [event(n, "failed", ComputerName=f"dc{n % 2}") for n in range(198)])


def test_a_hundred_accounts_for_one_source_and_destination_in_a_day():
    matcher = compiled(FAILED_LOGON, USERS)
    ends = {"ComputerName": "dc1", "WorkstationName": "ws1"}
    assert seen(play(matcher, [event(800 * n, "failed", User=f"u{n}", **ends) for n in range(100)])) == {
        ("users", ("dc1", "ws1"), 0)
    }
    assert not play(matcher, [event(8 * n, "failed", User=f"u{n % 99}", **ends) for n in range(1000)])


@pytest.mark.parametrize("order", ["abc", "cab", "bca"])
def test_three_reconnaissance_commands_in_any_order(order):
    matcher = compiled(base("recon_cmd_a", "recon_cmd_b", "recon_cmd_c"), RECON)
    who = {"ComputerName": "ws1", "User": "eve"}
    events = [event(100 * n, f"recon_cmd_{letter}", **who) for n, letter in enumerate(order)]
    assert seen(play(matcher, events)) == {("recon", ("ws1", "eve"), 0)}
    assert not play(matcher, [*events[:2], event(200, events[2][1]["kind"], ComputerName="ws1", User="bob")])
    assert not play(matcher, [*events[:2], event(301, events[2][1]["kind"], **who)])


@pytest.mark.parametrize(("order", "is_met"), [("abc", True), ("acb", False), ("cba", False), ("aabbc", True), ("bcabc", True)])
def test_three_reconnaissance_commands_in_their_order(order, is_met):
    matcher = compiled(
        base("recon_cmd_a", "recon_cmd_b", "recon_cmd_c"), RECON.replace("type: temporal", "type: temporal_ordered")
    )
    events = [event(10 * n, f"recon_cmd_{letter}", ComputerName="ws1", User="eve") for n, letter in enumerate(order)]
    assert bool(play(matcher, events)) is is_met


def test_an_alias_names_another_field_in_each_rule():
    matcher = compiled(base("internal_error", "new_network_connection"), ALIASES)
    error = event(0, "internal_error", **{"source.ip": "203.0.113.9", "destination.ip": "10.0.0.1"})
    back = event(5, "new_network_connection", **{"source.ip": "10.0.0.1", "destination.ip": "203.0.113.9"})
    forth = event(5, "new_network_connection", **{"source.ip": "203.0.113.9", "destination.ip": "10.0.0.1"})
    assert seen(play(matcher, [error, back])) == {("errors", ("10.0.0.1", "203.0.113.9"), 0)}
    assert not play(matcher, [error, forth])


def test_many_failed_logins_are_followed_by_a_success():
    matcher = compiled(BRUTE_FORCE)
    fails = [logon(30 * n, 4625, "eve") for n in range(10)]
    (hit,) = play(matcher, [*fails, logon(300, 4624, "eve")])
    assert (hit.rule.name, hit.rule.level, hit.group, hit.events) == ("brute_force", "high", ("eve",), ("e10",))
    assert not play(matcher, [*fails[:9], logon(300, 4624, "eve")])
    assert not play(matcher, [*fails, logon(300, 4624, "bob")])
    assert not play(matcher, [logon(0, 4624, "eve"), *fails])
    assert not play(matcher, [*fails, logon(871, 4624, "eve")])


def test_an_outer_correlation_uses_its_own_groups_only():
    """As the note says: many_failed_logins groups by host, the correlation around it by user."""
    text = BRUTE_FORCE.replace(
        "        - failed_login\n    group-by:\n        - User", "        - failed_login\n    group-by:\n        - Host"
    )
    matcher = compiled(text)
    fails = [(30 * n, {"EventID": 4625, "Host": "dc1", "User": "eve", "logsource": WINDOWS}) for n in range(10)]
    assert seen(play(matcher, [*fails, logon(300, 4624, "eve")])) == {("brute_force", ("eve",), 0)}


def test_rules_that_a_correlation_refers_to_count_for_it_only_unless_it_generates():
    assert compiled(BRUTE_FORCE).correlations.hidden == {
        "a8418a5a-5fc4-46b5-b23b-6c73beb19d41",
        "53ba33fd-3a50-4468-a5ef-c583635cfa92",
        "4d0a2c83-c62c-4ed4-b475-c7e23a9269b8",
    }
    generating = BRUTE_FORCE.replace("correlation:\n", "correlation:\n    generate: true\n")
    assert not compiled(generating).correlations.hidden


def test_more_than_a_million_bytes_to_a_website():
    text = """
title: Possible Exfiltration to Website
name: bytes
correlation:
    type: value_sum
    rules:
        - website_access
    group-by:
        - SourceIP
        - User
    timespan: 1h
    condition:
        field: bytes_sent
        gt: 1000000
"""
    matcher = compiled(base("website_access"), text)
    who = {"SourceIP": "10.0.0.1", "User": "eve"}
    events = [event(60 * n, "website_access", bytes_sent=300_000, **who) for n in range(4)]
    assert [hit.measure for hit in play(matcher, events)] == [1_200_000]
    assert not play(matcher, [event(1300 * n, "website_access", bytes_sent=300_000, **who) for n in range(4)])
    assert not play(matcher, [*events[:3], event(200, "website_access", bytes_sent="many", **who)])


def test_an_average_above_five_hundred():
    text = """
title: Suspicious average network traffic
name: average
correlation:
    type: value_avg
    rules:
        - rule_a_id
    group-by:
        - SourceIP
        - User
    timespan: 24h
    condition:
        field: BytesOut
        gt: 500
"""
    matcher = compiled(base("rule_a_id"), text)
    who = {"SourceIP": "10.0.0.1", "User": "eve"}
    assert not play(matcher, [event(0, "rule_a_id", BytesOut=100, **who), event(9, "rule_a_id", BytesOut=900, **who)])
    (hit,) = play(matcher, [event(0, "rule_a_id", BytesOut=200, **who), event(9, "rule_a_id", BytesOut=900, **who)])
    assert hit.measure == 550


def test_a_program_that_is_rare_on_its_host():
    text = """
title: A computer spawned a processes name in the last 24h than 1% of all the processes.
name: rare
correlation:
    type: value_percentile
    rules:
        - process_creation
    group-by:
        - ComputerName
    timespan: 24h
    condition:
        field: image
        lte: 1
"""
    matcher = compiled(base("process_creation"), text)
    usual = [event(n, "process_creation", ComputerName="ws1", image="a.exe") for n in range(99)]
    (hit,) = play(matcher, [*usual, event(100, "process_creation", ComputerName="ws1", image="b.exe")])
    assert (hit.measure, hit.at_us) == (1.0, 100_000_000)
    assert not play(matcher, [*usual[:98], event(100, "process_creation", ComputerName="ws1", image="b.exe")])


def test_a_range_of_two_operators():
    text = MANY_FAILED.replace("        gte: 100\n", "        gt: 2\n        lte: 4\n")
    matcher = compiled(FAILED_LOGON, text)
    hits = play(matcher, [event(n, "failed", ComputerName="dc1") for n in range(6)])
    assert [(hit.at_us, hit.measure) for hit in hits] == [(2_000_000, 3)]
    engine = correlator(matcher)
    play(matcher, [event(n, "failed", ComputerName="dc1") for n in range(6)], engine)
    assert [item.is_anchor for item in engine.groups[(0, ("dc1",))].items] == [False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(("type: event_count", "type: event_sum"), "no valid Sigma correlation type", id="an unknown type"),
        pytest.param(("timespan: 1h", "timespan: 1x"), "Timespan '1x' is invalid", id="an unknown unit"),
        pytest.param(("        gte: 100", "        gte: many"), "which is no number", id="no number"),
        pytest.param(("        gte: 100", "        at-least: 100"), "exactly one condition item", id="an unknown operator"),
        pytest.param((FAILED, "nothing"), "refers to 'nothing', and no rule here has this id or name", id="no such rule"),
        pytest.param((f"- {FAILED}", "- many"), "refers to itself", id="itself"),
        pytest.param(
            ("        gte: 100", "        gte: 20000"), "at most 10000 events of a group are kept", id="more than are kept"
        ),
        pytest.param(("timespan: 1h", "timespan: 90d"), "at most 2678400 s", id="longer than is kept"),
        pytest.param(("type: event_count", "type: value_count"), "without field reference", id="a count of no field"),
        pytest.param(("type: event_count", "type: temporal"), "so it can never match", id="more rules than there are"),
    ],
)
def test_what_does_not_hold_is_listed_with_the_reason(change, reason):
    found = compile_sigma([("r.yml", FAILED_LOGON), ("c.yml", MANY_FAILED.replace(*change))])
    assert [u.path for u in found.unsupported] == ["c.yml"]
    assert reason in found.unsupported[0].reason


def test_two_rules_of_one_name_are_not_told_apart():
    found = compile_sigma([("r.yml", base("a", "a")), ("c.yml", MANY_FAILED.replace(FAILED, "a"))])
    assert "is the name of 2 rules" in found.unsupported[0].reason
