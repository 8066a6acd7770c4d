"""Surrogate rules: they find a rule that is there, say how far they can be trusted, and refuse what is too little."""

import numpy as np
import pytest

from serving.explanations.explanation import UnexplainableModel
from serving.explanations.surrogate import SurrogateTree, condition_words, verdict_places
from serving.models.manifest import ExplainSpec, OperatingPoint, ReasonTemplate
from serving.models.verdicts import verdict_codes

ROWS = 600


@pytest.fixture(scope="module")
def columns():
    rng = np.random.default_rng(5)
    word = np.array([b"tcp", b"udp", b"icmp"], dtype=object)[rng.integers(0, 3, ROWS)]
    return {"ports": rng.integers(0, 50, ROWS).astype(np.float32), "noise": rng.normal(size=ROWS), "proto": word}


def fitted(columns, scores, **more):
    return SurrogateTree.fit(columns, scores, 0.5, 0.8, background="600 rows", **more)


def test_it_finds_the_rule_that_is_there(columns):
    attack = (columns["ports"] > 20) & (columns["proto"] == b"icmp")
    tree = fitted(columns, np.where(attack, 0.9, 0.1))
    leaf = tree.leaf_of({"ports": 35.0, "proto": "icmp", "noise": 0.0})
    assert (tree.fidelity, leaf.verdict, leaf.precision) == (1.0, "alert", 1.0)
    assert {c.column for c in leaf.conditions} == {"ports", "proto"}
    (ports,) = [c for c in leaf.conditions if c.column == "ports"]
    assert (ports.low, ports.high) == (pytest.approx(20.5, abs=3), None)
    assert tree.leaf_of({"ports": 35.0, "proto": "tcp", "noise": 0.0}).verdict == "benign"


def test_fidelity_is_of_rows_that_were_not_fitted(columns):
    coin = np.random.default_rng(1).random(ROWS)
    tree = fitted(columns, coin)
    assert tree.held_out == ROWS // 3
    assert tree.fidelity < 0.7, "nothing can be learned of a coin"


def test_a_score_that_is_no_number_is_taken_as_verdicts_take_it(columns):
    scores = np.array([np.nan, 0.0, 0.5, 0.79, 0.8, 1.0, np.nan, np.inf, -np.inf])
    point = OperatingPoint(threshold=0.8, investigate=0.5, requirement="none", expected=None)
    places = verdict_places(scores, 0.5, 0.8).tolist()
    assert places == verdict_codes(scores, point).tolist() == [1, 0, 1, 1, 2, 2, 1, 2, 0]
    tree = fitted(columns, np.where(columns["ports"] > 20, np.nan, 0.1))
    assert tree.leaf_of({"ports": 35.0, "proto": "tcp", "noise": 0.0}).verdict == "investigate"
    assert tree.fidelity == 1.0


def test_codes_have_no_order(columns):
    coded = {"code": (np.arange(ROWS) % 5).astype(np.float32)}
    tree = fitted(coded, np.where(coded["code"] == 2, 0.9, 0.1), coded={"code"})
    (condition,) = tree.leaf_of({"code": 2.0}).conditions
    assert (condition.word, condition.is_word) == (2.0, True)
    words = ExplainSpec(reasons={"code": ReasonTemplate(code="C", text="the state is {value}", words={"2": "REJ"})})
    assert condition_words(condition, words) == "the state is REJ"
    (other,) = tree.leaf_of({"code": 3.0}).conditions
    assert condition_words(other, words) == "the state is other than REJ"


def test_bounds_of_one_column_are_one_condition(columns):
    tree = fitted(columns, np.where((columns["ports"] > 10) & (columns["ports"] <= 30), 0.9, 0.1))
    conditions = tree.leaf_of({"ports": 20.0, "proto": "tcp", "noise": 0.0}).conditions
    (ports,) = [c for c in conditions if c.column == "ports"]
    assert 8 < ports.low < 13 < 27 < ports.high < 33
    assert condition_words(ports, ExplainSpec()).startswith("ports is more than ")


def test_few_rows_are_refused(columns):
    with pytest.raises(UnexplainableModel, match="at least 30 rows"):
        fitted({name: values[:10] for name, values in columns.items()}, np.zeros(10))
