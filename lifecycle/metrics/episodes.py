"""Attack episodes, and how long each went on before the first alert. Pure.

An episode is a run of attack rows of one entity with no gap over a declared length between two of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask, entity_codes


@dataclass(frozen=True, slots=True)
class Episodes:
    """All of shape (m,), by entity, then time. delay_s: from the first attack row to the first one that alerts; inf if none does."""

    entity: NDArray[np.object_]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    rows: NDArray[np.int64]
    delay_s: Floats

    def __len__(self) -> int:
        return len(self.entity)

    @property
    def detected(self) -> Mask:
        """Which had an alert."""
        return np.isfinite(self.delay_s)


def attack_episodes(entity: NDArray[np.object_], at_us: NDArray[np.int64], attack: Mask, alert: Mask, gap_s: float) -> Episodes:
    """Find the episodes. entity, at_us, attack, alert: shape (n,), in any order. Alerts on other rows of the entity do not count."""
    rows = np.flatnonzero(attack)
    names, who = entity_codes(entity[rows])
    order = np.lexsort((at_us[rows], who))
    who, when, seen = who[order], at_us[rows][order], alert[rows][order]
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = (np.diff(who) != 0) | (np.diff(when) > gap_s * 1e6)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(rows)) - 1
    if len(first) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return Episodes(np.zeros(0, dtype=object), nothing, nothing, nothing, np.zeros(0))
    alerted = np.minimum.reduceat(np.where(seen, when, np.iinfo(np.int64).max), first)
    delay = np.where(np.logical_or.reduceat(seen, first), (alerted - when[first]) / 1e6, np.inf)
    return Episodes(names[who[first]], when[first], when[last], last - first + 1, delay)


def delay_quantiles(delay_s: Floats, weights: Floats, share: float) -> Floats:
    """The delay within which `share` of the episodes were found, of each set of weights; inf where fewer were.

    delay_s: shape (m,), m > 0. weights: shape (b, m), each with a positive sum. Result (b,). The smallest delay at which the
    weighted share is reached (the inverse of the empirical distribution)."""
    order = np.argsort(delay_s, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    first = np.argmax(reached >= share * reached[:, -1:] - 1e-9, axis=1)
    return np.asarray(delay_s[order][first], dtype=np.float64)
