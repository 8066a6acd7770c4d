"""The bound of a triage: the highest one that loses no more attacks than allowed, with the confidence that is asked for. Pure.

The bound is an order statistic of the attacks' scores, so its guarantee is exact whatever the scores are, and needs no correction for
having looked at many bounds: the k-th smallest of n scores has more than the share p of all attacks below it only if fewer than k of the n
are among the p lowest, which has the probability bdtr(k - 1, n, p). Source: Wilks (1941), Ann. Math. Stat. 12(1), tolerance limits.

With folds the scores are those of the folds' models, and the model that is served is another one: then the bound is an estimate."""

from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv  # scipy.stats takes a second to import

from lifecycle.arrays import Mask
from lifecycle.errors import DetectorError


@dataclass(frozen=True, slots=True)
class ChosenBound:
    """bound: rows with a score under it are ended. ended: share of the benign rows. lost: of `attacks` attacks. upper: bound of the share
    of attacks that are lost."""

    bound: float
    ended: float
    attacks: int
    lost: int
    upper: float


def choose_bound(scores: NDArray[np.float32], attack: Mask, lost_attacks: float, confidence: float) -> ChosenBound:
    """The bound for a cheap model. scores: of rows that it was not trained on, shape (n,); attack: which are attacks.

    Raises DetectorError if there are too few attacks for any bound."""
    of_attacks = np.sort(scores[attack])
    allowed = most_lost(len(of_attacks), lost_attacks, confidence)
    if allowed is None:
        needed = ceil(log(1 - confidence) / log1p(-lost_attacks))
        raise DetectorError(
            f"triage: {len(of_attacks):,} attacks that the model was not trained on cannot show that at most {lost_attacks:.3%} are lost "
            f"with a confidence of {confidence:.0%}; {needed:,} or more can. Give more rows, allow more `lost_attacks`, or leave "
            "`triage` out"
        )
    bound = of_attacks[allowed]
    lost = int((of_attacks < bound).sum())
    benign = scores[~attack]
    ended = float((benign < bound).mean()) if len(benign) else 0.0
    return ChosenBound(float(bound), ended, len(of_attacks), lost, upper_share(lost, len(of_attacks), confidence))


def most_lost(attacks: int, share: float, confidence: float) -> int | None:
    """Most attacks of a sample that may be lost if at most this share of all is, with this confidence; None: not even none."""
    below = bdtr(np.arange(attacks), attacks, share) if attacks else np.zeros(0)
    found = np.flatnonzero(below <= 1 - confidence)
    return int(found[-1]) if len(found) else None


def upper_share(lost: int, attacks: int, confidence: float) -> float:
    """One-sided Clopper-Pearson bound of the share that is lost. Source: Clopper & Pearson (1934), Biometrika 26(4)."""
    return 1.0 if lost >= attacks else float(betaincinv(lost + 1, attacks - lost, confidence))
