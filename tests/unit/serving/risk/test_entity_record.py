"""What is kept of an entity: bounded, the same in any order of arrival, and each signal once."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.risk.entity_record import (
    MOST_CHANGES,
    MOST_PENDING,
    MOST_SOURCES,
    EntityRecord,
    RiskChange,
    log_odds,
    weight_of_evidence,
    with_change,
    with_pending,
    with_signal,
    without_old,
)
from serving.risk.rules_of_risk import KindRules, RiskRules
from serving.risk.signal import KINDS, PendingCheck, RiskSignal, WrongSignal, entity_text

RULES = RiskRules()
S = 1_000_000
T0 = 1_700_000_000 * S


def signal(kind="realtime", p=0.9, at_s=0.0, *, name="flows", identity=None):
    at_us = T0 + int(at_s * S)
    return RiskSignal(
        entity="h",
        kind=kind,
        name=name,
        probability=p,
        at_us=at_us,
        id=identity or f"{kind}/{name}/{p}/{at_us}",
        arrived_us=at_us,
    )


def record_of(*signals, rules=RULES):
    record = EntityRecord(entity="h")
    for one in signals:
        record = with_signal(record, one, rules)
    return record


def held(record, source):
    return record.signals[source].probability


@pytest.mark.parametrize(
    ("signals", "source", "expected"),
    [
        pytest.param([signal(p=0.9), signal(p=0.5, at_s=1)], "realtime/flows", 0.9, id="the stronger of two verdicts counts"),
        pytest.param(
            [signal(p=0.9), signal(p=0.9, at_s=60, identity="b")],
            "realtime/flows",
            0.9,
            id="equal verdicts: the newer one counts",
        ),
        pytest.param(
            [signal(p=0.99), signal(p=0.6, at_s=36_000)],
            "realtime/flows",
            0.6,
            id="an old strong verdict gives way to a new weaker one",
        ),
        pytest.param(
            [signal("batch", 0.9), signal("batch", 0.01, 60)],
            "batch/flows",
            0.01,
            id="of jobs that judge a window the newest counts",
        ),
        pytest.param(
            [signal("batch", 0.9, 60), signal("batch", 0.01)],
            "batch/flows",
            0.9,
            id="an older window that comes late does not replace it",
        ),
    ],
)
def test_one_signal_of_a_source_counts(signals, source, expected):
    assert held(record_of(*signals), source) == expected


def test_sources_stand_beside_each_other():
    record = record_of(signal(), signal(name="nsl-kdd"), signal("batch"), signal("rules", name="r1"))
    assert set(record.signals) == {"realtime/flows", "realtime/nsl-kdd", "batch/flows", "rules/r1"}


SIGNALS = st.builds(
    signal,
    kind=st.sampled_from(KINDS),
    p=st.floats(0, 1),
    at_s=st.floats(0, 1e6),
    name=st.sampled_from(["a", "b", "c"]),
    identity=st.integers(0, 10**6).map(str),
)


@given(st.lists(SIGNALS, max_size=12), st.randoms())
def test_the_order_of_arrival_does_not_matter(signals, rng):
    shuffled = list(signals)
    rng.shuffle(shuffled)
    assert record_of(*shuffled).signals == record_of(*signals).signals


@pytest.mark.parametrize("kind", KINDS)
def test_neither_does_it_where_one_id_comes_with_two_probabilities(kind):
    one, other = signal(kind, 0.0, identity="0"), signal(kind, 1.0, identity="0")
    assert record_of(one, other).signals == record_of(other, one).signals


@pytest.mark.parametrize("kind", ["realtime", "rules"])
def test_what_is_read_again_later_is_nothing_new(kind):
    first = signal(kind, identity="0")
    again = msgspec.structs.replace(first, arrived_us=first.arrived_us + S)
    assert record_of(first, again).signals == record_of(again, first).signals == record_of(first).signals


@given(st.lists(SIGNALS, max_size=8))
def test_what_comes_twice_counts_once(signals):
    record = record_of(*signals)
    for one in signals:
        assert with_signal(record, one, RULES) is record


def test_the_same_record_is_given_back_where_nothing_changes():
    record = record_of(signal(p=0.9))
    assert with_signal(record, signal(p=0.2, at_s=1), RULES) is record


def test_an_entity_keeps_a_bounded_number_of_sources_and_the_strongest_stay():
    record = record_of(
        *(signal(p=0.02 + 0.0001 * i, name=f"m{i}") for i in range(MOST_SOURCES + 20)), signal(p=0.99, name="strong")
    )
    assert len(record.signals) == MOST_SOURCES
    assert "realtime/strong" in record.signals


def test_many_rules_do_not_push_out_an_analyst():
    rules = (signal("rules", 0.95, name=f"r{i}") for i in range(MOST_SOURCES + 50))
    record = record_of(signal("analyst", 0.4, name="ann"), *rules)
    assert "analyst/ann" in record.signals
    assert len(record.signals) == MOST_SOURCES + 1


def test_long_entities_with_the_same_beginning_stay_apart():
    one, other = (entity_text({"host": "x" * 600 + end}) for end in "ab")
    assert one != other
    assert len(one) == len(other) == 512


def test_an_enrichment_ends_the_check_of_its_event_and_no_other():
    record = EntityRecord(entity="h")
    for identity in ("e/0/1", "e/0/2"):
        record = with_pending(record, PendingCheck(entity="h", id=identity, name="deep", asked_us=T0, due_us=T0 + S))
    record = with_signal(record, signal("enrichment", 0.7, identity="e/0/1"), RULES)
    assert [check.id for check in record.pending] == ["e/0/2"]


def test_a_check_is_asked_for_once_and_the_oldest_go():
    record = EntityRecord(entity="h")
    checks = [PendingCheck(entity="h", id=f"e/0/{i}", name="deep", asked_us=T0, due_us=T0 + S) for i in range(MOST_PENDING + 3)]
    for check in [*checks, checks[-1]]:
        record = with_pending(record, check)
    assert [check.id for check in record.pending] == [f"e/0/{i}" for i in range(3, MOST_PENDING + 3)]


def test_changes_are_bounded():
    record = EntityRecord(entity="h")
    for i in range(MOST_CHANGES + 5):
        record = with_change(record, RiskChange(at_us=i, before=0.0, after=1.0, because="x", late_s=0))
    assert [change.at_us for change in record.changes] == list(range(5, MOST_CHANGES + 5))


def test_signals_that_count_nothing_any_more_are_dropped():
    record = record_of(signal(), signal("analyst", name="ann"))
    later = without_old(record, RULES, T0 + 21 * 3600 * S)
    assert set(later.signals) == {"analyst/ann"}


@pytest.mark.parametrize(
    ("p", "age_s", "expected"),
    [
        pytest.param(0.5, 0, log_odds(0.5) - log_odds(0.01), id="a new signal counts in full"),
        pytest.param(0.5, 3600, (log_odds(0.5) - log_odds(0.01)) / 2, id="after its half-life it counts half"),
        pytest.param(0.01, 0, 0.0, id="the base rate says nothing"),
        pytest.param(0.5, -50, log_odds(0.5) - log_odds(0.01), id="a clock ahead does not make it stronger"),
        pytest.param(1.0, 0, log_odds(1 - 1e-6) - log_odds(0.01), id="certainty is bounded"),
    ],
)
def test_weight_of_evidence(p, age_s, expected):
    assert weight_of_evidence(signal(p=p), KindRules(half_life_s=3600), T0 + age_s * S) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entity": ""}, "entity has 0 letters"),
        ({"entity": "x" * 513}, "entity has 513 letters"),
        ({"name": ""}, "name has 0 letters"),
        ({"probability": math.nan}, "probability is nan"),
        ({"probability": 1.5}, "probability is 1.5"),
        ({"kind": "guess"}, "kind is 'guess'"),
        ({"at_us": -1}, "at_us is -1"),
        ({"at_us": 2**62}, "expected microseconds"),
    ],
)
def test_a_wrong_signal_is_refused_by_what_is_wrong(change, words):
    import msgspec

    with pytest.raises(WrongSignal, match=words):
        msgspec.structs.replace(signal(), **change).check()


def test_the_text_of_an_entity_does_not_depend_on_the_order_of_keys():
    assert entity_text({"b": 1, "a": "x"}) == entity_text({"a": "x", "b": 1}) == "a=x,b=1"
