"""What the counters of evidence promise: first requests only, no entity twice, bounded memory."""

from itertools import pairwise

import numpy as np
import pytest

from serving.telemetry import evidence
from serving.telemetry.evidence import EDGES, EntityCounts, EntitySampling, VariantEvidence, score_bin

GOOD = {"is_error": False, "is_slow": False, "is_degraded": False, "is_alert": False}


def test_only_an_entitys_first_request_counts():
    entities = EntityCounts(EntitySampling())
    entities.count_first(1, **GOOD)
    entities.count_first(1, **{**GOOD, "is_alert": True})
    entities.count_first(2, **{**GOOD, "is_alert": True})
    assert (entities.count, entities.alerts) == (2, 1)


def test_forgetting_counts_anew_and_takes_nothing_back():
    entities = EntityCounts(EntitySampling())
    entities.count_first(1, **GOOD)
    entities.forget()
    assert entities.count == 1
    entities.count_first(1, **GOOD)
    assert entities.count == 2


def test_a_full_memory_stays_bounded_and_counts_nobody_twice(monkeypatch):
    monkeypatch.setattr(evidence, "REMEMBERED", 100)
    entities, everybody = EntityCounts(EntitySampling()), np.random.default_rng(0).integers(0, 2**63, 5000).tolist()
    for _ in range(3):
        for identity in everybody:
            entities.count_first(identity, **GOOD)
            assert len(entities._seen) <= 101
    assert 100 < entities.count <= 5000
    counted = entities.count
    for identity in everybody:
        entities.count_first(identity, **GOOD)
    assert entities.count == counted


def test_edges_rise_and_fp32_tells_them_apart():
    assert all(a < b for a, b in pairwise(EDGES))
    assert len(set(np.array(EDGES, np.float32).tolist())) == len(EDGES)
    assert 180 <= sum(0 < e < 1 for e in EDGES) <= 220


@pytest.mark.parametrize("score", [-3.0, 0.0, 1e-6, 0.3, 0.999, 1.0, 17.5, 1e6])
def test_a_score_is_below_its_edge_and_at_or_over_the_one_before(score):
    upper = float(score_bin(score))
    below = [e for e in EDGES if e < upper]
    assert score < upper
    assert not below or score >= below[-1]


def test_a_score_that_is_no_number_has_no_bin():
    kept = VariantEvidence("m", "candidate", "r")
    kept.scored([float("nan"), 0.5])
    assert sum(kept.scores.values()) == 1
