"""Twenty correlations of attacks, each with events that must and must not correlate, in order and out of order."""

import random

import pytest

from tests.unit.serving.rules.correlation.correlating import base, compiled, correlation, correlator, defined, event, play, seen

DAY_US = 86_400_000_000


def every(step, count, kind, first=0, **fields):
    """Events at equal distances; a field's `{n}` is the number of the event."""
    return [
        event(first + step * n, kind, **{k: v.format(n=n) if isinstance(v, str) else v for k, v in fields.items()})
        for n in range(count)
    ]


def case(name, body, hits, *misses, rules=None, kinds):
    """hits: events that correlate. misses: events that do not."""
    return pytest.param(rules or [correlation(body)], kinds, hits, misses, id=name)


CASES = [
    case("password spraying: one source, many users",
         "type: value_count\nrules: [failed]\ngroup-by: [ip]\ntimespan: 10m\ncondition: {field: user, gte: 20}",
         every(20, 20, "failed", ip="1.1.1.1", user="u{n}"),
         every(20, 20, "failed", ip="1.1.1.1", user="u1"), every(20, 20, "failed", ip="1.1.1.{n}", user="u{n}"),
         every(60, 20, "failed", ip="1.1.1.1", user="u{n}"), kinds=["failed"]),
    case("brute force that succeeds", "type: temporal_ordered\nrules: [many, success]\ngroup-by: [user]\ntimespan: 5m",
         [*every(5, 5, "failed", user="eve"), event(60, "success", user="eve")],
         [*every(5, 4, "failed", user="eve"), event(60, "success", user="eve")],
         [event(0, "success", user="eve"), *every(5, 5, "failed", first=10, user="eve")],
         [*every(5, 5, "failed", user="eve"), event(400, "success", user="eve")],
         rules=[correlation("type: temporal_ordered\nrules: [many, success]\ngroup-by: [user]\ntimespan: 5m"),
                correlation("type: event_count\nrules: [failed]\ngroup-by: [user]\ntimespan: 5m\ncondition: {gte: 5}", name="many")],
         kinds=["failed", "success"]),
    case("port scan: one source, many ports",
         "type: value_count\nrules: [connect]\ngroup-by: [src, dst]\ntimespan: 1m\ncondition: {field: port, gt: 50}",
         every(1, 51, "connect", src="a", dst="b", port="{n}"), every(1, 50, "connect", src="a", dst="b", port="{n}"),
         every(2, 51, "connect", src="a", dst="b", port="{n}"), kinds=["connect"]),
    case("sweep: one port, many hosts",
         "type: value_count\nrules: [connect]\ngroup-by: [src, port]\ntimespan: 1m\ncondition: {field: dst, gte: 10}",
         every(1, 10, "connect", src="a", dst="h{n}", port="445"), every(1, 10, "connect", src="a", dst="h{n}", port="{n}"),
         kinds=["connect"]),
    case("dropper: written, then run", "type: temporal_ordered\nrules: [written, run]\ngroup-by: [host, file]\ntimespan: 2m",
         [event(0, "written", host="h", file="x.exe"), event(100, "run", host="h", file="x.exe")],
         [event(0, "run", host="h", file="x.exe"), event(100, "written", host="h", file="x.exe")],
         [event(0, "written", host="h", file="x.exe"), event(100, "run", host="h", file="y.exe")],
         [event(0, "written", host="h", file="x.exe"), event(121, "run", host="h", file="x.exe")], kinds=["written", "run"]),
    case("exactly the timespan apart belongs together", "type: temporal\nrules: [a, b]\ngroup-by: [host]\ntimespan: 60s",
         [event(0, "a", host="h"), event(60, "b", host="h")], [event(0, "a", host="h"), event(60.000001, "b", host="h")],
         kinds=["a", "b"]),
    case("a window across midnight and the full hour", "type: event_count\nrules: [a]\ngroup-by: [host]\ntimespan: 1h\ncondition: {gte: 3}",
         [event(86_400 + at, "a", host="h") for at in (-1500, -5, 1500)],
         [event(86_400 + at, "a", host="h") for at in (-1900, -5, 1900)], kinds=["a"]),
    case("lateral movement: one user on many hosts",
         "type: value_count\nrules: [logon]\ngroup-by: [user]\ntimespan: 15m\ncondition: {field: host, gte: 5}",
         every(100, 5, "logon", user="eve", host="h{n}"), every(100, 9, "logon", user="eve", host="h1"), kinds=["logon"]),
    case("exfiltration: many bytes in all",
         "type: value_sum\nrules: [upload]\ngroup-by: [src]\ntimespan: 10m\ncondition: {field: bytes, gte: 1000}",
         every(60, 5, "upload", src="a", bytes=200), every(60, 4, "upload", src="a", bytes=249),
         every(200, 5, "upload", src="a", bytes=200), kinds=["upload"]),
    case("kill chain: three of four stages",
         "type: temporal\nrules: [scan, exploit, shell, theft]\ngroup-by: [host]\ntimespan: 1h\ncondition: {gte: 3}",
         [event(0, "theft", host="h"), event(900, "scan", host="h"), event(1800, "shell", host="h")],
         [event(0, "scan", host="h"), event(900, "scan", host="h"), event(1800, "shell", host="h")],
         [event(0, "theft", host="h"), event(900, "scan", host="i"), event(1800, "shell", host="h")],
         kinds=["scan", "exploit", "shell", "theft"]),
    case("two of three stages in their order",
         "type: temporal_ordered\nrules: [scan, exploit, shell]\ngroup-by: [host]\ntimespan: 1h\ncondition: {gte: 2}",
         [event(0, "scan", host="h"), event(10, "shell", host="h")], [event(0, "shell", host="h"), event(10, "scan", host="h")],
         kinds=["scan", "exploit", "shell"]),
    case("either of two rules counts", "type: event_count\nrules: [a, b]\ngroup-by: [host]\ntimespan: 1m\ncondition: {gte: 4}",
         [event(n, "ab"[n % 2], host="h") for n in range(4)], [event(n, "ab"[n % 2], host="h") for n in range(3)], kinds=["a", "b"]),
    case("an event that two rules match is one event",
         "type: event_count\nrules: [a, b]\ngroup-by: [host]\ntimespan: 1m\ncondition: {gte: 2}",
         [event(0, ["a", "b"], host="h"), event(1, "a", host="h")], [event(0, ["a", "b"], host="h")], kinds=["a", "b"]),
    case("an event that two rules match is both of them", "type: temporal\nrules: [a, b]\ngroup-by: [host]\ntimespan: 1m",
         [event(0, ["a", "b"], host="h")], [event(0, "a", host="h")], kinds=["a", "b"]),
    case("but no order of two", "type: temporal_ordered\nrules: [a, b]\ngroup-by: [host]\ntimespan: 1m",
         [event(0, ["a", "b"], host="h"), event(1, "b", host="h")], [event(0, ["a", "b"], host="h")], kinds=["a", "b"]),
    case("an address that is source here and target there",
         "type: temporal\nrules: [infected, scanned]\ngroup-by: [host]\ntimespan: 1m\n"
         "aliases: {host: {infected: client, scanned: attacker}}",
         [event(0, "infected", client="h"), event(5, "scanned", attacker="h", client="x")],
         [event(0, "infected", client="h"), event(5, "scanned", attacker="y", client="h")], kinds=["infected", "scanned"]),
    case("accounts are made of name and domain",
         "type: event_count\nrules: [failed]\ngroup-by: [user, domain]\ntimespan: 1m\ncondition: {gte: 3}",
         every(1, 3, "failed", user="u", domain="d"), every(1, 4, "failed", user="u", domain="d{n}"), every(1, 4, "failed", user="u"),
         kinds=["failed"]),
    case("distinct pairs of two fields",
         "type: value_count\nrules: [q]\ngroup-by: [src]\ntimespan: 1m\ncondition: {field: [name, kindof], gte: 3}",
         [event(0, "q", src="a", name="x", kindof="A"), event(1, "q", src="a", name="x", kindof="TXT"),
          event(2, "q", src="a", name="y", kindof="A")],
         [event(0, "q", src="a", name="x", kindof="A"), event(1, "q", src="a", name="x", kindof="TXT"),
          event(2, "q", src="a", name="x", kindof="A")], kinds=["q"]),
    case("campaign: three brute forces on different hosts",
         "type: value_count\nrules: [many]\ngroup-by: [ip]\ntimespan: 1h\ncondition: {field: host, gte: 3}",
         [e for n in range(3) for e in every(2, 4, "failed", first=300 * n, ip="i", host=f"h{n}")],
         [e for n in range(3) for e in every(2, 4, "failed", first=300 * n, ip="i", host="h")],
         [e for n in range(3) for e in every(2, 3, "failed", first=300 * n, ip="i", host=f"h{n}")],
         rules=[correlation("type: value_count\nrules: [many]\ngroup-by: [ip]\ntimespan: 1h\ncondition: {field: host, gte: 3}"),
                correlation("type: event_count\nrules: [failed]\ngroup-by: [ip, host]\ntimespan: 1m\ncondition: {gte: 4}", name="many")],
         kinds=["failed"]),
    case("one attack that goes on is one brute force in its interval, not many",
         "type: event_count\nrules: [many]\ngroup-by: [ip]\ntimespan: 1h\ncondition: {gte: 2}",
         [*every(1, 9, "failed", ip="i"), *every(1, 9, "failed", first=600, ip="i")], every(1, 20, "failed", ip="i"),
         rules=[correlation("type: event_count\nrules: [many]\ngroup-by: [ip]\ntimespan: 1h\ncondition: {gte: 2}"),
                correlation("type: event_count\nrules: [failed]\ngroup-by: [ip]\ntimespan: 1m\ncondition: {gte: 4}", name="many")],
         kinds=["failed"]),
    case("a condition of and and or", "type: temporal\nrules: [a, b, c]\ngroup-by: [host]\ntimespan: 1m\ncondition: a and (b or c)",
         [event(0, "c", host="h"), event(9, "a", host="h")], [event(0, "b", host="h"), event(9, "c", host="h")], kinds=["a", "b", "c"]),
]  # fmt: skip


