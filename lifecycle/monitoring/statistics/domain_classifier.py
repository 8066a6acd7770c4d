"""Whether a model can tell the two samples apart: the multivariate check. The AUC is the effect, 0.5 means that it cannot."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lifecycle.no_scikit_learn import no_scikit_learn

TREES: Final = 20
LEAVES: Final = 15


@dataclass(frozen=True, slots=True)
class DomainAuc:
    """auc: mean over the two halves. p: of "it cannot tell them apart", one-sided. importance: by column, its share of the gain, (d,)."""

    auc: float
    p: float
    importance: NDArray[np.float64]


def domain_auc(reference: NDArray[Any], current: NDArray[Any], rng: np.random.Generator) -> DomainAuc:
    """reference, current: (n, d) and (m, d); NaN is missing. Rows are cut into two halves; each is scored by a model fitted on the other.

    Given the model of the other half, the labels of a half are exchangeable if nothing has changed, so its AUC is a Mann-Whitney statistic
    with its known law; the smaller p of the two counts twice. Source: Lopez-Paz & Oquab (2017), ICLR; Mann & Whitney (1947)."""
    rows = np.concatenate([reference, current])
    label = np.repeat([0, 1], [len(reference), len(current)])
    half = np.empty(len(rows), dtype=bool)
    for which in (0, 1):
        places = rng.permutation(np.flatnonzero(label == which))
        half[places[: len(places) // 2]], half[places[len(places) // 2 :]] = False, True
    seed = int(rng.integers(2**31))
    aucs, ps, gain = [], [], np.zeros(rows.shape[1])
    for side in (False, True):
        scores, importance = _fitted(rows[half != side], label[half != side], rows[half == side], seed)
        auc, p = rank_auc(scores, label[half == side] == 1)
        aucs.append(auc)
        ps.append(p)
        gain += importance
    return DomainAuc(float(np.mean(aucs)), min(1.0, 2 * min(ps)), gain / max(float(gain.sum()), 1e-12))


def rank_auc(scores: NDArray[Any], is_current: NDArray[np.bool_]) -> tuple[float, float]:
    """AUC with ties counted half, and its one-sided normal p with the variance corrected for ties. scores, is_current: (n,)."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    m = int(is_current.sum())
    n, total = len(scores) - m, len(scores)
    auc = (float(ranks[is_current].sum()) - m * (m + 1) / 2) / (n * m)
    ties = float(np.sum(counts.astype(np.float64) ** 3 - counts)) / (total * (total - 1))
    variance = (total + 1 - ties) / (12 * n * m)
    return auc, float(special.ndtr((0.5 - auc) / np.sqrt(variance))) if variance > 0 else 1.0


def _fitted(
    rows: NDArray[Any], label: NDArray[Any], others: NDArray[Any], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of other rows by trees fitted on these, and the gain of each column."""
    with no_scikit_learn():
        import lightgbm

    parameters = {
        "objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.15, "min_data_in_leaf": 20, "max_bin": 63, "verbosity": -1,
        "num_threads": 1, "seed": seed, "deterministic": True, "force_row_wise": True,
    }  # fmt: skip
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, label, params=parameters), num_boost_round=TREES)
    scores = np.asarray(booster.predict(others, raw_score=True, num_threads=1), dtype=np.float64)
    return scores, np.asarray(booster.feature_importance("gain"), dtype=np.float64)
