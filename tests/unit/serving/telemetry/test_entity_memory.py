"""Which entities are counted: each once while a split stands, and of all variants the same ones."""

import numpy as np
import pytest

from serving.telemetry import evidence
from serving.telemetry.metrics import ServingMetrics

GOOD = {"is_error": False, "is_slow": False, "is_degraded": False, "is_alert": False}
KEYS = [("m", "stable", "a"), ("m", "candidate", "b")]


@pytest.fixture
def counted(monkeypatch):
    """Meets 20,000 entities, a tenth of them with the candidate, where a variant remembers 1,000; how many each counted."""
    monkeypatch.setattr(evidence, "REMEMBERED", 1000)
    metrics = ServingMetrics("r")
    both = [metrics.evidence(*key).entities for key in KEYS]

    def meet(seed: int) -> list[int]:
        rng, before = np.random.default_rng(seed), [e.count for e in both]
        for identity in rng.integers(0, 2**63, 20_000).tolist():
            both[rng.random() < 0.1].count_first(identity, **GOOD)
        return [e.count - b for e, b in zip(both, before, strict=True)]

    return metrics, meet


def test_memory_that_runs_full_thins_all_variants_alike(counted):
    _, meet = counted
    meet(1)
    stable, candidate = meet(2)
    assert candidate / (stable + candidate) == pytest.approx(0.1, abs=0.03)
    assert stable < 5000


def test_a_new_split_begins_with_empty_memory_for_everybody(counted):
    metrics, meet = counted
    first = meet(1)
    metrics.remember_entities(set())
    assert meet(1) == first


def test_a_split_that_stands_counts_nobody_twice(counted):
    metrics, meet = counted
    meet(1)
    metrics.remember_entities(set(KEYS))
    assert sum(meet(1)) == 0
