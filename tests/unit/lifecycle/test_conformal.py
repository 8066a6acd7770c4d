"""Conformal sets: they hold what they promise in each class and group, and are those of crepes."""

import numpy as np
import pytest
from crepes import ConformalClassifier
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.datasets.data import check_data
from lifecycle.datasets.detector import Confidence
from lifecycle.errors import DataError, DetectorError
from lifecycle.evaluation.confidence import ALL, confidence_of
from lifecycle.training.conformal import class_bounds, conformal_spec
from lifecycle.training.train import prepare, train, write_bundle
from serving.models.manifest import OperatingPoint
from serving.models.verdicts import UNKNOWN, ConformalTable
from tests import laws
from tests.unit.lifecycle.declared import detector, rows

POINT = OperatingPoint(threshold=0.7, investigate=0.4, requirement="by hand")


def drawn(seed, n=3000):
    """Scores of benign and attack rows that overlap, in three groups that differ."""
    rng = np.random.default_rng(seed)
    attack = rng.random(n) < 0.3
    group = rng.choice(np.array(["tcp", "udp", "icmp"], dtype=object), n, p=[0.6, 0.35, 0.05])
    shift = np.select([group == "tcp", group == "udp"], [0.0, 0.8], -0.5)
    margin = rng.normal(np.where(attack, 1.2, -1.2) + shift, 1.0)
    return (1 / (1 + np.exp(-margin))).astype(np.float32), attack, group


def crepes_sets(scores, attack, test, error):
    """(benign, attack) in the set, by crepes: one classifier for each class, no smoothing."""
    found = []
    for of_class, sign in ((~attack, 1.0), (attack, -1.0)):
        fitted = ConformalClassifier().fit(sign * scores[of_class].astype(np.float64))
        p = fitted.predict_p(sign * test.astype(np.float64)[:, None], smoothing=False)
        found.append(p[:, 0] >= error - 1e-12)
    return found


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1, 0.3])
def test_sets_are_those_of_crepes(error):
    scores, attack, group = drawn(1)
    test, _, other = drawn(2, 600)
    spec = conformal_spec(Confidence(error=error, group="proto"), scores, attack, group)
    table = ConformalTable.of(spec)
    whole = table.sets(test, None)
    for ours, theirs in zip(whole, crepes_sets(scores, attack, test, error), strict=True):
        assert (ours == theirs).all()
    by_group = table.sets(test, other.tolist())
    for name in spec.groups:
        here, there = group == name, other == name
        expected = crepes_sets(scores[here], attack[here], test[there], error)
        for ours, theirs in zip(by_group, expected, strict=True):
            assert (ours[there] == theirs).all()
    assert {"tcp", "udp"} <= set(spec.groups)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.8]), st.booleans()), min_size=2, max_size=40),
    st.sampled_from([0.05, 0.2, 0.25, 0.4]),
)
@laws.examples(60)
def test_sets_of_few_rows_and_ties_are_those_of_crepes(points, error):
    scores, attack = np.array([p[0] for p in points], dtype=np.float32), np.array([p[1] for p in points])
    if not attack.any() or attack.all():
        return
    bounds = class_bounds(scores, attack, error)
    test = np.array([0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.8, 0.9], dtype=np.float32)
    benign, attacks = crepes_sets(scores, attack, test, error)
    assert (np.ones(8, bool) if bounds.benign_to is None else test <= np.float32(bounds.benign_to)).tolist() == benign.tolist()
    assert (
        np.ones(8, bool) if bounds.attack_from is None else test >= np.float32(bounds.attack_from)
    ).tolist() == attacks.tolist()


@pytest.mark.heavy
def test_each_class_in_each_group_is_in_its_set_as_often_as_promised():
    """Over many draws of validation and test rows: the share of missing classes is at most the error, and not far below."""
    missed = {}
    for seed in range(60):
        scores, attack, group = drawn(1000 + seed)
        spec = conformal_spec(Confidence(error=0.1, group="proto"), scores, attack, group)
        test, truth, other = drawn(5000 + seed)
        for c in confidence_of(spec, POINT, test, truth, other).coverage:
            if c.group == ALL or c.group in spec.groups:
                kept = missed.setdefault((c.group, c.label), [0, 0])
                kept[0] += round((1 - c.held.value) * c.rows)
                kept[1] += c.rows
    assert {("tcp", "benign"), ("tcp", "attack"), ("udp", "benign"), ("udp", "attack")} <= set(missed)
    for which, (count, total) in missed.items():
        assert 0.07 <= count / total <= 0.1 + 3 * np.sqrt(0.09 / total) + 0.003, which


