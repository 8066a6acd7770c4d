"""A label exists only if it is well formed; the name of an event and its parts."""

import msgspec
import pytest

from lifecycle.labels.errors import WrongLabel
from lifecycle.labels.label import Label, split_event


def label(**fields):
    known = {
        "label_id": "l1",
        "event": "r1",
        "model": "flows",
        "verdict": "attack",
        "analyst": "ada",
        "time_us": 1_760_000_000_000_000,
    }
    return Label(**{**known, **fields})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"label_id": ""}, "label_id", id="an id is there"),
        pytest.param({"event": "a\nb"}, "event", id="an event is one line"),
        pytest.param({"model": " flows"}, "model", id="no space at an end"),
        pytest.param({"analyst": "x" * 301}, "analyst", id="names have a length"),
        pytest.param({"verdict": "malware"}, "verdict", id="three verdicts"),
        pytest.param({"verdict": "benign", "family": "dos"}, "family", id="only an attack has a family"),
        pytest.param({"time_us": 0}, "time_us", id="a time is after 1970"),
        pytest.param({"sureness": 1.5}, "sureness", id="sureness is a share"),
        pytest.param({"sureness": float("nan")}, "sureness", id="sureness is a number"),
        pytest.param({"inclusion": 0.0}, "inclusion", id="what was selected had a chance"),
        pytest.param({"note": "x" * 4001}, "note", id="a note has a length"),
        pytest.param({"source": "mail"}, "source", id="four sources"),
        pytest.param({"selection": "whim"}, "selection", id="four reasons"),
    ],
)
def test_a_label_that_is_not_well_formed_is_refused_by_field(fields, named):
    with pytest.raises(WrongLabel, match=f"^{named}"):
        label(**fields)


def test_a_label_is_read_back_from_json_and_is_checked_there_too():
    one = label(family="dos", sureness=0.9, note="seen in pcap", selection="audit", inclusion=0.01)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Label) == one
    with pytest.raises(msgspec.ValidationError, match="sureness"):
        msgspec.json.decode(msgspec.json.encode(one).replace(b"0.9", b"9"), type=Label)


def test_the_same_word_another_way_at_another_time_is_a_repetition():
    assert label().says_the_same(label(source="http", time_us=5, selection="alert"))
    assert not label().says_the_same(label(verdict="benign"))
    assert not label().says_the_same(label(sureness=0.5))


@pytest.mark.parametrize(
    ("event", "parts"),
    [
        ("r", ("r", None)),
        ("r#0", ("r", 0)),
        ("a#b#12", ("a#b", 12)),
        ("#1", ("#1", None)),
        ("r#1234567890", ("r#1234567890", None)),
    ],
)
def test_the_row_is_what_stands_behind_the_last_mark(event, parts):
    assert split_event(event) == parts
