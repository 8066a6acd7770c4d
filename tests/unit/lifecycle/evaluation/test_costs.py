"""What a threshold costs at a site, and that precision follows the site's attack share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from lifecycle.evaluation.costs import Site, cost, point_costs, precision_at, what_if
from lifecycle.evaluation.report import UnitReport, report
from lifecycle.evaluation.scored import Scored
from lifecycle.metrics.intervals import Interval, wilson
from serving.models.manifest import OperatingPoint
from tests import laws

ROWS = UnitReport("row", "all", None, {}, ())
SITE = Site(events_per_day=1_000_000, attack_share=0.001, minutes=(5, 10), analysts=2, hours=8)


def counts(hits, attacks, alarms, benign):
    return {"recall": wilson(hits, attacks), "false_alarm_rate": wilson(alarms, benign)}


def test_a_known_case():
    """1,000 attacks and 999,000 benign events a day; 90 % of the ones and 0.1 % of the others alert."""
    got = cost(0.5, counts(900, 1000, 10, 10_000), SITE, ROWS)
    assert got.alerts.value == pytest.approx(900 + 999)
    assert got.false_alerts.value == pytest.approx(999)
    assert got.missed.value == pytest.approx(100)
    assert got.precision.value == pytest.approx(900 / 1899)
    assert [m.value for m in got.minutes] == pytest.approx([4995, 9990])
    assert [s.value for s in got.team_shares] == pytest.approx([4995 / 960, 9990 / 960])


@laws.examples(50)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 3)), min_size=2, max_size=40))
def test_precision_is_that_of_rows_weighted_to_the_attack_share(rows):
    alert, attack, _ = (np.array(column) for column in zip(*rows, strict=True))
    if not (alert.any() and attack.any() and not attack.all()):
        return
    site = Site(1000, 0.01)
    weights = np.where(attack, 0.01 / attack.mean(), 0.99 / (1 - attack.mean()))
    found = counts(int((alert & attack).sum()), int(attack.sum()), int((alert & ~attack).sum()), int((~attack).sum()))
    got = cost(0.5, found, site, ROWS).precision
    assert got.value == pytest.approx(reference.precision_score(attack, alert, sample_weight=weights))
    assert 0 <= got.low <= got.value <= got.high <= 1


@laws.examples(100)
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 500), st.sampled_from([0.0, 0.001, 0.5, 1.0]))
def test_bounds_hold_the_figure_whatever_was_counted(hits, alarms, quiet, share):
    got = cost(0.5, counts(hits, hits + 10, alarms, alarms + quiet), Site(1000, share, analysts=1), ROWS)
    for figure in (got.precision, got.alerts, got.false_alerts, got.missed, *got.minutes, *got.team_shares):
        if figure.value is not None:
            assert figure.low <= figure.value <= figure.high
            assert np.isfinite([figure.low, figure.high]).all()


def test_no_false_alarm_seen_is_not_none_to_come():
    got = cost(0.5, counts(90, 100, 0, 2129), SITE, ROWS)
    assert got.false_alerts.value == 0
    assert got.false_alerts.high > 1000
    assert got.precision.value == 1.0
    assert got.precision.low < 0.5


def test_bounds_of_the_precision_hold_in_nineteen_of_twenty_draws():
    """True recall 0.8, false alarms 1 %; at one attack in 50 the true precision is 0.62."""
    rng = np.random.default_rng(2)
    truth = 0.02 * 0.8 / (0.02 * 0.8 + 0.98 * 0.01)
    held = 0
    for _ in range(400):
        got = cost(0.5, counts(rng.binomial(200, 0.8), 200, rng.binomial(3000, 0.01), 3000), Site(1000, 0.02), ROWS).precision
        held += got.low <= truth <= got.high
    assert 0.93 <= held / 400 <= 0.98


def test_windows_of_an_entity_are_fewer_than_its_rows():
    """Four rows a minute of each host; a site of 4,000 events a day has 1,000 host-minutes."""
    minute = np.repeat(np.arange(50), 4) * 60_000_000
    scored = Scored(
        score=np.tile(np.array([0.9, 0.1, 0.1, 0.1], dtype=np.float32), 50), attack=np.repeat(np.arange(50) < 10, 4),
        verified=np.ones(200, dtype=bool), entity=np.repeat(np.array(["a", "b"], dtype=object), 100), at_us=minute, segments={},
    )  # fmt: skip
    point = OperatingPoint(threshold=0.5, investigate=0.5, requirement="recall >= 0.98")
    rows, windows = report(scored, {"p": point}, window_s=60, minutes_per_alert=5, draws=20)
    site = Site(4000, attack_share=0.2)
    assert point_costs(rows, site)["p"].false_alerts.value == pytest.approx(4000 * 0.8 / 4)
    assert point_costs(windows, site)["p"].false_alerts.value == pytest.approx(1000 * 0.8)
    assert what_if(windows, site)[0].recall.value == 1.0


def test_what_cannot_be_is_refused():
    share, minutes, analysts = {"attack_share": 2}, {"minutes": (10, 5)}, {"analysts": 0}
    for problem, wrong in (("attack_share is 2", share), ("FROM <= TO", minutes), ("analysts is 0", analysts)):
        with pytest.raises(ValueError, match=problem):
            Site(**{"events_per_day": 1, "attack_share": 0.5, **wrong})


def test_nothing_alerts_nothing_to_be_precise_about():
    assert precision_at(Interval(0.0, 0.0, 0.0), Interval(0.0, 0.0, 0.0)).value is None
