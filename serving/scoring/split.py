"""The sticky split: which variant answers an entity. Core.

Variants take consecutive ranges of the buckets from 0 upward in their declared order; stable takes what is left. So an entity
meets the same variant on every door, in every replica and after every restart, and raising a candidate's weight only ever
moves entities from stable to it, never one back. With several variants, raising one moves the boundary of those declared after
it: fix the weights of an experiment when it starts."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.scoring.entity import BUCKETS, EntityHash, bucket


@dataclass(frozen=True, slots=True)
class Split:
    """Upper ends (exclusive) of the variants' ranges, rising; stable has the rest up to BUCKETS."""

    ends: tuple[int, ...]

    @classmethod
    def of(cls, weights: Sequence[float]) -> "Split":
        """From percentages in declared order; together at most 100."""
        total, ends = 0.0, []
        for weight in weights:
            total += weight
            ends.append(min(round(total * BUCKETS / 100), BUCKETS))
        return cls(tuple(ends))

    @property
    def gives_away(self) -> bool:
        """Whether any entity gets another variant than stable."""
        return bool(self.ends) and self.ends[-1] > 0

    def choose(self, entity_hash: EntityHash) -> int:
        """Index of the variant, in declared order; len(ends) is stable."""
        return bisect_right(self.ends, bucket(entity_hash))

    def choose_all(self, entity_hashes: Sequence[EntityHash]) -> NDArray[np.intp]:
        """The same for many, shape (n,)."""
        buckets = np.array(
            [entity_hash[0] % BUCKETS for entity_hash in entity_hashes], dtype=np.int64
        )  # `bucket`, without a call a row
        return np.searchsorted(np.asarray(self.ends, dtype=np.int64), buckets, side="right")
