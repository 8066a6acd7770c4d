"""Reasons in words: what pushes towards the verdict, its value, where that stands, and what is known of the same entity."""

import json

import numpy as np
import pytest

from serving.explanations.counterfactual import ColumnChange, Counterfactual
from serving.explanations.explanation import Attribution
from serving.explanations.words.counterfactuals import counterfactual_body
from serving.explanations.words.reasons import reasons_of, sentence_of
from serving.explanations.words.reference import Reference
from serving.models.manifest import ExplainSpec, ReasonTemplate

WORDS = ExplainSpec(
    reasons={
        "host_60s__ports": ReasonTemplate(code="PORTS", text="the host used {value} ports in the 60 s before"),
        "ratio": ReasonTemplate(code="RATIO", unit="share", text="{value} of the flows failed"),
        "proto": ReasonTemplate(code="PROTOCOL", text="the protocol is {value}", words={"1": "TCP", "3": "ICMP"}),
        "flags": ReasonTemplate(code="FLAGS", text="the source sent {value}", bits={"1": "FIN", "2": "SYN"}),
        "service": ReasonTemplate(code="SERVICE", text="the service is {value}"),
    }
)


def attributed(**values):
    return Attribution("tree_shap", "log_odds", -1.0, tuple(values), np.array(list(values.values()), float), 0.0, True)


@pytest.fixture
def reference(tmp_path):
    folder = tmp_path / "reference"
    folder.mkdir()
    levels = [0.0, 0.25, 0.5, 0.75, 0.99, 1.0]
    numbers = {"host_60s__ports": [0.0, 0.0, 1.0, 4.0, 20.0, 300.0], "ratio": [0.0, 0.0, 0.0, 0.1, 0.5, 1.0]}
    summary = {"rows": 1000, "quantiles": levels, "numbers": numbers, "text": {"service": {"http": 900, "ssh": 100}}}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    sample = {"columns": {"proto": [1.0] * 9 + [3.0]}}
    (folder / "sample.json").write_text(json.dumps(sample), encoding="utf-8")
    return Reference.read(tmp_path)


def test_an_alert_is_for_what_raises_the_score_and_a_benign_row_for_what_lowers_it():
    given = attributed(a=3.0, b=-1.0, c=1.0)
    row = {"a": 1.0, "b": 2.0, "c": 3.0}
    raised = reasons_of(given, row, "alert")
    assert [(r.column, r.direction, r.share) for r in raised] == [("a", "raises", 0.6), ("c", "raises", 0.2)]
    assert [(r.column, r.direction, r.share) for r in reasons_of(given, row, "benign")] == [("b", "lowers", 0.2)]
    assert [r.column for r in reasons_of(given, row, "investigate")] == ["a", "c"]


def test_what_pushes_hardly_is_no_reason_and_the_strongest_come_first():
    given = attributed(**{f"c{i}": float(i) for i in range(10)}, tiny=0.01)
    found = reasons_of(given, dict.fromkeys(given.columns, 0.0), "alert", most=3)
    assert [r.column for r in found] == ["c9", "c8", "c7"]
    assert "tiny" not in [r.column for r in reasons_of(given, {}, "alert", most=20)]


def test_nothing_pushes_where_every_column_is_as_at_training():
    assert reasons_of(attributed(a=0.0, b=0.0), {"a": 1.0, "b": 1.0}, "alert") == ()


