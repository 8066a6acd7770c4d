"""Explained answers are compared with plain ones, and the noise stands beside what they do to others."""

import pytest

from loadtests.bench.benchmarks.explained_answers import AGAIN, ALONE, BESIDE, closed_rows, mixed_rows
from loadtests.bench.load.open_load import OpenSample
from loadtests.bench.load.results import Sample


def opened(*p99s):
    return [OpenSample(1.0, p99 / 2, p99, 2 * p99, 200.0, 1000, 0, 0.1, 0.1) for p99 in p99s]


def test_each_kind_is_against_the_plain_answer_round_by_round():
    found = {r.name: r for r in closed_rows({"plain": [Sample(1.0, 2.0, 9.0)] * 2, "shap": [Sample(3.0, 8.0, 9.0)] * 2})}
    assert found["explained-answer/plain/p99"].ratio is None
    assert (found["explained-answer/shap/p50"].ratio, found["explained-answer/shap/p99"].ratio) == (3.0, 4.0)


@pytest.mark.parametrize(("beside", "is_met"), [((2.2, 2.4), True), ((2.6, 2.8), False)])
def test_plain_answers_are_judged_by_their_p99_beside_explained_ones(beside, is_met):
    mixed = {ALONE: opened(2.0, 2.0), AGAIN: opened(2.1, 2.3), BESIDE: opened(*beside)}
    found = {r.name: r for r in mixed_rows(mixed)}
    assert found[f"plain-answers/{BESIDE}/p99"].is_met is is_met
    assert found[f"plain-answers/{AGAIN}/p99"].ratio == pytest.approx(1.1)
    assert found[f"plain-answers/{AGAIN}/p99"].target is None
