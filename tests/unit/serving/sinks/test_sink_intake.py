"""Which alerts a sink gets, and that what it does not get is counted in an alert that it does."""

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.sinks.alert import WrongAlert, alert_id, read_alert
from serving.sinks.flow.folding import WHOLE_SINK, FoldKey
from serving.sinks.flow.intake import IntakeRules, IntakeState
from serving.sinks.flow.repeats import RecentIds
from serving.sinks.flow.throttle import MOST_GROUPS, Throttle, ThrottleLimits
from serving.sinks.forms.example import example
from serving.sinks.pipeline import SpoolEntry
from serving.stream.encoding import alert_of
from tests.fakes.sinks.alerts import an_alert, record
from tests.laws import examples


def decided(rules, *given, now_s=0.0):
    state = IntakeState(rules, 0.0)
    return [state.decide(alert, now_s).what for alert in given]


@pytest.mark.parametrize(
    ("rules", "alerts", "expected"),
    [
        pytest.param({}, [an_alert(1), an_alert(2)], ["send", "send"], id="alerts pass by default"),
        pytest.param({}, [an_alert(1), an_alert(1)], ["send", "repeated"], id="an alert that was seen is a repeat"),
        pytest.param({}, [an_alert(1), an_alert(1, model="other")], ["send", "send"], id="two models may alert on one event"),
        pytest.param(
            {"min_severity": "high"}, [an_alert(1, severity="low"), an_alert(2)], ["filtered", "send"], id="less severe ones are left out"
        ),
        pytest.param({"group_s": 60}, [an_alert(1), an_alert(2)], ["send", "fold"], id="the first of a group is sent, others are folded"),
        pytest.param(
            {"group_s": 60}, [an_alert(1, severity="low"), an_alert(2, severity="high"), an_alert(3, severity="high")],
            ["send", "send", "fold"], id="one that is more severe than what was sent of its group is sent at once",
        ),
        pytest.param({"group_s": 60}, [an_alert(1), an_alert(2, host="h2")], ["send", "send"], id="another group is sent"),
        pytest.param(
            {"throttle": ThrottleLimits(per_second=1, burst=1)}, [an_alert(1), an_alert(2, host="h2")], ["send", "fold"],
            id="what is over the limit of the sink is folded",
        ),
        pytest.param(
            {"throttle": ThrottleLimits(group_per_minute=1, group_burst=1)}, [an_alert(1), an_alert(2), an_alert(3, host="h2")],
            ["send", "fold", "send"], id="what is over the limit of its group is folded; other groups pass",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_alerts(rules, alerts, expected):
    assert decided(IntakeRules(**rules), *alerts) == expected


def test_a_repeat_after_the_window_is_sent_again():
    state = IntakeState(IntakeRules(repeats_s=60), 0.0)
    assert [state.decide(an_alert(1), now_s).what for now_s in (0, 59, 61)] == ["send", "repeated", "send"]


def test_ids_are_bounded():
    recent = RecentIds(3600, most=100)
    for number in range(1000):
        recent.add(str(number), 0.0)
    assert len(recent) == 100
    assert recent.knows("999", 0.0)
    assert not recent.knows("0", 0.0)


def test_buckets_of_groups_are_bounded():
    throttle = Throttle(ThrottleLimits(group_per_minute=1), 0.0)
    for number in range(MOST_GROUPS + 100):
        throttle.refuses(str(number), 0.0)
    assert len(throttle._groups) == MOST_GROUPS


@examples(100)
@given(per_s=st.floats(0.1, 100), burst=st.integers(1, 50), steps=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_more_than_rate_and_burst_pass(per_s, burst, steps):
    throttle, now_s, passed = Throttle(ThrottleLimits(per_second=per_s, burst=burst), 0.0), 0.0, 0
    for step in steps:
        now_s += step
        passed += throttle.refuses("g", now_s) is None
    assert passed <= burst + per_s * now_s + 1e-6


def test_a_fold_counts_lists_and_takes_the_most_severe():
    state = IntakeState(IntakeRules(group_s=60), 0.0)
    for number, severity in enumerate(["high", "medium", "high", "low"]):
        intake = state.decide(an_alert(number, severity=severity, title=severity), 0.0)
        if intake.key is not None:
            state.folds.add(intake.key, an_alert(number, severity=severity, title=severity), place=1)
    assert not list(state.folds.due(59))
    (fold,) = state.folds.due(60)
    summary = fold.summary()
    assert summary.folded is not None
    assert (summary.folded.count, summary.message.severity) == (3, "high")
    assert summary.folded.ids == tuple(an_alert(number).id for number in (1, 2, 3))
    assert summary.message.title == "3 more alerts of this entity: high"


def test_a_flood_of_many_groups_becomes_one_alert():
    state = IntakeState(IntakeRules(throttle=ThrottleLimits(per_second=1, burst=1)), 0.0)
    for number in range(500):
        alert = an_alert(number, host=f"h{number}")
        intake = state.decide(alert, 0.0)
        if intake.key is not None:
            state.folds.add(intake.key, alert, 1)
    (fold,) = state.folds.due(60)
    summary = fold.summary()
    assert fold.key == FoldKey("throttled", WHOLE_SINK)
    assert summary.folded is not None
    assert (summary.folded.count, len(summary.folded.ids), len(summary.folded.entities)) == (499, 100, 100)


def with_times(**times):
    message = an_alert().message
    return msgspec.json.encode(msgspec.structs.replace(message, verdict=msgspec.structs.replace(message.verdict, **times)))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param(None, "no value", id="a tombstone"),
        pytest.param(b"{", "truncated", id="half a JSON text"),
        pytest.param(b"[" * 100_000, "not an alert", id="nested without end"),
        pytest.param(b"\xff", "not an alert", id="no UTF-8"),
        pytest.param(record(an_alert()).replace(b"vedette.alert/1", b"other/1"), "schema", id="another schema"),
        pytest.param(with_times(scored_at="yesterday"), "RFC 3339", id="no time"),
        pytest.param(with_times(scored_at="2026-01-01T00:00:00"), "no time zone", id="no time zone"),
        pytest.param(with_times(event_time="0001-01-01T00:00:00Z"), "before 1970", id="a time before the epoch"),
    ],
)
def test_what_is_no_alert_is_told_apart(value, says):
    with pytest.raises(WrongAlert, match=says):
        read_alert(value)


DEEP = [b"[" * n + b"]" * n for n in (30, 200, 950, 990, 995)]


@pytest.mark.parametrize(
    "value",
    [b"1" + b"0" * 30, b"-1" + b"0" * 20, b'"\\u0000\\n"', *DEEP],
    ids=["a large number", "a small number", "NUL", *(f"{len(value) // 2} levels" for value in DEEP)],
)
def test_what_is_read_can_be_spooled_and_read_again(value):
    """Nested ever so deep: the spool nests it deeper still."""
    try:
        alert = read_alert(record(an_alert(event={"x": 1})).replace(b'"x":1', b'"x":' + value))
    except WrongAlert:
        return
    assert msgspec.json.decode(msgspec.json.encode(SpoolEntry(alert)), type=SpoolEntry).alert.id == alert.id


def test_what_the_stream_worker_writes_is_an_alert():
    manifest = SimpleNamespace(name="flows", description="Flows of infected hosts")
    message = alert_of(example().message.verdict, (), manifest, b"192.0.2.165", {"host": "192.0.2.165"})
    alert = read_alert(msgspec.json.encode(message))
    assert (alert.message, alert.message.group) == (message, "192.0.2.165|T1498.001")


def test_an_id_is_plain_ascii_and_short():
    assert alert_id(an_alert(7).message) == "vedette.events/3/7#flows"
    assert len(alert_id(an_alert(7, model="ö").message)) == 32
    assert len(alert_id(an_alert(7, model="m" * 1000).message)) == 32