@pytest.mark.parametrize(
    ("column", "value", "expected", "percentile"),
    [
        pytest.param(
            "host_60s__ports",
            35.0,
            "The host used 35 ports in the 60 s before, more than in 99 % of the training rows.",
            99.1,
            id="sure: over the 99 % quantile",
        ),
        pytest.param(
            "host_60s__ports",
            1200.0,
            "The host used 1,200 ports in the 60 s before, more than in any training row.",
            100.0,
            id="over the largest",
        ),
        pytest.param(
            "host_60s__ports",
            0.0,
            "The host used 0 ports in the 60 s before, as in at least 25 % of the training rows.",
            12.5,
            id="a value that many rows have",
        ),
        pytest.param(
            "host_60s__ports",
            -1.0,
            "The host used -1 ports in the 60 s before, less than in any training row.",
            0.0,
            id="under the least",
        ),
        pytest.param(
            "ratio",
            0.52,
            "52 % of the flows failed, more than in 99 % of the training rows.",
            99.0,
            id="a share is a percentage",
        ),
        pytest.param(
            "proto",
            3.0,
            "The protocol is ICMP, as in 10 % of the training rows.",
            None,
            id="a code by its word, which has no order",
        ),
        pytest.param("proto", 7.0, "The protocol is 7, as in hardly any training row.", None, id="a code without a word"),
        pytest.param("flags", 3.0, "The source sent FIN+SYN.", None, id="flags by their bits, with nothing known of training"),
        pytest.param(
            "service", "ssh", "The service is ssh, as in 10 % of the training rows.", None, id="a text by its frequency"
        ),
        pytest.param(
            "service",
            "x\x1b[2J",
            "The service is x\\x1b[2J, as in none of the training rows.",
            None,
            id="a client's text is safe to print",
        ),
        pytest.param("other", 1.5, "Other is 1.5.", None, id="a column without words is named as it is called"),
        pytest.param("other", None, "Other is not a number.", None, id="a value that is no number"),
    ],
)
def test_sentences(reference, column, value, expected, percentile):
    (reason,) = reasons_of(attributed(**{column: 1.0}), {column: value}, "alert", WORDS, reference)
    assert reason.sentence == expected
    assert reason.percentile == (None if percentile is None else pytest.approx(percentile, abs=0.1))


def test_a_template_may_place_the_percentile_itself(reference):
    template = ReasonTemplate(code="X", text="{value} ports (percentile {percentile})")
    assert sentence_of(template, "x", 35.0, "more than in 99 %", 99.05) == "35 ports (percentile 99)."


def test_the_history_is_the_same_feature_of_the_same_entity_over_other_windows():
    row = {
        "host_10s__ports": 3.0,
        "host_60s__ports": 35.0,
        "host_600s__ports": 40.0,
        "host_600s__flows": 9.0,
        "user_600s__ports": 1.0,
    }
    (reason,) = reasons_of(attributed(host_60s__ports=1.0), row, "alert", WORDS)
    assert [(h.window_s, h.value) for h in reason.history] == [(10, 3.0), (600, 40.0)]


@pytest.mark.parametrize(("length", "told"), [(200, "a" * 200), (201, "a" * 200 + "..."), (100_000, "a" * 200 + "...")])
def test_a_long_text_is_cut_where_a_value_repeats_it(length, told):
    long = "a" * length
    row = {"host_60s__ports": long, "host_10s__ports": long}
    (reason,) = reasons_of(attributed(host_60s__ports=1.0), row, "alert", WORDS)
    assert (reason.value, reason.history[0].value) == (told, told)
    assert len(reason.sentence) < 200
    found = Counterfactual((ColumnChange("service", long, words=(long,)),), 0.1, 0.5)
    (change,) = counterfactual_body(found, "benign", WORDS)["changes"]
    assert change["value"] == told
    assert change["to"] == long, "it is to be sent again"


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 1}', '{"rows": 1, "quantiles": [0], "numbers": {}, "text": {}}'])
def test_a_summary_of_another_maker_is_no_reference(tmp_path, text):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "summary.json").write_text(text, encoding="utf-8")
    assert Reference.read(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            [ColumnChange("host_60s__ports", 35.0, high=4.0)],
            "Benign if the host used at most 4 ports in the 60 s before.",
            id="at most",
        ),
        pytest.param([ColumnChange("ratio", 0.1, low=0.9)], "Benign if at least 90 % of the flows failed.", id="at least"),
        pytest.param(
            [ColumnChange("ratio", 0.5, low=0.1, high=0.2)], "Benign if 10 % to 20 % of the flows failed.", id="between"
        ),
        pytest.param(
            [ColumnChange("proto", 3.0, low=0.0, high=1.0)], "Benign if the protocol is TCP.", id="a code has no order"
        ),
        pytest.param(
            [ColumnChange("service", "ftp", words=("http", "smtp"))],
            "Benign if the service is http or smtp.",
            id="one of some words",
        ),
        pytest.param(
            [ColumnChange("ratio", 0.9, high=0.0), ColumnChange("proto", 3.0, low=1.0, high=1.0)],
            "Benign if at most 0 % of the flows failed and the protocol is TCP.",
            id="two together",
        ),
    ],
)
def test_counterfactuals_in_words(changes, expected):
    body = counterfactual_body(Counterfactual(tuple(changes), 0.1, 0.5), "benign", WORDS)
    assert body["sentence"] == expected
    assert [c["column"] for c in body["changes"]] == [c.column for c in changes]
    assert None not in [c["to"] for c in body["changes"]]
