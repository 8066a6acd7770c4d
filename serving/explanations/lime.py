"""LIME: a weighted linear model of the score around one row. Rough, cheap with very many columns, and it says how well it fits.

Source: Ribeiro, Singh & Guestrin (2016), "Why should I trust you?", KDD, section 3.4: columns on or off, an exponential kernel of the
distance, ridge regression. Off means here: the value of a background row. The fidelity is the weighted R² on perturbed rows left out
of the fit."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.explanations.sampling import Game, ReadSeconds
from serving.explanations.trees.tree_ensemble import Floats

MOST_ROWS: Final = 4096
_LEAST_ROWS: Final = 64
_KERNEL_WIDTH: Final = 0.75
_RIDGE: Final = 0.01
"""Keeps the fit solvable where there are more columns than rows; more would shrink the values."""


@dataclass(frozen=True, slots=True)
class LocalLine:
    """score ~ base + sum of values of the columns that are the row's. error: how far that is off at the row itself."""

    values: Floats
    base: float
    error: float
    fidelity: float


def lime(game: Game, rng: np.random.Generator, *, until_s: float, clock: ReadSeconds) -> LocalLine:
    """Perturbed rows until the time is up, at least 64 and at most MOST_ROWS."""
    columns = len(game.columns.names)
    wanted = int(np.clip(8 * columns, 512, MOST_ROWS))
    known, scores = np.empty((0, columns), dtype=bool), np.empty(0)
    while len(scores) < wanted and (len(scores) < _LEAST_ROWS or clock() < until_s):
        more = rng.random((min(game.run_rows, 256), columns)) < rng.random((min(game.run_rows, 256), 1))
        scores = np.concatenate([scores, game.value(more, rng.integers(0, len(game.base_scores), len(more)))])
        known = np.concatenate([known, more])
    weights = np.exp(-(~known).sum(axis=1) / (_KERNEL_WIDTH**2 * max(columns, 1)))
    held = np.arange(len(scores)) % 4 == 0
    tried = _fit(known[~held], scores[~held], weights[~held], game.score)
    fidelity = _r_squared(scores[held], _line(tried, known[held]), weights[held])
    line = _fit(known, scores, weights, game.score)
    return LocalLine(line[1:], float(line[0]), abs(game.score - float(line.sum())), fidelity)


def _fit(known: Floats, scores: Floats, weights: Floats, at_row: float) -> Floats:
    """Intercept and slopes, shape (1 + columns,), by ridge regression.

    By the normal equations: the ridge keeps them solvable, and their size is that of the columns, not of the rows."""
    design = np.concatenate([np.ones((len(known) + 1, 1)), np.concatenate([known, np.ones((1, known.shape[1]))])], axis=1)
    weighted = (design * np.append(weights, 1.0)[:, None]).T
    ridge = _RIDGE * np.eye(design.shape[1])
    ridge[0, 0] = 0.0
    return np.asarray(np.linalg.solve(weighted @ design + ridge, weighted @ np.append(scores, at_row)))


def _line(line: Floats, known: Floats) -> Floats:
    return np.asarray(line[0] + known @ line[1:])


def _r_squared(scores: Floats, predicted: Floats, weights: Floats) -> float:
    """At most 1; 1 too where there is nothing to explain and nothing is wrong."""
    spread = float((weights * (scores - np.average(scores, weights=weights)) ** 2).sum())
    wrong = float((weights * (scores - predicted) ** 2).sum())
    return 1.0 - wrong / spread if spread > 1e-24 else float(wrong <= 1e-24)
