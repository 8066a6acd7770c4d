"""What scores say before labels, and whether labels agree with them later."""

import numpy as np
import pytest

from lifecycle.performance.concept import concept_finding
from lifecycle.performance.figures import Estimate, NotEstimated
from lifecycle.performance.from_scores import ScoreEstimate, score_error, score_performance
from serving.models.manifest import Calibration
from serving.models.verdicts import CalibrationTable

pytestmark = pytest.mark.heavy


def table(low: tuple[float, ...], high: tuple[float, ...]) -> CalibrationTable:
    """Steps of the score at 0, 0.25, 0.5, 0.75."""
    made = CalibrationTable.of(Calibration(scores=(0.0, 0.25, 0.5, 0.75)[: len(low)], low=low, high=high, rows=100))
    assert made is not None
    return made


EXACT = table((0.1, 0.3, 0.6, 0.9), (0.1, 0.3, 0.6, 0.9))


class TestFromScores:
    def test_probabilities_add_up_to_the_confusion_matrix(self):
        scores = np.array([0.8, 0.8, 0.6, 0.1, 0.3])
        found = score_performance(scores, scores >= 0.5, EXACT)
        assert isinstance(found.precision, ScoreEstimate)
        assert isinstance(found.recall, ScoreEstimate)
        assert isinstance(found.f1, ScoreEstimate)
        assert found.precision.value == pytest.approx(2.4 / 3)
        assert found.recall.value == pytest.approx(2.4 / 2.8)
        assert found.f1.value == pytest.approx(2 * 2.4 / (3 + 2.8))
        assert found.precision.standard_error == pytest.approx(np.sqrt(0.09 + 0.09 + 0.24) / 3)
        assert found.recall.estimated_from == "scores"

    def test_the_error_is_that_of_draws(self):
        rng = np.random.default_rng(0)
        scores = rng.random(3000)
        p = np.array([0.1, 0.3, 0.6, 0.9])[np.minimum((scores * 4).astype(int), 3)]
        attack = rng.random((500, 3000)) < p
        recalls = (attack & (scores >= 0.5)).sum(axis=1) / attack.sum(axis=1)
        found = score_performance(scores, scores >= 0.5, EXACT).recall
        assert isinstance(found, ScoreEstimate)
        assert found.value == pytest.approx(recalls.mean(), abs=0.003)
        assert found.standard_error == pytest.approx(recalls.std(), rel=0.15)

    def test_wide_probabilities_give_wide_bounds(self):
        wide = table((0.0, 0.2, 0.4, 0.7), (0.2, 0.5, 0.8, 1.0))
        scores = np.linspace(0, 1, 500)
        narrow, loose = (score_performance(scores, scores >= 0.5, t).recall for t in (EXACT, wide))
        assert isinstance(narrow, ScoreEstimate)
        assert isinstance(loose, ScoreEstimate)
        assert loose.high - loose.low > 2 * (narrow.high - narrow.low)

    @pytest.mark.parametrize(
        ("scores", "calibration", "reason"),
        [
            pytest.param([0.8], None, "no_probabilities", id="no calibration, no estimate"),
            pytest.param([np.nan], EXACT, "no_rows", id="rows without scores say nothing"),
            pytest.param([0.1], EXACT, "no_alerts", id="no precision without alerts"),
        ],
    )
    def test_where_there_is_none_it_says_why(self, scores: list[float], calibration: CalibrationTable | None, reason: str):
        array = np.array(scores)
        found = score_performance(array, array >= 0.5, calibration).precision
        assert isinstance(found, NotEstimated)
        assert found.reason == reason

    def test_without_alerts_nothing_is_found_even_where_probabilities_may_be_zero(self):
        found = score_performance(np.array([0.1, 0.2]), np.zeros(2, dtype=bool), table((0.0, 0.3), (0.2, 0.5)))
        assert isinstance(found.recall, ScoreEstimate)
        assert isinstance(found.f1, ScoreEstimate)
        assert (found.recall.value, found.f1.value) == (0.0, 0.0)

    def test_the_error_is_known_once_labels_are_in(self):
        said = ScoreEstimate(0.8, 0.7, 0.9, 0.05)
        error = score_error(said, Estimate(0.6, 0.5, 0.7, 100, 100.0))
        assert error is not None
        assert error.error == pytest.approx(0.2)
        assert not error.is_within
        assert score_error(said, NotEstimated("immature", 0.3)) is None


class TestConcept:
    def rows(self, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        rng = np.random.default_rng(seed)
        p = rng.beta(0.3, 2.0, n)
        return p, rng.random(n), rng

    def test_labels_by_the_probabilities_are_no_drift(self):
        p_values = []
        for seed in range(60):
            p, uniform, _ = self.rows(300, seed)
            found = concept_finding(p, p, uniform < p, np.ones(300), draws=200)
            assert found.p_value is not None
            p_values.append(found.p_value)
        assert np.mean(np.array(p_values) <= 0.05) <= 0.12
        assert 0.3 < np.mean(p_values) < 0.7

    @pytest.mark.parametrize(("power", "direction"), [(0.4, "more"), (3.0, "fewer")])
    def test_the_same_scores_with_other_labels_are(self, power: float, direction: str):
        p, uniform, _ = self.rows(2000)
        found = concept_finding(p, p, uniform < p**power, np.ones(2000))
        assert found.is_drift()
        assert found.direction == direction
        assert "by their labels" in found.words

    def test_as_many_attacks_at_other_scores_are_found(self):
        p = np.repeat([0.1, 0.9], 500)
        attack = np.arange(1000) % 2 == 0
        found = concept_finding(p, p, attack, np.ones(1000))
        assert found.is_drift()
        assert found.direction == "elsewhere"

    def test_labels_of_alerts_do_not_count_for_all_rows(self):
        p, uniform, rng = self.rows(20_000)
        chance = np.where(p > 0.5, 0.9, 0.05)
        picked = rng.random(20_000) < chance
        attack = uniform < p
        weighted = concept_finding(p[picked], p[picked], attack[picked], 1 / chance[picked])
        assert weighted.found == pytest.approx(attack.mean(), abs=0.02)
        assert not weighted.is_drift()

    def test_what_the_bounds_of_a_probability_allow_is_no_contradiction(self):
        p, uniform, _ = self.rows(2000)
        attack = uniform < np.minimum(p + 0.1, 1)
        assert concept_finding(p, p, attack, np.ones(2000)).is_drift()
        assert not concept_finding(np.maximum(p - 0.15, 0), np.minimum(p + 0.15, 1), attack, np.ones(2000)).is_drift()

    def test_few_rows_say_so(self):
        found = concept_finding(np.full(20, 0.1), np.full(20, 0.1), np.ones(20, dtype=bool), np.ones(20))
        assert found.p_value is None
        assert not found.is_drift()
        assert "too few" in found.words
        assert concept_finding(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0)).rows == 0
