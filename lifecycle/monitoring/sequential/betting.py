"""E-processes against "these p-values are uniform": capital of a gambler who bets on them, block by block. Pure, on arrays of streams.

A bet is a density on [0, 1], constant on CELLS; a block multiplies its capital by the density of each of its p-values. If the p-values
are independent and uniform, no bet gains on average, so the capital exceeds 1 / alpha at any time at all with probability alpha at most
(Ville's inequality). Several bets play side by side: fixed ones (the values are larger, smaller, spread, concentrated, or there are more
in one tail), and two that learn the distribution of the latest p-values.

The moment of a change is not known. So the capital is put in little by little: a share of it at each block, on each bet by its prior.
- Schedule LEVEL: the shares of all blocks sum to 1. The capital is a mixture of test martingales over the starting block, so the chance
  of ever reaching 1 / alpha is alpha at most. A change at block t costs about log t in evidence.
- Schedule RUN_LENGTH: a whole unit at each block. This is the e-detector of the kind of Shiryaev and Roberts: without a change the expected
  number of blocks until the capital reaches A is A at least.
Sources: Vovk, Nouretdinov & Gammerman (2021), "Testing randomness online", Stat. Sci. 36(4), and Vovk et al. (2021), "Retrain or not
retrain: conformal test martingales for change-point detection", COPA; Shin, Ramdas & Rinaldo (2023), "E-detectors: a nonparametric
framework for sequential change detection", NEJSDS 2(2), sections 2 and 3."""

from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats

Schedule = Literal["level", "run_length"]
CELLS: Final[Floats] = np.array(
    [0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 1]
)
"""Borders of the cells, finer at the ends: what is new or rare shows there."""
WIDTHS: Final[Floats] = np.diff(CELLS)
MEMORY_ROWS: Final = (300.0, 3000.0)
"""How far back the two learning bets remember, in rows."""
_PRIOR_ROWS: Final = 40.0
"""Weight of the uniform distribution in what a learning bet has learned."""
_MOST: Final = 1e200
"""Capital is cut off here. It may only lose by that, so its guarantee holds."""
_LEARNED_SHARE: Final = 0.4
"""Share of the capital on the learning bets."""


def _fixed_bets() -> Floats:
    """log densities on the cells, shape (cells, bets)."""
    middle = 2 * (CELLS[:-1] + CELLS[1:]) / 2 - 1  # the mean of 2p - 1 over the cell
    square = (CELLS[1:] ** 3 - CELLS[:-1] ** 3) * 4 / 3 - 2 * (CELLS[1:] ** 2 - CELLS[:-1] ** 2) + WIDTHS
    curve = (3 * square / WIDTHS - 1) / 2  # the mean of (3 (2p - 1)^2 - 1) / 2
    bets = [1 + tilt * middle for tilt in (0.3, -0.3, 0.8, -0.8)] + [1 + tilt * curve for tilt in (0.5, -0.5, 0.9, -0.9)]
    for share, odds in ((0.005, 4.0), (0.01, 6.0), (0.05, 3.0)):
        low = np.where(CELLS[1:] <= share + 1e-12, odds, (1 - share * odds) / (1 - share))
        bets += [low, low[::-1]]
    found: Floats = np.log(np.stack(bets, axis=1))
    return found


_LOG_BETS: Final[Floats] = _fixed_bets()
BETS: Final = _LOG_BETS.shape[1] + len(MEMORY_ROWS)
_PRIORS: Final[Floats] = np.concatenate(
    [
        np.full(_LOG_BETS.shape[1], (1 - _LEARNED_SHARE) / _LOG_BETS.shape[1]),
        np.full(len(MEMORY_ROWS), _LEARNED_SHARE / len(MEMORY_ROWS)),
    ]
)
_SHARE_SUM: Final = 2.1097428012368919
"""Sum of 1 / (k log(k)^2) over k = 2, 3, ..."""


def starting_shares(block: NDArray[np.integer]) -> Floats:
    """Share of the capital that is put in at each block, counted from 0; over all blocks they sum to 1."""
    k = block.astype(np.float64) + 2
    found: Floats = 1 / (k * np.log(k) ** 2 * _SHARE_SUM)
    return found


def cells_of(p_values: Floats) -> NDArray[np.int64]:
    """The cell of each p-value, the same shape."""
    return np.minimum(np.searchsorted(CELLS, p_values, side="right") - 1, len(WIDTHS) - 1)


@dataclass(frozen=True, slots=True)
class Capital:
    """The capital of every bet on every stream, which is the evidence. A frozen value: `after` gives the next."""

    blocks: NDArray[np.int64]
    """Blocks since the start, shape (streams,)."""
    cash: Floats
    """What was not put in yet, shape (streams,); 0 under RUN_LENGTH."""
    stakes: Floats
    """Capital of each bet, shape (streams, bets)."""
    learned: Floats
    """What the learning bets have seen: p-values by cell, those long ago weighing less; shape (streams, memories, cells)."""
    schedule: Schedule = "level"

    @classmethod
    def start(cls, streams: int, schedule: Schedule = "level") -> Self:
        """Nothing seen yet."""
        return cls(
            np.zeros(streams, dtype=np.int64),
            np.full(streams, 1.0 if schedule == "level" else 0.0),
            np.zeros((streams, BETS)),
            np.zeros((streams, len(MEMORY_ROWS), len(WIDTHS))),
            schedule,
        )

    @property
    def e_values(self) -> Floats:
        """The capital of each stream, shape (streams,): e-values under LEVEL, e-detectors under RUN_LENGTH."""
        found: Floats = self.cash + self.stakes.sum(axis=1)
        return found

    def after(self, cells: NDArray[np.integer]) -> "Capital":
        """After one block. cells: of its p-values, shape (rows, streams)."""
        rows, streams = cells.shape
        seen = np.zeros((streams, len(WIDTHS)))
        np.add.at(seen, (np.broadcast_to(np.arange(streams), cells.shape), cells), 1.0)
        densities = (self.learned + _PRIOR_ROWS * WIDTHS) / (self.learned.sum(axis=2, keepdims=True) + _PRIOR_ROWS) / WIDTHS
        gains = np.concatenate([seen @ _LOG_BETS, np.einsum("sc,smc->sm", seen, np.log(densities))], axis=1)
        put_in = starting_shares(self.blocks) if self.schedule == "level" else np.ones(streams)
        stakes = np.minimum((self.stakes + put_in[:, None] * _PRIORS) * np.exp(gains), _MOST)
        kept = np.exp(-rows / np.array(MEMORY_ROWS))[:, None]
        return Capital(
            self.blocks + 1,
            np.maximum(self.cash - put_in, 0.0) if self.schedule == "level" else self.cash,
            stakes,
            self.learned * kept + seen[:, None, :],
            self.schedule,
        )

    def restarted(self, which: NDArray[np.bool_]) -> "Capital":
        """With some streams, shape (streams,), as at the start."""
        fresh = Capital.start(len(which), self.schedule)
        return Capital(
            np.where(which, fresh.blocks, self.blocks),
            np.where(which, fresh.cash, self.cash),
            np.where(which[:, None], fresh.stakes, self.stakes),
            np.where(which[:, None, None], fresh.learned, self.learned),
            self.schedule,
        )
