"""Shapley values of any model, from runs of it: all coalitions of few columns, random orders of many.

A column that is left out takes the value of a row of the background (the interventional value function). With few columns every
coalition is run on every background row: the solution of KernelSHAP's regression without its sampling, exact for that background. With
many, columns are revealed in random orders and in their reverse, on one background row each. Both stop when the time is up and say how
far the values can be off: the largest standard error.

Sources: Štrumbelj & Kononenko (2014), "Explaining prediction models and individual predictions with feature contributions", Knowledge and
Information Systems 41; Lundberg & Lee (2017), "A unified approach to interpreting model predictions", NIPS; Mitchell et al. (2022),
"Sampling permutations for Shapley value estimation", JMLR 23 (antithetic orders)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.columns import InputColumns, Tensors
from serving.explanations.trees.tree_ensemble import Floats, Indices

MOST_ENUMERATED: Final = 10
"""Most columns of which all coalitions are run."""
PRECISION: Final = 0.02
"""Sampling ends early at a standard error of this share of the largest value."""
_LEAST_PAIRS: Final = 8
_MOST_PAIRS: Final = 4096
_RUN_NUMBERS: Final = 1 << 18
LEAST_RUN_ROWS: Final = 16
MOST_RUN_ROWS: Final = 4096
ReadSeconds = Callable[[], float]
"""Seconds, never going back."""


@dataclass(frozen=True, slots=True)
class Game:
    """The model as a game of one row's columns.

    row: tensors of one row; others: the background; base_scores: the model's scores of the background, shape (rows,). most_rows: that
    one run of the model may have, so that the clock is looked at often enough; memory bounds it as well."""

    columns: InputColumns
    row: Tensors
    score: float
    others: Tensors
    base_scores: Floats
    run: Callable[[Tensors, int], Floats]
    most_rows: int = MOST_RUN_ROWS

    @property
    def run_rows(self) -> int:
        """How many rows go into one run."""
        return int(np.clip(_RUN_NUMBERS // max(len(self.columns.names), 1), min(64, self.most_rows), self.most_rows))

    def value(self, known: NDArray[np.bool_], which: Indices) -> Floats:
        """Scores with only some columns known. known: shape (n, columns); which: background row of each, (n,). Gives (n,)."""
        found = [
            self.run(self.columns.mixed(self.row, self.others, known[part], which[part]), len(which[part]))
            for part in (slice(at, at + self.run_rows) for at in range(0, len(which), self.run_rows))
        ]
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class Estimate:
    """values: shape (columns,); they sum to score - base. error: largest standard error, 0.0 if exact. runs: rows given to the model."""

    values: Floats
    base: float
    error: float
    is_exact: bool
    runs: int


def kernel_shap(game: Game, rng: np.random.Generator, *, until_s: float, clock: ReadSeconds) -> Estimate:
    """All coalitions, on background rows in random order until the time is up; at least on two. At most MOST_ENUMERATED columns."""
    columns = len(game.columns.names)
    known = (np.arange(1 << columns)[:, None] >> np.arange(columns)) & 1 == 1
    order = rng.permutation(len(game.base_scores))
    step = max(game.run_rows >> columns, 1)
    found: list[Floats] = []
    done = 0
    while done < len(order) and (done < 2 or clock() < until_s):
        rows = order[done : done + step]
        scores = game.value(np.tile(known, (len(rows), 1)), np.repeat(rows, len(known))).reshape(len(rows), -1)
        found.append(_shapley(scores, known))
        done += len(rows)
    return _estimate(game, np.concatenate(found), runs=done << columns, whole=len(order))


def permutation_shap(game: Game, rng: np.random.Generator, *, until_s: float, clock: ReadSeconds) -> Estimate:
    """Columns revealed in random orders and their reverse, until the time is up or the error is small; at least twice."""
    columns, size = len(game.columns.names), len(game.base_scores)
    step = max(game.run_rows // max(2 * columns - 2, 1), 1)
    turn = rng.permutation(size)
    found: list[Floats] = []
    done = 0
    while done < _MOST_PAIRS and (done < 2 or clock() < until_s):
        pairs = max(step, 2)
        which = turn[np.arange(done, done + pairs) % size]
        found.append(_pairs(game, np.argsort(rng.random((pairs, columns)), axis=1), which))
        done += pairs
        if done >= _LEAST_PAIRS and _is_precise(np.concatenate(found)):
            break
    return _estimate(game, np.concatenate(found), runs=done * 2 * max(columns - 1, 0), whole=None)


def _pairs(game: Game, orders: Indices, which: Indices) -> Floats:
    """Values by one order and its reverse each. orders: shape (pairs, columns); which: background rows. Gives (pairs, columns)."""
    pairs, columns = orders.shape
    both = np.concatenate([orders, orders[:, ::-1]])
    rank = np.argsort(both, axis=1)
    known = rank[:, None, :] < np.arange(1, columns)[None, :, None]
    inner = game.value(known.reshape(-1, columns), np.repeat(np.tile(which, 2), columns - 1)) if columns > 1 else np.empty(0)
    ends = np.tile(game.base_scores[which], 2)[:, None], np.full((2 * pairs, 1), game.score)
    steps = np.diff(np.concatenate([ends[0], inner.reshape(2 * pairs, columns - 1), ends[1]], axis=1), axis=1)
    values = np.take_along_axis(steps, rank, axis=1)
    return np.asarray((values[:pairs] + values[pairs:]) / 2)


def _shapley(scores: Floats, known: NDArray[np.bool_]) -> Floats:
    """From the scores of all coalitions, shape (rows, 2 ** columns), to values, shape (rows, columns)."""
    columns = known.shape[1]
    sizes = known.sum(axis=1)
    weights = np.array([1.0 / (columns * comb(columns - 1, s)) if s < columns else 0.0 for s in range(columns + 1)])
    values = np.empty((len(scores), columns))
    for column in range(columns):
        without = np.flatnonzero(~known[:, column])
        values[:, column] = (scores[:, without | 1 << column] - scores[:, without]) @ weights[sizes[without]]
    return values


def _errors(samples: Floats) -> Floats:
    return np.asarray(samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


def _is_precise(samples: Floats) -> bool:
    return bool(_errors(samples).max(initial=0.0) <= PRECISION * np.abs(samples.mean(axis=0)).max(initial=0.0))


def _estimate(game: Game, samples: Floats, *, runs: int, whole: int | None) -> Estimate:
    """The mean of samples (n, columns). whole: how many there are at all; all of them are exact.

    The values must sum to score - base. What is missing goes to the columns by the squares of their errors: the least change in terms
    of these, and none where nothing is uncertain."""
    base, values = float(game.base_scores.mean()), samples.mean(axis=0)
    missing = game.score - base - values.sum()
    if whole is not None and len(samples) == whole:
        return Estimate(values, base, 0.0, True, runs)
    errors = _errors(samples)
    if whole is not None:
        errors = errors * np.sqrt(1 - len(samples) / whole)
    total = float((errors**2).sum())
    values = values + (missing * errors**2 / total if total > 0 else missing / max(len(values), 1))
    return Estimate(values, base, float(errors.max(initial=0.0)), False, runs)
