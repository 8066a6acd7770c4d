"""Replica arithmetic of a rollout: who owns the count, and how many replicas a separate candidate gets. Pure.

There is one owner of the count. Without an autoscaler it is the spec's `replicas`; with one it is operators.autoscaling, which keeps the
rollout's floor (setReplicas) and plans for the work of both variants where they share replicas (a mirrored request is scored twice).
Where a candidate has its own replicas, stable keeps all of its own until promotion, so that an abort takes effect at once."""

import math


def clamp(count: int, least: int | None, most: int | None) -> int:
    """`count` within its bounds; the upper one has the last word.

    >>> clamp(0, 1, None), clamp(9, 1, 4)
    (1, 4)
    """
    count = max(count, least or 0)
    return count if most is None else min(count, most)


def wanted_replicas(asked: int | None, floor: int | None, least: int | None, most: int | None) -> int | None:
    """The count to carry out. asked: the spec's; None: an autoscaler owns it, and None is the answer. floor: a rollout's setReplicas."""
    if asked is None:
        return None
    return clamp(max(asked, floor or 0), least, most)


def candidate_replicas(replicas: int, weight: float) -> int:
    """Replicas of a variant that has its own: its share of the work of `replicas`, rounded up. At least one, so that a dark variant can be
    observed; at most stable's. weight: percent.

    >>> candidate_replicas(10, 0), candidate_replicas(10, 25), candidate_replicas(10, 30), candidate_replicas(0, 100)
    (1, 3, 3, 1)
    """
    share = math.ceil(replicas * weight / 100 - 1e-9)  # tolerate float error: 10 * 30 % is 3, not 4
    return min(max(1, share), max(1, replicas))
