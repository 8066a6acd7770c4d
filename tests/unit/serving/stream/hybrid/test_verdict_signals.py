"""What a verdict means for a risk."""

import msgspec
import pytest

from serving.stream.contract import INVESTIGATE_SCHEMA, VERDICT_SCHEMA, InvestigateMessage, VerdictMessage
from serving.stream.hybrid.signals import enrichment_of, event_time_of, pending_of, signals_of

NOW = 1_800_000_000_000_000


def verdict(**change):
    fields = {
        "schema": VERDICT_SCHEMA, "id": "events/0/7", "entity": {"host": "10.0.0.1"}, "verdict": "alert", "model": "flows", "version": "1",
        "revision": "sha256:x", "variant": "stable", "source": "model", "receipt": "r-1", "row": 3, "scored_at": "2026-01-05T09:00:01Z",
        "event_time": "2026-01-05T09:00:00Z", "score": 2.0, "probability": 0.97,
    }  # fmt: skip
    return VerdictMessage(**{**fields, **change})


def said(found):
    return [(one.kind, one.name, one.probability) for one in found]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, [("realtime", "flows", 0.97)], id="an alert of a model counts by its probability"),
        pytest.param({"probability": None}, [("realtime", "flows", 0.8)], id="of a model without probabilities by the verdict"),
        pytest.param({"verdict": "investigate", "probability": 0.3}, [("realtime", "flows", 0.3)], id="a doubtful one counts too"),
        pytest.param({"verdict": "benign"}, [], id="a benign one says nothing"),
        pytest.param({"verdict": "unknown"}, [], id="nor does one that is unknown"),
        pytest.param({"suppressed_by": "scanner"}, [], id="nor one that was suppressed"),
        pytest.param(
            {"source": "rules", "rules": ("irc", "flood"), "probability": None}, [("rules", "irc", 0.8), ("rules", "flood", 0.8)],
            id="rules that answer count each, and no model does",
        ),
        pytest.param({"rules": ("irc",)}, [("realtime", "flows", 0.97), ("rules", "irc", 0.8)], id="a model and a rule count both"),
        pytest.param({"probability": 1.0000001}, [("realtime", "flows", 1.0)], id="a rounding error is no reason to lose a signal"),
    ],
)  # fmt: skip
def test_signals_of_a_verdict(change, expected):
    assert said(signals_of(verdict(**change), NOW)) == expected


def test_a_signal_names_its_evidence():
    (one,) = signals_of(verdict(techniques=("T1498",)), NOW)
    assert (one.id, one.receipt, one.row, one.revision, one.reasons) == ("events/0/7", "r-1", 3, "sha256:x", ("T1498",))
    assert (one.at_us, one.arrived_us, one.entity) == (1_767_603_600_000_000, NOW, "10.0.0.1")


@pytest.mark.parametrize("time", [None, "yesterday", "2026-01-05T09:00:00", ""])
def test_a_time_that_says_nothing_is_when_it_came(time):
    assert event_time_of(verdict(event_time=time), NOW) == NOW


def test_a_time_before_the_epoch_is_the_epoch():
    assert event_time_of(verdict(event_time="1960-01-01T00:00:00Z"), NOW) == 0


def test_a_closer_look_is_a_signal_of_the_event_that_asked_for_it():
    asked, found = verdict(verdict="investigate"), verdict(model="deep", probability=0.2, receipt="r-2", row=0, id="look/0/0")
    one = enrichment_of(asked, found, NOW)
    assert (one.kind, one.name, one.probability, one.id, one.receipt, one.row) == (
        "enrichment",
        "deep",
        0.2,
        "events/0/7",
        "r-2",
        0,
    )


@pytest.mark.parametrize(("word", "expected"), [("alert", 0.8), ("investigate", 0.4), ("benign", 0.02)])
def test_a_closer_look_without_probability_counts_by_its_verdict(word, expected):
    assert enrichment_of(verdict(), verdict(verdict=word, probability=None), NOW).probability == expected


def test_a_request_for_a_closer_look_is_a_pending_check():
    message = InvestigateMessage(schema=INVESTIGATE_SCHEMA, verdict=verdict(), asked_us=5, due_us=9, event={"proto": "tcp"})
    check = pending_of(msgspec.json.decode(msgspec.json.encode(message), type=InvestigateMessage))
    assert (check.entity, check.id, check.asked_us, check.due_us) == ("10.0.0.1", "events/0/7", 5, 9)


def test_an_entity_with_a_long_key_is_cut_and_not_lost():
    (one,) = signals_of(verdict(entity={"host": "x" * 9000}), NOW)
    one.check()


def test_a_clock_that_is_ahead_gives_no_signal_that_never_grows_old():
    assert event_time_of(verdict(event_time="2999-01-01T00:00:00Z"), NOW) == NOW
