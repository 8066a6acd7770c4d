"""Simulated rollouts over segments, seeded: how often, and how soon, the fairness gate says that a disparity was raised. Pure.

Many runs at once, through the very functions that judge a rollout (operators.rollout.judging.segment_process)."""

import math
from dataclasses import dataclass

import numpy as np

from operators.rollout.judging.eprocess import Floats
from operators.rollout.judging.gate_state import LIVE_SHARE
from operators.rollout.judging.segment_process import BETS, LEAST, log_gains, log_no_worse, log_worse


@dataclass(frozen=True, slots=True)
class SegmentedRollout:
    """One setting. shares: of the rows, by segment. stable, candidate: alert rates by segment. weight: the candidate's share."""

    shares: tuple[float, ...] = (0.05, 0.35, 0.3, 0.2, 0.1)
    stable: tuple[float, ...] = (0.04,) * 5
    candidate: tuple[float, ...] = (0.04,) * 5
    weight: float = 0.1
    margin: float = 0.0
    every: int = 200
    until: int = 60_000


@dataclass(frozen=True, slots=True)
class SegmentedOutcome:
    """worse, no_worse: request at which each run first said so, -1: never; shape (runs,). segment: which segment was the worst then."""

    worse: Floats
    no_worse: Floats
    segment: Floats


def play_segments(rollout: SegmentedRollout, runs: int, seed: int, alpha: float = 0.05) -> SegmentedOutcome:
    """Play a rollout so many times."""
    rng = np.random.default_rng(seed)
    shares, count = np.asarray(rollout.shares), len(rollout.shares)
    split = np.concatenate([shares * (1 - rollout.weight), shares * rollout.weight])
    rates = np.array([rollout.stable, rollout.candidate])
    seen_n, seen_k = np.zeros((2, 4, runs, count))
    new_n, new_k = np.zeros((2, 4, runs, count))
    logs = np.zeros((BETS, runs, count))
    worse, no_worse, segment = np.full((3, runs), -1.0)
    idle = math.log1p(-LIVE_SHARE)
    for look in range(rollout.until // rollout.every):
        drawn = rng.multinomial(rollout.every, split, runs).reshape(runs, 2, count)
        n, k = drawn.astype(np.float64), rng.binomial(drawn, rates).astype(np.float64)
        new_n += _streams(n)
        new_k += _streams(k)
        ready = (new_n >= LEAST).all(axis=0)
        if ready.any():
            logs[:, ready] += log_gains(new_n[:, ready], new_k[:, ready], seen_n[:, ready], seen_k[:, ready], rollout.margin)
            for seen, new in ((seen_n, new_n), (seen_k, new_k)):
                seen[:, ready] += new[:, ready]
                new[:, ready] = 0
        each = log_worse(logs, is_two_sided=True)
        mean = np.log(np.exp(each - each.max(axis=1, keepdims=True)).mean(axis=1)) + each.max(axis=1)
        at = (look + 1) * rollout.every
        is_worse = np.logaddexp(mean + math.log(LIVE_SHARE), idle) >= math.log(1 / alpha)
        segment[is_worse & (worse < 0)] = each.argmax(axis=1)[is_worse & (worse < 0)]
        worse[is_worse & (worse < 0)] = at
        is_fine = log_no_worse(logs, is_two_sided=True).min(axis=1) + math.log(LIVE_SHARE) >= math.log(1 / alpha)
        no_worse[is_fine & (no_worse < 0)] = at
    return SegmentedOutcome(worse, no_worse, segment)


def _streams(counts: Floats) -> Floats:
    """(runs, variant, segment) -> a_r, a_s, b_r, b_s of each segment: shape (4, runs, segments)."""
    whole = counts.sum(axis=2, keepdims=True)
    rest = whole - counts
    return np.stack([rest[:, 0], counts[:, 0], rest[:, 1], counts[:, 1]])
