"""Words for explanations: declared for columns, carried by the bundle, refused where they cannot be filled in."""

import pytest

from feature_repo.flows import FLOWS
from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import parse_detector, read_detector
from lifecycle.datasets.reasons import explain_spec
from lifecycle.errors import DetectorError
from lifecycle.training.train import prepare, train, write_bundle
from tests.unit.lifecycle.declared import body, detector, rows

FAILURES = {"code": "FAILED_LOGINS", "text": "{value} logins failed"}


@pytest.mark.parametrize("name", ["flows", "nsl-kdd"])
def test_every_input_of_a_detector_that_comes_along_has_words(name):
    declared = read_detector(name)
    inputs = FLOWS.features() if name == "flows" else tuple(declared.request_fields)
    words = explain_spec(declared.reasons, inputs)
    assert words.reasons.keys() == set(inputs)
    codes = [reason.code for reason in words.reasons.values()]
    assert len(set(codes)) == len(codes), "a program tells reasons apart by their codes"


def test_a_pattern_words_every_window_and_gives_way_to_a_name():
    reasons = detector(
        reasons={
            "host_*s__n": {"code": "SEEN_{seconds}S", "text": "{value} in the {window} before"},
            "host_60s__n": {"code": "SEEN_LAST_MINUTE", "text": "{value} in the last minute"},
        }
    ).reasons
    found = explain_spec(reasons, ["host_10s__n", "host_60s__n", "host_600s__n", "host_600s__other"]).reasons
    assert {column: (r.code, r.text) for column, r in found.items()} == {
        "host_10s__n": ("SEEN_10S", "{value} in the 10 s before"),
        "host_60s__n": ("SEEN_LAST_MINUTE", "{value} in the last minute"),
        "host_600s__n": ("SEEN_600S", "{value} in the 10 min before"),
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"text": "{vlaue} logins"}, "{vlaue}, expected some of {value}", id="a place that nothing fills"),
        pytest.param({"text": "{value:.2f} logins"}, "{value}, expected some of", id="a format of its own"),
        pytest.param({"text": "{value logins"}, "write a literal brace", id="a brace that is not closed"),
        pytest.param({"code": "failed logins"}, "pattern", id="a code that is a sentence"),
        pytest.param({"txt": "x"}, "this field is unknown", id="an unknown field"),
    ],
)
def test_words_that_cannot_be_filled_in_are_refused_with_the_declaration(change, says):
    with pytest.raises(DetectorError) as refused:
        parse_detector(body(reasons={"failures": {**FAILURES, **change}}), where="mine.yaml")
    assert str(refused.value).startswith("mine.yaml: reasons.failures")
    assert says in str(refused.value)


def test_words_for_what_is_no_input_are_refused():
    with pytest.raises(DetectorError, match="'user', which is not an input of the model; it has method, failures"):
        explain_spec(detector(reasons={"user": FAILURES}).reasons, ["method", "failures"])


def test_the_bundle_carries_them(tmp_path):
    declared = detector(reasons={"failures": {**FAILURES, "words": {0: "no"}}})
    bundle = write_bundle(
        train(prepare(declared, check_data(declared, rows(), where="x"), None, with_test=True)), tmp_path / "b"
    )
    (reason,) = bundle.manifest.explain.reasons.values()
    assert (reason.code, reason.text, reason.words) == ("FAILED_LOGINS", "{value} logins failed", {"0": "no"})
