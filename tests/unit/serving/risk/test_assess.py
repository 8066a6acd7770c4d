"""One figure with its parts: they add up, and what is missing is said."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.risk.assess import assess, risk_of
from serving.risk.entity_record import EntityRecord, log_odds, with_pending, with_signal
from serving.risk.json_form import risk_as_json, risk_as_record
from serving.risk.records import ceiling
from serving.risk.rules_of_risk import KindRules, RiskRules
from serving.risk.signal import KINDS, PendingCheck, RiskSignal

S = 1_000_000
T0 = 1_700_000_000 * S
RULES = RiskRules()
EXPECTING = RiskRules(kinds={"batch": KindRules(is_latest=True, expected_every_s=3900)})


def signal(kind="realtime", p=0.9, at_s=0.0, name="flows"):
    return RiskSignal(entity="h", kind=kind, name=name, probability=p, at_us=T0 + int(at_s * S), id=f"{kind}/{name}/{at_s}")


def record_of(*signals, rules=RULES):
    record = EntityRecord(entity="h")
    for one in signals:
        record = with_signal(record, one, rules)
    return record


@pytest.mark.parametrize(
    ("signals", "level"),
    [
        pytest.param([], "low", id="nothing is known: the prior"),
        pytest.param([signal(p=0.01)], "low", id="a verdict at the base rate says nothing"),
        pytest.param([signal(p=0.5)], "high", id="one doubtful verdict"),
        pytest.param([signal(p=0.5), signal("batch", 0.5)], "critical", id="two kinds that agree say more than one"),
        pytest.param([signal(p=0.5), signal("batch", 0.001)], "medium", id="a benign window takes away"),
        pytest.param([signal(p=0.999), signal("analyst", 0.0001, name="ann")], "low", id="an analyst outweighs a model"),
    ],
)
def test_levels(signals, level):
    assert assess(record_of(*signals), RULES, T0).level == level


PARTS = st.lists(
    st.builds(signal, kind=st.sampled_from(KINDS), p=st.floats(0, 1), at_s=st.floats(-1e5, 1e5), name=st.sampled_from("abc")),
    max_size=8,
)


@given(PARTS, st.integers(0, 10**7))
def test_the_parts_add_up_to_the_risk(signals, later_s):
    risk = assess(record_of(*signals), RULES, T0 + later_s * S)
    total = log_odds(risk.prior) + sum(part.log_odds for part in risk.parts)
    assert 0 < risk.risk < 1 or abs(total) > 30
    assert risk.risk == pytest.approx(1 / (1 + math.exp(-total)) if total > -700 else 0.0, abs=1e-12)


@given(PARTS)
def test_a_stronger_signal_never_lowers_the_risk(signals):
    before = assess(record_of(*signals), RULES, T0)
    after = assess(record_of(*signals, signal("rules", 0.99, name="new")), RULES, T0)
    assert after.risk >= before.risk


@given(PARTS, st.integers(0, 10**8))
def test_no_time_brings_the_risk_above_its_ceiling(signals, later_s):
    record = record_of(*signals)
    newest = max((one.at_us for one in record.signals.values()), default=T0)
    assert assess(record, RULES, newest + later_s * S).risk <= ceiling(record, RULES) + 1e-12


def test_what_time_takes_it_goes_back_to_the_prior():
    assert assess(record_of(signal(p=0.99)), RULES, T0 + 10**8 * S).risk == pytest.approx(RULES.prior)


@pytest.mark.parametrize(
    ("signals", "now_s", "missing"),
    [
        pytest.param([signal()], 0, ("batch",), id="an expected kind without a signal is missing"),
        pytest.param([signal("batch")], 3900, (), id="one that is recent enough is there"),
        pytest.param([signal("batch")], 3901, ("batch",), id="one that is too old is missing"),
    ],
)
def test_completeness(signals, now_s, missing):
    risk = assess(record_of(*signals, rules=EXPECTING), EXPECTING, T0 + now_s * S)
    assert (risk.missing, risk.is_complete) == (missing, not missing)


@pytest.mark.parametrize(
    ("now_s", "pending", "overdue"), [(0, 1, 0), (59, 1, 0), (60, 0, 1)], ids=["asked for", "still in time", "its time is over"]
)
def test_a_check_is_pending_until_it_is_due(now_s, pending, overdue):
    record = with_pending(
        EntityRecord(entity="h"), PendingCheck(entity="h", id="e/0/1", name="deep", asked_us=T0, due_us=T0 + 60 * S)
    )
    risk = assess(record, RULES, T0 + now_s * S)
    assert (len(risk.pending), len(risk.overdue), risk.is_complete) == (pending, overdue, False)


def test_the_json_form_says_all_of_it():
    record = with_pending(
        record_of(signal(), signal("batch", 0.2, 5)), PendingCheck(entity="h", id="e", name="deep", asked_us=T0, due_us=T0)
    )
    form = risk_as_record(assess(record, EXPECTING, T0 + 10 * S))
    assert form["schema"] == "vedette.risk/1"
    assert [part["kind"] for part in form["parts"]] == ["realtime", "batch"]
    assert form["complete"] is False
    assert form["overdue"][0]["name"] == "deep"
    assert form["rules"] == EXPECTING.digest
    assert risk_as_json(assess(record, EXPECTING, T0))


def test_a_time_past_the_calendar_is_still_shown():
    record = record_of(RiskSignal(entity="h", kind="rules", name="r", probability=0.5, at_us=2**61, id="x"))
    assert risk_as_record(assess(record, RULES, 2**61))["at"].endswith(" us")


def test_the_sum_does_not_depend_on_the_order_of_its_parts():
    parts = [1e16, 1.0, -1e16, 0.5]
    assert risk_of(RULES, parts) == risk_of(RULES, parts[::-1])
