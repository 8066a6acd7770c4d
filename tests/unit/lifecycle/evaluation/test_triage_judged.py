"""What an evaluation says of a bundle's triage: what it ends and loses on judged rows, as it would be served."""

import json

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.documents.document import write
from lifecycle.evaluation.evaluate import evaluate
from lifecycle.evaluation.pages.evaluation_page import evaluation_page
from lifecycle.evaluation.scoring import score_rows
from lifecycle.evaluation.triage import triage_of
from lifecycle.training.train import prepare, train, write_bundle
from lifecycle.training.triage.bound import upper_share
from serving.loading.loaded_bundle import build_revision, load_bundle
from serving.models.parts.triage import LostAttacks, TriageSpec
from serving.scoring.triage.outcomes import ENDED, TRIAGE
from serving.spec import RevisionSpec, TriageSwitch
from tests.unit.lifecycle.declared import detector, rows

TRIAGED = detector(triage={"trees": 3, "leaves": 4, "lost_attacks": 0.1})
SPEC = TriageSpec(
    output="margin", bound=-1.0, ended=0.75, losses=LostAttacks(attacks=80, lost=1, required=0.1, upper=0.06, confidence=0.95)
)


def test_lost_attacks_are_counted_and_bounded_and_those_the_model_finds_apart():
    attack = np.arange(100) < 40
    ended = (np.arange(100) < 3) | (np.arange(100) >= 50)
    known, judged = triage_of(SPEC, ended, attack, np.arange(100) < 2).parts
    assert (known.part, known.ended_benign, known.attacks, known.lost, known.upper) == ("validation", 0.75, 80, 1, 0.06)
    assert (judged.part, judged.attacks, judged.lost, judged.lost_alerts) == ("test", 40, 3, 2)
    assert judged.ended.value == 0.53
    assert judged.ended_benign == pytest.approx(50 / 60)
    assert judged.upper == upper_share(3, 40, 0.95) > 3 / 40


def test_rows_without_attacks_show_no_bound():
    nothing = np.zeros(10, dtype=bool)
    _, judged = triage_of(SPEC, ~nothing, nothing, nothing).parts
    assert (judged.attacks, judged.lost, judged.upper, judged.ended.value) == (0, 0, 1.0, 1.0)


def test_the_rows_that_end_are_those_that_a_replica_ends(tmp_path):
    prepared = prepare(TRIAGED, check_data(TRIAGED, rows(900), where="x"), None, with_test=False)
    bundle = write_bundle(train(prepared), tmp_path / "bundle")
    fresh = check_data(TRIAGED, rows(200, seed=9), where="x")
    scored = score_rows(bundle, TRIAGED, fresh, fresh.frame)
    loaded = load_bundle(bundle)
    on = build_revision(loaded, RevisionSpec(bundle=loaded.digest, triage=TriageSwitch(audit_share=0.0)))
    tensors = {
        "method": fresh.frame["method"].to_numpy(dtype=object).reshape(-1, 1),
        "numeric": fresh.frame[["failures", "seconds"]].to_numpy(dtype=np.float32),
    }
    served = on.model.run(tensors, ["probabilities", TRIAGE])[TRIAGE] == ENDED
    assert 0 < served.sum() < len(served)
    np.testing.assert_array_equal(scored.ended, served)


@pytest.mark.parametrize(("declared", "is_there"), [(TRIAGED, True), (detector(), False)])
def test_the_page_and_its_record_have_the_figures_of_a_bundle_with_triage(declared, is_there):
    result = evaluate(declared, check_data(declared, rows(1500), where="x"), None, None, seeds=1)
    document = evaluation_page(result)
    record = json.loads(json.dumps(document.record))["seeds"][0]["triage"]
    assert ("Triage; seed" in write(document, "md")) is is_there
    if not is_there:
        assert record is None
        return
    assert [part["part"] for part in record["parts"]] == ["validation", "test"]
    judged = record["parts"][1]
    assert judged["lost"] <= judged["attacks"] == result.parts["test"]["attacks"]
    assert 0 < judged["ended"]["value"] < 1
