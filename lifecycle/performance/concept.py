"""Concept drift told apart: do labels still agree with what the scores said? Pure: arrays in, a finding out.

Inputs that move (data drift) move the scores with them, and the calibrated probabilities stay right. If the labelled rows of given scores
are attacks more or less often than they were at training, the same inputs mean something else: that is concept drift. It is judged on
labelled rows with their weights, so that labels of alerts do not count for all rows.

Sources: Gama et al. (2014), "A survey on concept drift adaptation", ACM Computing Surveys 46(4), 2.1; Cox (1958), Biometrika 45 (labels
against probabilities); the p-value is of draws of the labels by their probabilities, exact with few attacks too (Davison & Hinkley
(1997), 4.2)."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from lifecycle.arrays import Floats, Mask

Direction = Literal["more", "fewer", "elsewhere", "as_said"]
"""Attacks than the scores say: more, fewer, as many but at other scores, or as said."""
DRAWS: Final = 2000
BANDS: Final = (0.0, 0.05, 0.2, 0.5, 0.8, 1.0)
"""Edges of the bands of probability that are looked at apart."""
LEAST_ROWS: Final = 50
_NUMBERS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class ConceptBand:
    """Rows whose probability lies in [low, high). said, found: shares of attacks by scores and by labels, weighted. rows: labelled ones."""

    low: float
    high: float
    rows: int
    said: float
    found: float


@dataclass(frozen=True, slots=True)
class ConceptFinding:
    """Whether labels still agree with the scores of the model. rows: labelled ones. said, found: weighted shares of attacks by scores and
    by labels. p_value: of "labels are as the scores say", None with fewer than LEAST_ROWS rows: not known. distance: mean distance of
    both over the bands, by weight, 0 to 1: the size of the effect."""

    rows: int
    said: float
    found: float
    distance: float
    p_value: float | None
    direction: Direction
    bands: tuple[ConceptBand, ...]

    def is_drift(self, *, alpha: float = 0.05, least_distance: float = 0.02) -> bool:
        """Whether labels contradict the scores with evidence, by more than a trifle."""
        return self.p_value is not None and self.p_value <= alpha and self.distance >= least_distance

    @property
    def words(self) -> str:
        """For people."""
        if self.p_value is None:
            return f"{self.rows} labelled rows are too few to tell whether labels still agree with the scores"
        seen = (
            f"{self.found:.2%} of the rows are attacks by their labels, {self.said:.2%} by their scores (p {self.p_value:.3g})"
        )
        return seen.replace("%", " %")


def concept_finding(
    low: Floats, high: Floats, attack: Mask, weights: Floats, *, draws: int = DRAWS, seed: int = 0
) -> ConceptFinding:
    """Compare. All of shape (n,): labelled rows only. low, high: bounds of the calibrated probability; weights: how many rows each stands
    for, positive. A label within what the bounds allow is no contradiction: each row is judged by the bound that is nearer to the labels.

    The statistic is the largest of the weighted differences over all rows and over each band, each by its standard error."""
    n = len(attack)
    if not n:
        return ConceptFinding(0, 0.0, 0.0, 0.0, None, "as_said", ())
    middle = high / np.maximum(1.0 - low + high, 1e-12)  # what an answer says as probability
    band = np.clip(np.searchsorted(BANDS, middle, side="right") - 1, 0, len(BANDS) - 2)
    share = weights / weights.sum()
    groups = np.column_stack([np.ones(n), *[(band == b).astype(np.float64) for b in range(len(BANDS) - 1)]])
    kept = groups.sum(axis=0) >= min(LEAST_ROWS, n)
    groups, excess = groups[:, kept], share @ (groups[:, kept] * (attack - middle)[:, None])
    said_by = np.where(excess > 0, high[:, None], low[:, None]) * groups  # (n, g)
    observed = share @ (groups * attack[:, None])
    expected = share @ said_by
    beyond = np.where(excess > 0, np.maximum(observed - expected, 0.0), np.minimum(observed - expected, 0.0))
    spread = np.sqrt(np.maximum((share**2) @ (said_by * (groups - said_by)), (share.max() ** 2) * 0.25 / n))
    bands = tuple(
        ConceptBand(
            BANDS[b], BANDS[b + 1], int((band == b).sum()), float(share[band == b] @ middle[band == b] / share[band == b].sum()),
            float(share[band == b] @ attack[band == b] / share[band == b].sum()),
        )
        for b in range(len(BANDS) - 1)
        if (band == b).any()
    )  # fmt: skip
    distance = sum(
        float(share[band == b].sum()) * abs(one.found - one.said) for b, one in zip(np.unique(band), bands, strict=True)
    )
    p_value = None if n < LEAST_ROWS else _p_value(share, groups, said_by, np.abs(beyond) / spread, spread, draws, seed)
    whole = float(beyond[0] / spread[0])
    direction: Direction = "as_said" if not beyond.any() else "more" if whole > 1 else "fewer" if whole < -1 else "elsewhere"
    return ConceptFinding(n, float(share @ middle), float(observed[0]), distance, p_value, direction, bands)


def _p_value(share: Floats, groups: Floats, said_by: Floats, seen: Floats, spread: Floats, draws: int, seed: int) -> float:
    """Share of draws of the labels, by what was said, with a statistic as large; one counts for what was seen."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS_AT_ONCE // len(share))
    as_large, expected = 1, share @ said_by
    for first in range(0, draws, at_once):
        uniform = rng.random((min(at_once, draws - first), len(share)))
        statistics = [
            np.abs((uniform < said_by[:, g]) @ (share * groups[:, g]) - expected[g]) / spread[g] for g in range(groups.shape[1])
        ]
        as_large += int((np.max(statistics, axis=0) >= seen.max() - 1e-12).sum())
    return as_large / (draws + 1)
