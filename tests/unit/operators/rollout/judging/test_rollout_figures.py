"""Pairs, confidence sequences, the alert budget, the estimate of N more, and the simulator's own figures."""

import math
from itertools import pairwise

import numpy as np
import pytest

from operators.labs import rollout_simulation
from operators.rollout.evidence import Tally
from operators.rollout.judging import paired
from operators.rollout.judging.alert_budget import calibrate
from operators.rollout.judging.confidence_sequence import difference, proportion
from operators.rollout.judging.eprocess import Counts
from operators.rollout.judging.estimate import requests_until_verdict
from operators.rollout.judging.gate_state import CapitalShare, GateState
from operators.rollout.judging.paired import Pairs
from operators.rollout.spec import AlertBudget, Gate, GateName


@pytest.mark.parametrize("margin", [0.0, 0.02, -0.02])
def test_no_pair_is_profitable_under_the_null(margin):
    """Exactly: at the margin, one pair more multiplies each bet by 1 on average, so the e-value's mean is 1 at any stopping."""
    up, down = 0.03 + max(margin, 0), 0.03 + max(-margin, 0)
    one = [np.exp(paired.log_e(*counts, margin)) for counts in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    assert up * one[0] + down * one[1] + (1 - up - down) * one[2] == pytest.approx(1)


@pytest.mark.parametrize(
    ("gate", "pairs", "claim"),
    [
        pytest.param(Gate(name=GateName.ALERT_RATE), Pairs(n=2000, up=40, down=8), "worse", id="a flood of alerts"),
        pytest.param(Gate(name=GateName.ALERT_RATE), Pairs(n=2000, up=8, down=40), "worse", id="silence"),
        pytest.param(Gate(name=GateName.ALERT_RATE, margin=0.02), Pairs(n=2000, up=9, down=8), "no_worse", id="equal alerts"),
        pytest.param(Gate(name=GateName.FLIPS, margin=0.01), Pairs(n=2000, up=30, down=30), "worse", id="too many flips"),
        pytest.param(Gate(name=GateName.FLIPS, margin=0.02), Pairs(n=2000, up=4, down=4), "no_worse", id="few flips"),
        pytest.param(Gate(name=GateName.FLIPS), Pairs(n=2000, up=30, down=4), "worse", id="without a margin: all one way"),
    ],
)
def test_pairs_speak(gate, pairs, claim):
    part = CapitalShare(kind="mirror", log_share=0.0, pairs=pairs)
    assert getattr(part, f"log_{claim}")(gate) > math.log(20)
    assert getattr(part, "log_no_worse" if claim == "worse" else "log_worse")(gate) < math.log(20)


@pytest.mark.heavy
def test_confidence_sequences_hold_at_every_look():
    rng, missed, runs = np.random.default_rng(4), 0, 200
    for _ in range(runs):
        n = k = 0
        for _ in range(25):
            n, k = n + 40, k + int(rng.binomial(40, 0.03))
            low, high = proportion(n, k, 0.1)
            if not low <= 0.03 <= high:
                missed += 1
                break
    assert missed / runs <= 0.1
    assert proportion(0, 0) == (0.0, 1.0)
    assert proportion(10_000, 300)[1] - proportion(10_000, 300)[0] < 0.02
    low, high = difference((10_000, 100), (10_000, 400))
    assert 0.01 < low < 0.03 < high < 0.05


def scores(counts: dict[str, int], alerts: int, rows: int) -> Tally:
    return Tally(scores=counts, pairs={"alert>alert": alerts, "benign>benign": rows - alerts})


@pytest.mark.parametrize(
    ("tally", "threshold", "words"),
    [
        pytest.param(scores({"0.5": 9900, "0.8": 60, "0.9": 30, "+Inf": 10}, 40, 10_000), 0.8, "(+0.0%)", id="the edge that spends it"),
        pytest.param(scores({"0.5": 9000, "0.8": 999, "+Inf": 1}, 40, 10_000), None, "too coarse", id="no edge is near enough"),
        pytest.param(scores({"0.5": 900}, 40, 900), None, "900 of 2,000", id="too few rows yet"),
        pytest.param(scores({"0.5": 9900, "0.8": 100}, 3, 10_000), None, "needs at least 10 alerts", id="too few alerts for the tolerance"),
        pytest.param(scores({}, 40, 10_000), None, "no mirrored scores", id="no scores"),
    ],
)  # fmt: skip
def test_alert_budget(tally, threshold, words):
    found = calibrate(AlertBudget(), tally)
    assert found.threshold == threshold
    assert words in found.reason


@pytest.mark.parametrize(
    ("candidate", "margin", "claim"),
    [
        pytest.param(0.08, 0.01, "worse", id="until worse"),
        pytest.param(0.02, 0.03, "no_worse", marks=pytest.mark.heavy, id="until no worse"),
    ],
)
def test_n_more_is_about_right(candidate, margin, claim):
    """Told after 300 requests of the candidate, or half way: within a factor of two in the median."""
    rng, ratios = np.random.default_rng(9), []
    gate = Gate(name=GateName.ERRORS, margin=margin)
    for _ in range(25):
        state, n, k, told = GateState(gate=gate), [0, 0], [0, 0], []
        for _ in range(200):
            for variant, (size, rate) in enumerate(((450, 0.02), (50, candidate))):
                n[variant] += size
                k[variant] += int(rng.binomial(size, rate))
            a, b = (Tally(requests=n[v], bad={GateName.ERRORS: k[v]}) for v in (0, 1))
            state = state.look(a, b, 0, 1)
            part = state.part("live")
            missing_worse = math.log(20) - state.log_worse
            missing_no_worse = math.log(20) - part.log_share - part.log_no_worse(gate)
            if min(missing_worse, missing_no_worse) <= 0:
                break
            told.append((n[1], requests_until_verdict(part, gate, missing_worse, missing_no_worse, 1.0)))
        assert (missing_worse <= 0) is (claim == "worse")
        half = [(at, said) for at, said in told if at >= n[1] / 2 and said is not None]
        if half and n[1] > half[0][0]:
            ratios.append(half[0][1] / (n[1] - half[0][0]))
    assert len(ratios) >= 10
    assert 0.5 <= float(np.median(ratios)) <= 2.0


@pytest.mark.heavy
def test_the_simulator_keeps_its_bounds_and_its_seed():
    rows = (*rollout_simulation.TABLE[:1], rollout_simulation.TABLE[3], rollout_simulation.BESIDES[3])
    first, again = (list(rollout_simulation.play(rows, 200, 1, lambda name, share: None)) for _ in range(2))
    assert first == again
    equal, thrice, pairs = first
    assert equal.ours.stopped <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert equal.threshold.stopped > 0.5
    assert thrice.ours.stopped >= 0.98
    assert thrice.ours.median <= 3600
    assert pairs.ours.stopped <= 0.05
    assert all(a <= b for (_, a), (_, b) in pairwise(thrice.ours.curve))
    assert thrice.ours.curve[-1][1] == thrice.ours.stopped


@pytest.mark.heavy
def test_requests_of_few_entities_break_the_bound_and_entities_keep_it():
    rows = [
        r
        for r in rollout_simulation.BESIDES
        if r.name in ("few entities make the traffic, unit request", "the same, unit entity")
    ]
    by_request, by_entity = rollout_simulation.play(tuple(rows), 400, 3, lambda name, share: None)
    assert by_request.ours.stopped > 0.1
    assert by_entity.ours.stopped <= 0.05


def test_a_late_bad_event_waits_for_its_observation():
    gate = Gate(name=GateName.ERRORS)
    state = GateState(gate=gate).look(Tally(requests=10), Tally(requests=1, bad={GateName.ERRORS: 2}), 0, 1)
    assert state.part("live").stream.candidate == Counts(n=1, k=1)
    state = state.look(Tally(requests=10), Tally(requests=3, bad={GateName.ERRORS: 2}), 0, 1)
    assert state.part("live").stream.candidate == Counts(n=3, k=2)
