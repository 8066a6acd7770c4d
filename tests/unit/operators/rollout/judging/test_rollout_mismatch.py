"""A broken split is found, a sound one is left alone, and which evidence feeds which gate."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from operators.rollout.evidence import Tally
from operators.rollout.judging import gates
from operators.rollout.judging.eprocess import Counts
from operators.rollout.judging.paired import Pairs
from operators.rollout.judging.ratio_mismatch import SETTLE, ObservedSplit, finding, follow
from operators.rollout.spec import Gate, GateName

START = datetime(2026, 3, 1, tzinfo=UTC)


def split_after(rng: np.random.Generator, shares: list[tuple[float, float]], looks: int = 60) -> ObservedSplit:
    """Looks of 50 entities, 10 s apart; shares: (weight that was set, share that was met) in turn."""
    split, at = ObservedSplit(), START
    for weight, met in shares:
        for look in range(looks):
            at += timedelta(seconds=10)
            if look * 10 < SETTLE.total_seconds():
                fresh = {"stable": 45, "candidate": 5}  # what the replicas still count of the split before
            else:
                k = int(rng.binomial(50, met))
                fresh = {"stable": 50 - k, "candidate": k}
            split = follow(split, {"candidate": weight}, {"r": fresh}, at)
    return split


@pytest.mark.parametrize(
    ("shares", "is_found"),
    [
        pytest.param([(10, 0.10)], False, id="a sound split is left alone"),
        pytest.param([(10, 0.10), (25, 0.25), (50, 0.50)], False, id="also where the weight rises between looks"),
        pytest.param([(10, 0.16)], True, id="too many for the candidate"),
        pytest.param([(10, 0.05)], True, id="too few for the candidate"),
        pytest.param([(10, 0.10), (50, 0.40)], True, id="a weight that does not arrive"),
    ],
)
def test_split(shares: list[tuple[float, float]], is_found: bool) -> None:
    found = finding(split_after(np.random.default_rng(1), shares))
    assert bool(found) is is_found
    assert not found or "sample-ratio mismatch" in found


def test_a_sound_split_is_almost_never_called_broken() -> None:
    rng = np.random.default_rng(2)
    wrong = sum(bool(finding(split_after(rng, [(5, 0.05), (25, 0.25)], looks=30))) for _ in range(150))
    assert wrong <= 1


TALLY = Tally(
    requests=100, rows=200, entities=40, mirrored=50, mirrored_rows=60,
    bad={GateName.ERRORS: 3, GateName.ALERT_RATE: 7}, entities_bad={GateName.ERRORS: 2}, mirrored_bad={GateName.DEGRADED: 4},
    pairs={"benign>alert": 5, "alert>investigate": 2, "alert>alert": 9, "investigate>benign": 1, "benign>benign": 43},
    labels={GateName.PRECISION: (8, 1)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "live", "mirrored"),
    [
        pytest.param(Gate(name=GateName.ERRORS), (100, 3), (50, 0), id="errors are of requests"),
        pytest.param(Gate(name=GateName.ERRORS, unit="entity"), (40, 2), (0, 0), id="by entity: its first live request"),
        pytest.param(Gate(name=GateName.DEGRADED), (200, 0), (60, 4), id="degraded is of rows"),
        pytest.param(Gate(name=GateName.ALERT_RATE), (200, 7), (0, 0), id="alerts are of rows; mirrored ones go by pairs"),
        pytest.param(Gate(name=GateName.FLIPS), (0, 0), (0, 0), id="flips go by pairs"),
        pytest.param(Gate(name=GateName.PRECISION), (8, 1), (0, 0), id="precision is of labels"),
    ],
)
def test_which_evidence_feeds_which_gate(gate: Gate, live: tuple[int, int], mirrored: tuple[int, int]) -> None:
    assert gates.live(TALLY, gate) == Counts(n=live[0], k=live[1])
    assert gates.mirrored(TALLY, gate) == Counts(n=mirrored[0], k=mirrored[1])


def test_pairs_say_which_way() -> None:
    assert gates.pairs(TALLY, Gate(name=GateName.FLIPS)) == Pairs(n=60, up=5, down=3)
    assert gates.pairs(TALLY, Gate(name=GateName.ALERT_RATE)) == Pairs(n=60, up=5, down=2)


def test_replicas_whose_counts_are_let_go_keep_their_part_of_alpha() -> None:
    counts = {name: {"stable": 50, "candidate": 50} for name in ("a", "b", "c")}
    split = ObservedSplit(shares={"stable": 50, "candidate": 50}, number=1, since=START, counts=counts)
    fewer = split.only({"c"})
    assert (list(fewer.counts), fewer.let_go) == (["c"], 2)
    assert fewer.only({"c"}) is fewer
    broken = {"shares": {"stable": 99, "candidate": 1}, "number": 1, "since": START}
    barely = {"d": {"stable": 85, "candidate": 15}}
    assert finding(ObservedSplit(**broken, counts=barely))
    assert not finding(ObservedSplit(**broken, counts=barely, let_go=10**9)), (
        "the later a replica comes, the less it may find by chance"
    )
