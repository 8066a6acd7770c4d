"""A graph that also names the family of an attack: the score stays what it is, and pays nothing for it."""

import numpy as np
import pytest
from sklearn import metrics as reference

from lifecycle.datasets.data import check_data
from lifecycle.errors import DetectorError
from lifecycle.evaluation.evaluate import judge
from lifecycle.evaluation.scoring import score_rows
from lifecycle.training.train import prepare, train, write_bundle
from serving.loading.loaded_bundle import load_bundle
from serving.loading.score_part import score_part
from serving.models.golden import decode_golden
from serving.models.onnx import OnnxModel
from tests.unit.lifecycle.declared import PLAIN, detector, rows

FAMILIES = {"guess": ["password"], "steal": ["token", "cookie"]}


def declared(trees=5, **changes):
    columns = {**PLAIN["source"]["columns"], "kind": "string"}
    label = {**PLAIN["label"], "type_column": "kind"}
    split = {"by": "rows", "families": FAMILIES}
    model = {**PLAIN["model"], "family_trees": trees}
    return detector(source__columns=columns, label=label, split=split, model=model, **changes)


def labelled(n=600, seed=0):
    """An attack that guesses fails often, one that steals takes long."""
    frame = rows(n, seed)
    attack = (frame["verdict"] == "attack").to_numpy()
    guesses = frame["failures"].to_numpy() >= 6
    kind = np.where(~attack, "normal", np.where(guesses, "password", np.where(np.arange(n) % 2 == 0, "token", "cookie")))
    return frame.assign(kind=kind)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    made = {}
    for name, trees in (("with", 5), ("without", 0)):
        asked = declared(trees)
        prepared = prepare(asked, check_data(asked, labelled(), where="x"), None, with_test=False)
        made[name] = write_bundle(train(prepared), folder / name)
    return made


def fresh(n=400, seed=3):
    return check_data(declared(), labelled(n, seed), where="x")


@pytest.mark.heavy
def test_the_score_is_the_same_to_the_bit(bundles):
    unseen = fresh()
    scores = [score_rows(bundle, declared(), unseen, unseen.frame).score for bundle in bundles.values()]
    np.testing.assert_array_equal(*scores)
    assert bundles["with"].manifest.operating_points == bundles["without"].manifest.operating_points


@pytest.mark.heavy
def test_families_are_named_and_their_figures_agree_with_scikit_learn(bundles):
    unseen = fresh()
    scored = score_rows(bundles["with"], declared(), unseen, unseen.frame)
    assert {t.name: (t.datatype, t.shape) for t in bundles["with"].manifest.outputs}["family_probabilities"] == (
        "FP32",
        (-1, 2),
    )
    attack = scored.attack
    assert reference.accuracy_score(scored.family[attack], scored.answered_family[attack]) > 0.9
    found = judge(bundles["with"], declared(), scored, 0).answers
    assert found.matrix.classes == ("benign", "guess", "steal")
    threshold = bundles["with"].manifest.operating_points["siem_alerting"].threshold
    answer = np.where(scored.alerts(threshold), scored.answered_family, "benign")
    expected = reference.precision_recall_fscore_support(scored.family, answer, labels=["guess", "steal"], average="macro")
    assert found.macro["f1"].value == pytest.approx(expected[2])
    assert (
        judge(bundles["without"], declared(), score_rows(bundles["without"], declared(), unseen, unseen.frame), 0).answers
        is None
    )


def test_probabilities_of_the_families_sum_to_one_and_the_likeliest_is_named(bundles):
    (case, *_) = decode_golden((bundles["with"].folder / "golden.json").read_bytes())
    outputs = OnnxModel(bundles["with"].model_path).run(case.inputs)
    np.testing.assert_allclose(outputs["family_probabilities"].sum(axis=1), 1.0, rtol=1e-6)
    names = np.array(list(FAMILIES), dtype=object)
    assert outputs["family"].tolist() == names[outputs["family_probabilities"].argmax(axis=1)].tolist()


def test_a_request_that_asks_for_the_score_does_not_run_the_families(bundles):
    """A session of the score's part answers it, with the bits of the whole."""
    whole = OnnxModel(bundles["with"].model_path)
    part = score_part(bundles["with"], whole)
    assert [o.name for o in part.outputs] == ["probabilities"]
    loaded = load_bundle(bundles["with"]).model
    ran = []
    loaded._run, loaded._run_alone = (  # the whole, and the part
        lambda *a, r=loaded._run: ran.append("whole") or r(*a), lambda *a, r=loaded._run_alone: ran.append("part") or r(*a),
    )  # fmt: skip
    (case, *_) = decode_golden((bundles["with"].folder / "golden.json").read_bytes())
    alone = loaded.run(case.inputs, ["probabilities"])["probabilities"]
    both = loaded.run(case.inputs, ["probabilities", "family"])
    assert ran == ["part", "whole"]
    assert alone.tobytes() == both["probabilities"].tobytes()
    assert len(loaded.run(case.inputs)) == 4


def test_a_graph_without_more_has_no_second_session(bundles):
    assert score_part(bundles["without"], OnnxModel(bundles["without"].model_path)) is None


def test_families_that_cannot_be_told_apart_are_refused():
    with pytest.raises(DetectorError, match=r"two or more split\.families"):
        detector(model={**PLAIN["model"], "family_trees": 5})
    asked = declared()
    one = check_data(asked, labelled().assign(kind=lambda f: np.where(f["kind"] == "normal", "normal", "password")), where="x")
    with pytest.raises(DetectorError, match=r"only the families \['guess'\] have rows"):
        train(prepare(asked, one, None, with_test=False))
