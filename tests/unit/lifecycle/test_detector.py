"""A declaration says only what can be done, and what is wrong with one is said in one message."""

import pytest

from lifecycle.datasets.declarations import BUILT_IN, parse_detector, read_detector
from lifecycle.errors import DetectorError
from tests.unit.lifecycle.declared import body

WINDOWS = {"windows": [{"seconds": 10, "ttl_s": 60}], "aggregates": {"n": {"op": "count"}}}


@pytest.mark.parametrize("name", sorted(p.stem for p in BUILT_IN.glob("*.yaml")))
def test_what_comes_along_is_valid(name):
    assert read_detector(name).name == name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"request_fields": ["methd"]}, "request_fields names column 'methd'", id="a column that is not declared"),
        pytest.param({"entity": {"key": "user"}, "request_fields": ["user"]}, "the entity key", id="an entity key as a feature"),
        pytest.param({"request_fields": ["verdict", "failures"]}, "'verdict' leaks into the features", id="the label as a feature"),
        pytest.param({"label__derived": ["failures"]}, "made from the label", id="a column made from the label as a feature"),
        pytest.param({"model__columns": ["user"], "entity": {"key": "user"}}, "must not be a feature", id="a key as a column"),
        pytest.param({"operating_points__siem_alerting": {"require": "accuracy > 1"}}, "not a requirement", id="a requirement to guess"),
        pytest.param({"operating_points__breach_response": {"require": "recall >= 0.98", "attack_share": 0.1}},
                     "does not depend on attack_share", id="a share of attacks that a recall does not depend on"),
        pytest.param({"operating_points__breach_response": {"require": "recall >= 0.98", "delta": 0.5}},
                     "operating_points.breach_response.delta", id="a confidence of nothing"),
        pytest.param({"split": {"by": "rows", "unit": "entity"}}, "split.unit entity needs an entity", id="units of nobody"),
        pytest.param({"split": {"by": "rows", "unit": "group"}}, "need split.group", id="units without their column"),
        pytest.param({"split": {"by": "rows", "unit": "attack_type"}}, "needs label.type_column", id="units of no type"),
        pytest.param({"default_operating_point": "other"}, "is not one of", id="an unknown default operating point"),
        pytest.param({"source__columns__failures": "number"}, "failures", id="an unknown type"),
        pytest.param({"surprise": 1}, "surprise: this field is unknown", id="an unknown field"),
        pytest.param({"label": {"column": "verdict"}}, "label.positive: this field is missing", id="no positive"),
        pytest.param({"label__positive": {"equals": ["a"], "contains": "b"}}, "exactly one", id="two ways to be positive"),
        pytest.param({"split": {"by": "entity"}}, "needs an entity", id="a split by entity without one"),
        pytest.param({"split": {"by": "time"}}, "needs an event_time", id="a split by time without one"),
        pytest.param({"split": {"by": "types"}}, "needs label.type_column", id="left-out types without types"),
        pytest.param({"event_time": {"column": "user"}}, "expected timestamp", id="a time that is none"),
        pytest.param({"features": WINDOWS}, "need an entity", id="features of nobody"),
        pytest.param({"features": {"aggregates": {}}}, "exactly one of windows, declared, service", id="features from nowhere"),
        pytest.param({"features": {"declared": "os:SYSTEM"}}, "declared", id="a declaration outside the feature repository"),
    ],
)  # fmt: skip
def test_refuses(changes, says):
    with pytest.raises(DetectorError, match=says.replace("(", r"\(")) as refused:
        parse_detector(body(**changes), where="mine.yaml")
    assert str(refused.value).startswith("mine.yaml: ")


@pytest.mark.parametrize(
    ("changes", "unit"),
    [
        pytest.param({}, "row", id="rows, where nothing says more"),
        pytest.param({"entity": {"key": "user"}}, "entity", id="entities, where there are some"),
        pytest.param({"entity": {"key": "user"}, "split": {"by": "group", "group": "method"}}, "group", id="groups that are split by"),
        pytest.param(
            {"entity": {"key": "user"}, "label__type_column": "method", "request_fields": ["failures", "seconds"], "segments": [],
             "split": {"by": "types"}}, "attack_type", id="types that are left out",
        ),
        pytest.param({"entity": {"key": "user"}, "split": {"by": "rows", "unit": "row"}}, "row", id="what the file says"),
    ],
)  # fmt: skip
def test_rows_are_draws_of(changes, unit):
    assert parse_detector(body(**changes), where="x").sampling_unit == unit


def test_generated_rows_have_a_split_of_their_own():
    flows = read_detector("flows")
    assert flows.split.assign, "hosts of the capture"
    assert not flows.for_generated_rows().split.assign
    plain = parse_detector(body(), where="x")
    assert plain.for_generated_rows() is plain


def test_every_wrong_place_is_named():
    with pytest.raises(DetectorError) as refused:
        parse_detector(body(surprise=1, model={"trees": 0}), where="x")
    assert "surprise" in str(refused.value)
    assert "model.trees" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("name: [", "is not YAML", id="no YAML"),
        pytest.param("name: 2026-99-99", "is not YAML", id="a date that there is not"),
        pytest.param("[\n" * 100_000, "is not YAML", id="nested without end"),
        pytest.param("- a\n- b\n", "expected a mapping", id="a list"),
        pytest.param("", "expected a mapping", id="an empty file"),
    ],
)
def test_unreadable_files(tmp_path, text, says):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(DetectorError, match=says):
        read_detector(str(path))


def test_a_detector_that_is_not_there():
    with pytest.raises(DetectorError, match="built in are"):
        read_detector("flowz")
    with pytest.raises(DetectorError, match="cannot be read"):
        read_detector("nowhere/x.yaml")
