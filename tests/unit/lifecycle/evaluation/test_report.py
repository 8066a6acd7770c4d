"""What is reported about alerts: per row, per entity-window, with the unverified counted both ways."""

import numpy as np
import pytest

from lifecycle.evaluation.bootstrap import by_entity
from lifecycle.evaluation.report import by_segment, report, spread
from lifecycle.evaluation.scored import Scored, by_window
from lifecycle.metrics.episodes import attack_episodes
from serving.models.manifest import OperatingPoint

MINUTE_US = 60_000_000
POINT = OperatingPoint(threshold=0.5, investigate=0.2, requirement="f1 >= 0.85")


def scored(**changes):
    body = {
        "score": np.array([0.9, 0.1, 0.6, 0.2, 0.7], dtype=np.float32),
        "attack": np.array([True, True, False, False, False]),
        "verified": np.array([True, True, True, True, False]),
        "entity": np.array(["a", "a", "b", "b", "c"], dtype=object),
        "at_us": np.array([1, 2, 3, MINUTE_US + 1, MINUTE_US + 2], dtype=np.int64),
        "segments": {"proto": np.array(["tcp", "tcp", "tcp", "udp", "udp"], dtype=object)},
    }
    return Scored(**{**body, **changes})


def units(rows):
    return {(u.unit, u.benign): u for u in report(rows, {"siem_alerting": POINT}, window_s=60, minutes_per_alert=10)}


def test_unverified_rows_are_counted_as_benign_and_left_out():
    got = units(scored())
    assert got["row", "all"].points[0].rates.false_alarms == 2
    assert got["row", "verified"].points[0].rates.false_alarms == 1


def test_a_window_alerts_if_one_of_its_rows_does():
    windows = by_window(scored(), 60)
    assert windows.entity.tolist() == ["a", "b", "b", "c"]
    assert windows.attack.tolist() == [True, False, False, False]
    assert windows.score.tolist() == pytest.approx([0.9, 0.6, 0.2, 0.7])
    assert units(scored())["entity_window", "all"].points[0].rates.hits == 1


def test_entities_that_differ_in_a_nul_have_windows_of_their_own():
    rows = scored(entity=np.array(["a", "a", "a\0", "b", b"b"], dtype=object), at_us=np.arange(5))
    windows = by_window(rows, 60)
    assert windows.entity.tolist() == ["a", "a\0", "b"], "bytes are text in UTF-8"
    assert windows.score.tolist() == pytest.approx([0.9, 0.6, 0.7])
    assert by_entity(rows.entity, rows.attack).count == 3
    assert attack_episodes(rows.entity, rows.at_us, np.ones(5, bool), np.ones(5, bool), 60).entity.tolist() == ["a", "a\0", "b"]


def test_a_false_alarm_costs_an_analysts_minutes():
    point = units(scored())["row", "all"].points[0]
    assert point.false_alarm_minutes == 20
    assert point.alerts_per_day == pytest.approx(3 * 86_400_000_000 / (MINUTE_US + 1))
    assert units(scored(at_us=None))["row", "all"].points[0].alerts_per_day is None


def test_without_an_entity_there_are_rows_only():
    assert {unit for unit, _ in units(scored(entity=None))} == {"row"}


def test_segments_add_up():
    got = by_segment(scored(), "siem_alerting", POINT)
    assert {g.value: g.rates.total for g in got} == {"tcp": 3, "udp": 2}


def test_a_score_is_compared_at_the_precision_it_is_served_in():
    low = scored(score=np.full(5, np.float32(0.1)))
    point = OperatingPoint(threshold=0.1, investigate=0.1, requirement="x")  # 0.1 is over np.float32(0.1) by 1.5e-9
    assert report(low, {"p": point}, window_s=60, minutes_per_alert=1)[0].points[0].rates.hits == 2


def test_over_seeds_mean_and_deviation():
    got = spread([1.0, 2.0, 3.0])
    assert (got.value, got.high - got.value) == (2.0, 1.0)
    assert spread([1.0, None]).value is None


def test_bins_of_probabilities_have_bounds_by_entity():
    rng = np.random.default_rng(0)
    said = rng.integers(0, 11, 400) / 10
    host = np.repeat(np.arange(20), 20)
    attack = rng.random(400) < np.clip(said + 0.4 * np.where(host % 2, 1, -1), 0, 1)
    rows = Scored(
        said.astype(np.float32), attack, np.ones(400, dtype=bool), host.astype(str).astype(object), None, {}, probability=said
    )
    tied = units(rows)["row", "all"].calibration.bins
    free = units(scored_without_entity(rows))["row", "all"].calibration.bins
    assert [(b.rows, b.attack_share.value) for b in tied] == [(b.rows, b.attack_share.value) for b in free]
    widths = [[b.attack_share.high - b.attack_share.low for b in bins] for bins in (tied, free)]
    assert np.mean(widths[0]) > np.mean(widths[1])
    assert {b.attack_share.method for b in tied} == {"bootstrap"}


def scored_without_entity(rows):
    return Scored(rows.score, rows.attack, rows.verified, None, None, {}, probability=rows.probability)