def orders(count, seed=7):
    """The order of time, its reverse, and some others."""
    rng = random.Random(seed)
    yield None
    yield list(reversed(range(count)))
    for _ in range(4):
        order = list(range(count))
        rng.shuffle(order)
        yield order


def test_there_are_twenty():
    assert len(CASES) >= 20


@pytest.mark.parametrize(("rules", "kinds", "hits", "misses"), CASES)
def test_events_correlate_and_do_not_in_any_order(rules, kinds, hits, misses):
    matcher = compiled(base(*kinds), "".join(rules))
    expected = defined(matcher, hits)
    assert {name for name, _, _ in expected} == {"found"}
    for order in orders(len(hits)):
        assert seen(play(matcher, hits, correlator(matcher, lateness_us=DAY_US), order)) == expected, order
    for events in misses:
        assert not defined(matcher, events)
        for order in orders(len(events)):
            assert not play(matcher, events, correlator(matcher, lateness_us=DAY_US), order)


def test_absence_is_judged_on_what_is_known():
    matcher = compiled(
        base("login", "mfa"),
        correlation("type: temporal\nrules: [login, mfa]\ngroup-by: [user]\ntimespan: 1m\ncondition: login and not mfa"),
    )
    assert not matcher.correlations.rules[0].is_lasting
    assert not play(matcher, [event(0, "mfa", user="u"), event(5, "login", user="u")])
    assert play(matcher, [event(0, "login", user="u")])
    assert play(matcher, [event(0, "mfa", user="u"), event(61, "login", user="u")])


def test_one_hit_for_each_group_and_interval():
    matcher = compiled(
        base("a"), correlation("type: event_count\nrules: [a]\ngroup-by: [host]\ntimespan: 60s\ncondition: {gte: 3}")
    )
    hits = play(matcher, [event(n, "a", host=f"h{n % 2}") for n in range(300)])
    assert seen(hits) == {("found", (f"h{n}",), 60 * m) for n in range(2) for m in range(5)}
    assert len(hits) == 10


def test_the_events_of_a_hit_are_those_of_its_window():
    matcher = compiled(
        base("a"), correlation("type: event_count\nrules: [a]\ngroup-by: [host]\ntimespan: 10s\ncondition: {gte: 3}")
    )
    (hit,) = play(matcher, [event(at, "a", host="h") for at in (0, 20, 25, 29)])
    assert (hit.events, hit.at_us, hit.measure) == (("e1", "e2", "e3"), 29_000_000, 3)
