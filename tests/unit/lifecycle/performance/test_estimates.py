from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from lifecycle.performance.delays import delays_of
from lifecycle.performance.estimates import Assumed, estimate_performance
from lifecycle.performance.figures import Estimate, Figure, NotEstimated
from lifecycle.performance.labelled_rows import ATTACK, BENIGN, BY_ALERT, BY_AUDIT, BY_QUEUE, OTHERWISE, UNSURE, together
from lifecycle.performance.share_draws import WeightedShare, bounds, true_share
from loadtests.bench.worlds.late_labels import PLAIN, WORLDS, LateWorld, replay
from tests.unit.lifecycle.performance.some_rows import counted, some


def value(figure: Figure) -> float:
    assert isinstance(figure, Estimate), figure
    assert figure.low <= figure.value <= figure.high
    return figure.value


def reason(figure: Figure) -> str:
    assert isinstance(figure, NotEstimated), figure
    return figure.reason


WORKED = counted(hits=30, false=10, unlabelled_alerts=60, missed=2, quiet=98, unlabelled_quiet=9800)
"""100 alerts, 75 % of the labelled ones attacks; 9,900 quiet rows, 2 % of the audited ones attacks: 75 hits, 198 misses."""


class TestShares:
    def test_rows_of_equal_weight_have_the_bounds_of_clopper_and_pearson_at_mid_p(self):
        share = WeightedShare.of(np.ones(50), np.concatenate([np.ones(4), np.zeros(46)]))
        assert share is not None
        drawn = share.draws(np.random.default_rng(0), 200_000)
        assert np.quantile(drawn, 0.5) == pytest.approx(4 / 50, abs=0.01)
        low, high = bounds(drawn)
        assert beta.ppf(0.025, 4, 47) < low < beta.ppf(0.05, 4, 47)
        assert beta.ppf(0.95, 5, 46) < high < beta.ppf(0.975, 5, 46)

    @pytest.mark.parametrize("weight", [1.0, 7.5, 1 / 3])
    @pytest.mark.parametrize("yes", [0, 40])
    def test_nothing_or_all_seen_still_has_a_bound(self, weight: float, yes: int):
        share = WeightedShare.of(np.full(40, weight), np.concatenate([np.ones(yes), np.zeros(40 - yes)]))
        assert share is not None
        low, high = bounds(share.draws(np.random.default_rng(0), 50_000))
        assert (low, high) == pytest.approx((0.0, 0.072) if not yes else (0.928, 1.0), abs=0.004)

    def test_unequal_weights_say_less(self):
        rng = np.random.default_rng(0)
        counts = (np.arange(200) % 10 == 0).astype(float)
        even, uneven = (WeightedShare.of(w, counts) for w in (np.ones(200), np.where(np.arange(200) % 7 == 0, 20.0, 1.0)))
        assert even is not None
        assert uneven is not None
        assert uneven.effective < 60 < even.effective
        narrow, wide = bounds(even.draws(rng)), bounds(uneven.draws(rng))
        assert wide[1] - wide[0] > narrow[1] - narrow[0]

    def test_noise_of_labels_is_taken_out(self):
        assert true_share(np.array([0.02, 0.98, 0.5, 0.01]), 0.02).tolist() == pytest.approx([0.0, 1.0, 0.5, 0.0])


