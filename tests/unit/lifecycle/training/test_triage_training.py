"""Training a triage: its bound keeps the promise about lost attacks, and the bundle has it as a part of its own."""

import numpy as np
import pytest
from pydantic import ValidationError

from lifecycle.datasets.data import check_data
from lifecycle.errors import DetectorError
from lifecycle.training.train import prepare, train, write_bundle
from lifecycle.training.triage.bound import choose_bound, most_lost, upper_share
from serving.loading.loaded_bundle import build_revision, load_bundle
from serving.models.bundle import check_triage, read_bundle
from serving.models.golden import decode_golden
from serving.models.onnx import OnnxModel
from serving.scoring.triage.outcomes import ENDED, TRIAGE
from serving.spec import RevisionSpec, TriageSwitch
from tests.unit.lifecycle.declared import detector, rows

COUNTS = [
    pytest.param(58, 0.05, 0.95, None, id="too few attacks to show it even if none is lost"),
    pytest.param(59, 0.05, 0.95, 0, id="as many as are needed if none is lost"),
    pytest.param(93, 0.05, 0.95, 1, id="one may be lost"),
    pytest.param(2995, 0.001, 0.95, 0, id="a thousandth needs three thousand"),
    pytest.param(0, 0.05, 0.95, None, id="no attacks"),
]


@pytest.mark.parametrize(("attacks", "share", "confidence", "expected"), COUNTS)
def test_how_many_attacks_may_be_lost(attacks, share, confidence, expected):
    assert most_lost(attacks, share, confidence) == expected
    if expected is not None:
        assert upper_share(expected, attacks, confidence) <= share < upper_share(expected + 1, attacks, confidence)


@pytest.mark.heavy
def test_the_promise_holds_as_often_as_it_says():
    """Scores of attacks are drawn evenly from 0..1, so a bound loses a share of all attacks that is the bound itself."""
    rng, kept = np.random.default_rng(7), 0
    benign = np.zeros(10, np.float32)
    for _ in range(2000):
        scores = np.concatenate([rng.random(500, dtype=np.float32), benign])
        chosen = choose_bound(scores, np.arange(510) < 500, 0.02, 0.9)
        kept += chosen.bound <= 0.02
    assert 0.88 <= kept / 2000 <= 0.96


def test_equal_scores_are_never_split():
    scores = np.array([0.1] * 50 + [0.9] * 50 + [0.05] * 30, np.float32)
    chosen = choose_bound(scores, np.arange(130) < 100, 0.05, 0.95)
    assert (chosen.lost, chosen.bound, chosen.ended) == (0, pytest.approx(0.1), 1.0)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("triage"), {}
    for name, changes in (("with", {"triage": {"trees": 3, "leaves": 4, "lost_attacks": 0.1}}), ("without", {})):
        asked = detector(**changes)
        prepared = prepare(asked, check_data(asked, rows(900), where="x"), None, with_test=False)
        made[name] = write_bundle(train(prepared), folder / name)
    return made


@pytest.mark.heavy
def test_the_bundle_has_a_triage_and_its_model_is_the_same(bundles):
    with_triage, without = bundles["with"], bundles["without"]
    spec = with_triage.manifest.triage
    assert spec is not None
    assert without.manifest.triage is None
    assert spec.losses.upper <= spec.losses.required == 0.1
    assert spec.ended > 0.3
    assert with_triage.manifest.files["model.onnx"] == without.manifest.files["model.onnx"]
    assert {"triage.onnx", "triage-golden.json"} <= with_triage.manifest.files.keys()
    check_triage(read_bundle(with_triage.folder), OnnxModel(with_triage.folder / "triage.onnx"))


def test_rows_that_reach_the_model_have_the_scores_of_the_model(bundles):
    loaded = load_bundle(bundles["with"])
    on = build_revision(loaded, RevisionSpec(bundle=loaded.digest, triage=TriageSwitch(audit_share=0.0)))
    feed = decode_golden((bundles["with"].folder / "golden.json").read_bytes())[0].inputs
    got, plain = on.model.run(feed, ["probabilities", TRIAGE]), loaded.model.run(feed, ["probabilities"])
    ended = got[TRIAGE] == ENDED
    assert 0 < ended.sum() < len(ended)
    assert got["probabilities"][~ended].tobytes() == plain["probabilities"][~ended].tobytes()
    assert np.isnan(got["probabilities"][ended]).all()


def test_too_few_attacks_are_refused_and_the_message_says_how_many_are_needed():
    asked = detector(triage={"lost_attacks": 0.0001})
    prepared = prepare(asked, check_data(asked, rows(300), where="x"), None, with_test=False)
    with pytest.raises(DetectorError, match=r"29,956 or more"):
        train(prepared)


def test_a_declaration_without_sense_is_refused():
    with pytest.raises((DetectorError, ValidationError)):
        detector(triage={"lost_attacks": 0.0})
