"""Simulated evidence, seeded: what stable and candidate would have shown. Pure but for the generator that is handed in.

Every stream is a run's cumulative counts, shape (runs, looks); each look covers `every` requests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.signedinteger[Any]]
Progress = Callable[[float], None]
"""Told how much is done, 0..1."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What was new at each look: observations and bad ones of stable (n_a, k_a) and candidate (n_b, k_b); shape (runs, looks)."""

    n_a: Ints
    k_a: Ints
    n_b: Ints
    k_b: Ints


def independent(
    rng: np.random.Generator, runs: int, *, stable: float, candidate: float, every: int, until: int, weight: float
) -> Looks:
    """Each request meets the candidate with probability `weight`, and is bad with its variant's rate."""
    shape = (runs, until // every)
    n_b = rng.binomial(every, weight, shape).astype(np.int32)
    n_a = (every - n_b).astype(np.int32)
    k_a, k_b = rng.binomial(n_a, stable).astype(np.int32), rng.binomial(n_b, candidate).astype(np.int32)
    return Looks(n_a, k_a, n_b, k_b)


def heavy_tailed(
    rng: np.random.Generator,
    runs: int,
    *,
    bad: float,
    every: int,
    until: int,
    weight: float,
    entities: int = 5_000,
    tail: float = 1.1,
    replicas: int = 1,
    tell: Progress = lambda share: None,
) -> tuple[Looks, Looks]:
    """(by request, by entity): few entities make most requests, one is bad every time or never, and each meets one variant.

    Which entity asks follows a power law with exponent `tail`. By entity: each one's first request at each replica counts, as the
    replicas' counters have it. The candidate is exactly as good as stable."""
    popularity = np.cumsum(np.arange(1, entities + 1, dtype=np.float64) ** -tail)
    popularity /= popularity[-1]
    looks = until // every
    found = [np.zeros((runs, looks), dtype=np.int32) for _ in range(8)]
    slots = np.repeat(np.arange(looks), every)
    for run in range(runs):
        is_candidate, is_bad = rng.random(entities) < weight, rng.random(entities) < bad
        who = np.searchsorted(popularity, rng.random(looks * every))
        where = rng.integers(0, replicas, looks * every)
        _, first = np.unique(who * replicas + where, return_index=True)
        for offset, chosen in ((0, slice(None)), (4, first)):
            entity, slot = who[chosen], slots[chosen]
            for place, mask in enumerate((~is_candidate, is_candidate)):
                mine = mask[entity]
                found[offset + 2 * place][run] = np.bincount(slot[mine], minlength=looks)
                found[offset + 2 * place + 1][run] = np.bincount(slot[mine & is_bad[entity]], minlength=looks)
        tell((run + 1) / runs)
    return Looks(*found[:4]), Looks(*found[4:])
