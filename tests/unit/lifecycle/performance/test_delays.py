import numpy as np
import pytest

from lifecycle.performance.delays import delay_curve, delays_of
from lifecycle.performance.labelled_rows import ATTACK, BENIGN, BY_ALERT, together
from tests.unit.lifecycle.performance.some_rows import some


class TestCurve:
    def test_right_truncation_is_corrected(self):
        rng = np.random.default_rng(1)
        delay, age = rng.exponential(2.0, 40_000), rng.uniform(0, 20, 40_000)
        seen = delay <= age
        curve = delay_curve(delay[seen], age[seen])
        assert curve is not None
        at = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
        assert curve.share_in(at) == pytest.approx(1 - np.exp(-at / 2), abs=0.02)
        naive = np.searchsorted(np.sort(delay[seen]), at) / seen.sum()
        assert (naive - (1 - np.exp(-at / 2))).max() > 0.03, "without it, delays look shorter than they are"

    def test_without_truncation_it_is_the_empirical_distribution(self):
        delay = np.repeat([1.0, 2.0, 4.0], [20, 20, 40])
        curve = delay_curve(delay, np.full(80, 100.0))
        assert curve is not None
        assert curve.share_in(np.array([0.5, 1.0, 3.0, 4.0, 9.0])).tolist() == pytest.approx([0, 0.25, 0.5, 1, 1])
        assert curve.age_with(0.5) == 2.0

    def test_a_few_labels_say_nothing(self):
        assert delay_curve(np.arange(29.0), np.full(29, 100.0)) is None

    def test_delays_that_few_rows_could_have_had_are_left_out(self):
        delay = np.concatenate([np.full(50, 1.0), [50.0]])
        curve = delay_curve(delay, np.concatenate([np.full(50, 2.0), [60.0]]))
        assert curve is not None
        assert curve.share_in(np.array([1.0])).tolist() == [1.0]


class TestByKind:
    def test_attacks_and_benign_rows_have_delays_of_their_own(self):
        rows = together(
            [
                some(50, alert=True, label=BENIGN, route=BY_ALERT, delay_us=1.0),
                some(50, alert=True, label=ATTACK, route=BY_ALERT, delay_us=9.0),
            ]
        )
        delays = delays_of(rows, 100)
        share = delays.share_in(True, BENIGN, np.array([5.0]))
        assert share is not None
        assert share.tolist() == [1.0]
        late = delays.share_in(True, ATTACK, np.array([5.0]))
        assert late is not None
        assert late.tolist() == [0.0]
        assert delays.maturity(True, np.array([5.0, 20.0])) == 0.5, "the class whose labels come later decides"
        assert delays.age_with(0.8) == 9.0

    def test_without_labels_nothing_is_known(self):
        delays = delays_of(some(10, alert=True), 100)
        assert delays.maturity(True, np.array([5.0])) is None
        assert delays.age_with(0.8) is None
