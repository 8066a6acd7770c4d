"""What entities did in a window agrees with counting by hand; regular calls score above random ones."""

from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch.behaviour.beacons import LEAST_GAPS, beacon_scores
from serving.batch.behaviour.features import FEATURES, Events, window_features
from serving.batch.behaviour.spec import share_below
from tests import laws

SECOND = 1_000_000
NUMBER, FLAG = st.integers(0, 900), st.booleans()
EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-1, 4), st.integers(-1, 3), NUMBER, NUMBER, FLAG, FLAG), min_size=1, max_size=40
)


def events_of(rows, *, is_history_known=True):
    entity, peer, port, at, sent, failed, known = (np.array([row[i] for row in rows]) for i in range(7))
    size, sent = (sent * 2).astype(float), sent.astype(float)
    return Events(entity, peer, port, at * SECOND, size, sent, failed, known if is_history_known else None)


def entropy(values):
    counts = Counter(values)
    return -sum(n / len(values) * log2(n / len(values)) for n in counts.values())


@pytest.mark.heavy
@laws.examples(100)
@given(EVENTS)
def test_agrees_with_counting_by_hand(rows):
    codes, features, numbers = window_features(events_of(rows))
    assert set(features) == set(FEATURES)
    for at, code in enumerate(codes.tolist()):
        own = [row for row in rows if row[0] == code]
        peers, ports = [r[1] for r in own if r[1] >= 0], [r[2] for r in own if r[2] >= 0]
        new = {r[1] for r in own if r[1] >= 0 and not r[6]}
        assert numbers[at] == len(own)
        expected = {
            "events": np.log10(1 + len(own)),
            "peers": np.log10(1 + len(set(peers))),
            "ports": np.log10(1 + len(set(ports))),
            "fan_out": len({(r[1], r[2]) for r in own if r[1] >= 0 and r[2] >= 0}) / len(own),
            "peer_entropy": entropy(peers),
            "port_entropy": entropy(ports),
            "top_peer_share": max(Counter(peers).values(), default=0) / len(own),
            "failed_share": sum(r[5] for r in own) / len(own),
            "sent_share": 0.5 if sum(r[4] for r in own) else 0.0,
            "bytes": np.log10(1 + 2 * sum(r[4] for r in own)),
            "first_seen_share": len(new) / len(set(peers)) if peers else 0.0,
        }
        for name, value in expected.items():
            assert features[name][at] == pytest.approx(value), name


def test_without_history_no_peer_is_called_new():
    _, features, _ = window_features(events_of([(0, 1, 1, 5, 5, False, False)], is_history_known=False))
    assert features["first_seen_share"].tolist() == [0.0]


def calls(gaps_s):
    return np.concatenate([[0], np.cumsum(np.asarray(gaps_s) * SECOND)]).astype(np.int64)


def score(gaps_s):
    at = calls(gaps_s)
    return beacon_scores(np.zeros(len(at), dtype=np.int64), at)[1].tolist()


@pytest.mark.parametrize("period_s", [10, 60, 300])
def test_a_steady_beacon_scores_one_whatever_its_period(period_s):
    assert score([period_s] * 12) == [1.0]


def test_a_little_jitter_scores_between_steady_and_random():
    rng = np.random.default_rng(1)
    jittered = np.mean([score(60 * rng.uniform(0.8, 1.2, 40))[0] for _ in range(20)])
    random = np.mean([score(rng.exponential(60, 40))[0] for _ in range(20)])
    assert 0.8 < jittered < 1.0
    assert random < jittered - 0.15


def test_a_flood_is_no_beacon():
    assert score([0.1] * 100) == [0.0]


def test_few_calls_say_nothing():
    assert score([60] * (LEAST_GAPS - 1)) == []


def test_pairs_are_told_apart():
    at = np.concatenate([calls([60] * 10), calls([60] * 10) + 7 * SECOND])
    pairs, scores = beacon_scores(np.repeat([3, 9], 11), at)
    assert (pairs.tolist(), scores.tolist()) == ([3, 9], [1.0, 1.0])


@pytest.mark.parametrize(("value", "share"), [(-1.0, 0.0), (0.0, 0.0), (0.5, 0.5), (0.25, 0.25), (1.0, 1.0), (9.0, 1.0)])
def test_the_share_of_the_reference_below(value, share):
    table = tuple(np.linspace(0, 1, 101))
    assert share_below(np.array([value]), table)[0] == pytest.approx(share)


def test_of_a_value_that_half_of_the_reference_has_the_middle():
    assert share_below(np.array([0.0]), (0.0, 0.0, 0.0, 1.0, 2.0))[0] == pytest.approx(0.25)
