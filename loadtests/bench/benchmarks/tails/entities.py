"""Which entities are asked for: a few of them again and again, as in real traffic, or all alike."""

from collections.abc import Sequence
from typing import Final

import numpy as np

REQUESTS: Final = 16_384
"""How many requests are drawn; a load repeats them in this order."""
EXPONENT: Final = 1.1
"""Of the Zipf law: the n-th most frequent entity is asked for in proportion to n ** -EXPONENT."""


def zipf(entities: int, *, requests: int = REQUESTS, seed: int = 5) -> Sequence[int]:
    """Numbers of entities by a Zipf law; which entity has which place is drawn too."""
    rng = np.random.default_rng(seed)
    weights = np.arange(1, entities + 1, dtype=np.float64) ** -EXPONENT
    drawn: list[int] = rng.permutation(entities)[rng.choice(entities, size=requests, p=weights / weights.sum())].tolist()
    return drawn


def uniform(entities: int, *, requests: int = REQUESTS, seed: int = 5) -> Sequence[int]:
    """Numbers of entities, each as likely as any other."""
    drawn: list[int] = np.random.default_rng(seed).integers(0, entities, size=requests).tolist()
    return drawn


DRAWS: Final = {"zipf": zipf, "uniform": uniform}