class TestEstimates:
    def test_the_audit_repairs_recall(self):
        found = estimate_performance(WORKED, 0, None)
        assert value(found.precision) == pytest.approx(0.75)
        assert value(found.recall) == pytest.approx(75 / (75 + 198))
        assert value(found.f1) == pytest.approx(2 * 75 / (100 + 75 + 198))
        assert value(found.attack_share) == pytest.approx(273 / 10_000)

    def test_labels_of_known_probability_count_by_its_inverse(self):
        rows = together(
            [
                some(10, alert=True, label=ATTACK, route=BY_ALERT, inclusion=0.1),
                some(10, alert=True, label=BENIGN, route=BY_ALERT, inclusion=0.5),
                some(100, alert=True),
                some(40, alert=False, label=BENIGN, route=BY_AUDIT, inclusion=0.4),
                some(1, alert=False, label=ATTACK, route=BY_AUDIT, inclusion=0.01),
                some(800, alert=False),
            ]
        )
        found = estimate_performance(rows, 0, None)
        assert value(found.precision) == pytest.approx(100 / 120)
        assert value(found.recall) == pytest.approx((100 / 120 * 120) / (100 + 841 * 0.5))

    def test_which_alerts_are_labelled_may_depend_on_their_score(self):
        rows = together(
            [
                some(50, alert=True, label=ATTACK, route=BY_ALERT, score=0.9),
                some(25, alert=True, label=BENIGN, route=BY_ALERT, score=0.6),
                some(25, alert=True, label=ATTACK, route=BY_ALERT, score=0.6),
                some(350, alert=True, score=0.6),
            ]
        )
        assert value(estimate_performance(rows, 0, None).precision) == pytest.approx((50 + 200) / 450)

    def test_a_label_given_on_suspicion_says_nothing_of_other_quiet_rows(self):
        suspected = some(30, alert=False, label=ATTACK, route=OTHERWISE)
        found = estimate_performance(together([WORKED, suspected]), 0, None)
        assert value(found.recall) == pytest.approx(75 / (75 + 9930 * 0.02))
        assert found.set_aside == 30

    def test_the_queue_counts_where_its_probability_is_known(self):
        found = some(1, alert=False, label=ATTACK, route=BY_QUEUE, inclusion=1.0)
        queue = together([found, some(99, alert=False, label=BENIGN, route=BY_QUEUE, inclusion=0.02)])
        bare = counted(hits=30, false=10, unlabelled_alerts=60, missed=0, quiet=0, unlabelled_quiet=9000)
        assert value(estimate_performance(together([bare, queue]), 0, None).attack_share) == pytest.approx(
            (75 + 9100 * 1 / (1 + 99 / 0.02)) / 9200
        )
        unknown = replace(queue, inclusion=np.full(100, np.nan))
        assert reason(estimate_performance(together([bare, unknown]), 0, None).recall) == "no_audit"

    def test_unsure_labels_are_neither(self):
        found = estimate_performance(together([WORKED, some(50, alert=True, label=UNSURE, route=BY_ALERT)]), 0, None)
        assert value(found.precision) == pytest.approx(0.75)
        assert found.unsure == 50

    def test_false_alarms_that_are_closed_at_once_do_not_lower_precision(self):
        quick = some(60, alert=True, label=BENIGN, route=BY_ALERT, delay_us=1.0)
        slow = together([some(40, alert=True, label=ATTACK, route=BY_ALERT, delay_us=float(d)) for d in (5, 20)])
        past = together([quick, slow])
        delays = delays_of(past, 100)
        half = together([quick, some(40, alert=True, label=ATTACK, route=BY_ALERT, delay_us=5.0), some(40, alert=True)])
        now = replace(half, times_us=np.full(len(half), 90))
        assert value(estimate_performance(now, 100, delays).precision) == pytest.approx(80 / 140)

    def test_recall_by_family(self):
        rows = together(
            [
                some(30, alert=True, label=ATTACK, route=BY_ALERT, family="dos"),
                some(10, alert=True, label=ATTACK, route=BY_ALERT, family="probe"),
                some(2, alert=False, label=ATTACK, route=BY_AUDIT, family="probe"),
                some(98, alert=False, label=BENIGN, route=BY_AUDIT),
                some(900, alert=False),
            ]
        )
        families = estimate_performance(rows, 0, None).by_family
        assert value(families["dos"]) == 1.0
        assert value(families["probe"]) == pytest.approx(10 / 30)

    def test_known_noise_widens_and_moves(self):
        plain, noisy = (estimate_performance(WORKED, 0, None, assumed=Assumed(label_noise=n)) for n in (0.0, 0.02))
        assert value(noisy.precision) == pytest.approx((0.75 - 0.02) / 0.96)
        assert value(noisy.recall) == pytest.approx(1.0), "two of a hundred audited rows are what noise makes"
        assert isinstance(noisy.recall, Estimate)
        assert isinstance(plain.recall, Estimate)
        assert noisy.recall.low < value(plain.recall)

    @pytest.mark.parametrize("noise", [-0.1, 0.5, 1.0])
    def test_noise_that_leaves_nothing_is_refused(self, noise: float):
        with pytest.raises(ValueError, match="label_noise"):
            Assumed(label_noise=noise)


class TestWhereThereIsNoFigure:
    """It is a value that says why, never a number."""

    def test_without_an_audit_nobody_knows_what_was_missed(self):
        found = estimate_performance(
            counted(hits=9, false=1, unlabelled_alerts=0, missed=0, quiet=0, unlabelled_quiet=50), 0, None
        )
        assert value(found.precision) == pytest.approx(0.9)
        assert {reason(found.recall), reason(found.f1), reason(found.attack_share)} == {"no_audit"}
        assert found.by_family == {}

    def test_no_labels(self):
        assert reason(estimate_performance(some(5, alert=True), 0, None).precision) == "no_labels"

    def test_no_rows(self):
        found = estimate_performance(some(0, alert=True), 0, None)
        assert reason(found.precision) == reason(found.recall) == "no_rows"

    def test_no_attack_was_found(self):
        found = estimate_performance(
            counted(hits=0, false=9, unlabelled_alerts=0, missed=0, quiet=9, unlabelled_quiet=0), 0, None
        )
        assert value(found.precision) == 0.0
        assert reason(found.recall) == "no_attacks"

    def test_without_alerts_recall_is_none_of_the_attacks(self):
        found = estimate_performance(
            counted(hits=0, false=0, unlabelled_alerts=0, missed=5, quiet=95, unlabelled_quiet=0), 0, None
        )
        assert reason(found.precision) == "no_alerts"
        assert value(found.recall) == 0.0
        assert isinstance(found.recall, Estimate)
        assert 0.0 < found.recall.high < 0.6

    def test_a_young_window_is_immature(self):
        late = together([some(40, alert=True, label=ATTACK, route=BY_ALERT, delay_us=float(d)) for d in (5, 50)])
        young = replace(late.take(slice(0, 40)), times_us=np.full(40, 90))
        found = estimate_performance(young, 100, delays_of(late, 100), assumed=Assumed(mature=0.6))
        assert reason(found.precision) == "immature"
        assert isinstance(found.precision, NotEstimated)
        assert found.precision.maturity == pytest.approx(0.5)
        assert "50 % of them are in" in found.precision.words


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [1])
def test_intervals_hold_the_truth_and_the_naive_ones_do_not(seed: int):
    found = replay(replace(PLAIN, rows_a_day=1500), replays=40, seed=seed)
    for name in ("precision", "recall", "f1"):
        assert found["weighted"][name].given == 40
        assert found["weighted"][name].held >= 36
    assert found["naive"]["recall"].held <= 10


@pytest.mark.soak
@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
@pytest.mark.parametrize("age_days", [4.0, 8.0])
def test_intervals_hold_the_truth_in_500_replays(world: LateWorld, age_days: float):
    found = replay(world, replays=500, seed=11, age_days=age_days)["weighted"]
    for name, one in found.items():
        assert one.given >= 495, name
        assert one.held / one.given >= 0.93, name
