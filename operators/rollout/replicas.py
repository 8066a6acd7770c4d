"""Replica arithmetic: how many replicas a rollout needs, on backends where variants share replicas and where each has its own. Pure.

There is one owner of the count. With an autoscaler it is the autoscaler, which is given the floor and the extra work planned here;
without one it is the spec's `replicas`. Replicas of their own follow Argo Rollouts' rules for a canary behind a traffic router."""

import math
from dataclasses import dataclass


def clamp(count: int, least: int | None, most: int | None) -> int:
    """`count` within its bounds; the upper one has the last word."""
    count = max(count, least or 0)
    return count if most is None else min(count, most)


def wanted_replicas(asked: int | None, floor: int | None, least: int | None, most: int | None) -> int | None:
    """The count to carry out. asked: the spec's; None: an autoscaler owns it, and None is the answer. floor: a rollout's setReplicas."""
    if asked is None:
        return None
    return clamp(max(asked, floor or 0), least, most)


def work_ratio(weight: float, mirror: float, *, cost_ratio: float = 1.0) -> float:
    """Work of a replica that stable and candidate share, as a ratio of stable's alone; 1: no more than before.

    weight, mirror: percent. cost_ratio: what one request costs on the candidate, relative to stable. A mirrored request is scored
    twice; of the requests, only those that stable answers are mirrored.

    >>> work_ratio(0, 100)
    2.0
    >>> work_ratio(25, 100, cost_ratio=2.0)
    2.75
    """
    candidate = weight / 100.0
    stable = 1.0 - candidate
    return stable + candidate * cost_ratio + stable * mirror / 100.0 * cost_ratio


def shared_replicas(count: int, weight: float, mirror: float, *, cost_ratio: float = 1.0) -> int:
    """Replicas for the work of `count` replicas of stable alone, once the variants share them; never fewer than `count`.

    >>> shared_replicas(4, 0, 50)
    6
    """
    return max(count, _ceil(count * work_ratio(weight, mirror, cost_ratio=cost_ratio)))


@dataclass(frozen=True, slots=True)
class Own:
    """Replicas by variant."""

    stable: int
    candidate: int


def own_replicas(
    total: int, weight: float, *, ready_candidate: int, is_aborted: bool = False, least: int = 1, mirror: float = 0.0
) -> Own:
    """Replicas where each variant has its own.

    total: what the whole traffic needs. The candidate gets its share, rounded up, and at least `least` as long as it is met or
    mirrored to. Stable keeps what its share needs; it is not made smaller before the candidate's are ready, and after an abort it
    is whole at once.

    >>> own_replicas(10, 25, ready_candidate=3)
    Own(stable=8, candidate=3)
    >>> own_replicas(10, 25, ready_candidate=2)
    Own(stable=10, candidate=3)
    """
    if is_aborted:
        return Own(stable=total, candidate=0)
    share = max(weight, mirror * (100.0 - weight) / 100.0)
    candidate = max(_ceil(total * share / 100.0), least) if share > 0 else 0
    stable = _ceil(total * (100.0 - weight) / 100.0) if ready_candidate >= candidate else total
    return Own(stable=max(stable, least if weight < 100 else 0), candidate=candidate)


def _ceil(value: float) -> int:
    """Rounded up, but not for the last digit of a float: 10 * 30 % is 3, not 4."""
    return math.ceil(value - 1e-9)