def test_without_groups_a_group_may_miss_what_all_together_hold():
    scores, attack, _ = drawn(1, 20_000)
    test, truth, other = drawn(2, 20_000)
    spec = conformal_spec(Confidence(error=0.1), scores, attack, None)
    held = {(c.group, c.label): c.held.value for c in confidence_of(spec, POINT, test, truth, other).coverage}
    assert held[ALL, "benign"] == pytest.approx(0.9, abs=0.01)
    assert held["udp", "benign"] < 0.85, "otherwise groups are for nothing"


def test_what_unknown_costs_is_told():
    scores, attack, group = drawn(1)
    test, truth, other = drawn(2)
    asked = Confidence(error=0.05, unknown=True, group="proto")
    told = confidence_of(conformal_spec(asked, scores, attack, group), POINT, test, truth, other)
    assert told.one + told.both + told.none == len(test)
    assert 0 < told.unknown_attacks < told.unknown <= told.both + told.none
    assert told.alerts_replaced == 0
    over = asked.model_copy(update={"over_alerts": True})
    assert confidence_of(conformal_spec(over, scores, attack, group), POINT, test, truth, other).alerts_replaced > 0


def test_a_group_with_too_few_rows_has_the_bounds_of_all():
    scores, attack, group = drawn(3)
    group[:5] = "sctp"
    spec = conformal_spec(Confidence(error=0.05, group="proto"), scores, attack, group)
    assert "sctp" not in spec.groups
    table = ConformalTable.of(spec)
    assert [s.tolist() for s in table.sets(scores[:5], ["sctp"] * 5)] == [s.tolist() for s in table.sets(scores[:5], None)]


def test_too_few_rows_for_the_error_are_refused():
    scores, attack, _ = drawn(4, 40)
    with pytest.raises(DataError, match=r"confidence.error 0.01 needs 100 benign and 100 attack rows"):
        conformal_spec(Confidence(error=0.01), scores, attack, None)


def test_nothing_is_made_unless_it_is_declared():
    declared = detector()
    made = train(prepare(declared, check_data(declared, rows(), where="x"), None, with_test=True), seed=1)
    assert made.manifest["conformal"] is None


@pytest.mark.heavy
def test_a_declared_bundle_has_its_sets(tmp_path):
    declared = detector(confidence={"unknown": True, "error": 0.1, "group": "method"})
    made = train(prepare(declared, check_data(declared, rows(2000), where="x"), None, with_test=True), seed=1)
    spec = write_bundle(made, tmp_path / "b").manifest.conformal
    assert spec is not None
    assert spec.unknown
    assert set(spec.groups) <= {"password", "token", "key"}
    assert spec.whole.attack + spec.whole.benign == made.manifest["lineage"].metrics["validation"]["rows"]


@pytest.mark.parametrize("group", ["seconds", "user", "nothing"])
def test_a_group_is_a_request_field_of_kinds(group):
    with pytest.raises(DetectorError, match="is not a request field of type string, int, bool or port"):
        detector(confidence={"group": group})


def test_unknown_codes():
    spec = conformal_spec(Confidence(error=0.05, unknown=True), *drawn(1)[:2], None)
    table = ConformalTable.of(spec)
    scores = np.append(np.linspace(0, 1, 101), np.nan).astype(np.float32)
    codes = np.array([0] * 40 + [1] * 30 + [2] * 31 + [1])
    got = table.codes(codes, scores, None)
    one_by_one = [table.code(int(c), float(s), None) for c, s in zip(codes, scores, strict=True)]
    assert got.tolist() == one_by_one
    assert UNKNOWN in one_by_one
    assert (got[codes == 2] == 2).all(), "never in place of an alert"
    assert got[-1] == 1, "a score that is no number is to be investigated"
    inside = np.flatnonzero(got == UNKNOWN)
    assert (np.diff(inside) == 1).all(), "between the scores that are clearly benign and clearly an attack"
