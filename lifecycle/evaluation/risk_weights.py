"""Weights of a risk's parts from labelled entities: logistic regression with weights that are not negative. Pure.

The form is that of serving.risk.rules_of_risk: logit(risk) = logit(prior) + sum of weight * (logit(p) - logit(base_rate)). A kind without a
signal adds nothing. How good the risks are is measured on entities that were left out. Source: Platt (1999) for the logistic form; a weight
below 1 is the usual correction of naive Bayes for parts that depend on each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lifecycle.arrays import Floats
from lifecycle.errors import DataError
from lifecycle.metrics.calibration import brier, expected_calibration_error, log_loss
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import KINDS, Kind

FOLDS: Final = 5
FEWEST: Final = 10
"""Harmful entities, and others, without which weights mean nothing."""
RIDGE: Final = 1.0
"""Strength of the pull of each weight toward what the rules say before: worth this many labelled entities."""
_SMALLEST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class LabelledEntities:
    """Entities that were judged. probability: by kind, shape (n,), NaN where there was no signal. harmful: bool (n,)."""

    probability: Mapping[Kind, Floats]
    harmful: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RiskFigures:
    """Figures of risks on entities that were left out. brier, log_loss: lower is better. ece: expected calibration error."""

    name: str
    brier: float
    log_loss: float
    ece: float


@dataclass(frozen=True, slots=True)
class RiskFit:
    """The rules with fitted weights and prior, and figures: fitted, the rules before, each kind alone (recalibrated likewise)."""

    rules: RiskRules
    figures: tuple[RiskFigures, ...]


def fit_weights(data: LabelledEntities, rules: RiskRules, seed: int = 1) -> RiskFit:
    """Fit prior and weights. seed: of the folds. Raises DataError for fewer than FEWEST harmful entities or others, or no signal."""
    harmful = data.harmful.astype(np.float64)
    count = int(harmful.sum())
    if min(count, len(harmful) - count) < FEWEST:
        raise DataError(
            f"{count} of {len(harmful)} entities are harmful; at least {FEWEST} of each sort are needed to weigh kinds of signals"
        )
    kinds = tuple(kind for kind in KINDS if kind in data.probability and bool(np.isfinite(data.probability[kind]).any()))
    if not kinds:
        raise DataError(f"no entity has a signal; expected a column for some of {', '.join(KINDS)}")
    evidence = np.stack([_evidence(data.probability[kind], rules.of(kind).base_rate) for kind in kinds], axis=1)
    before = np.array([rules.of(kind).weight for kind in kinds])
    prior, weights = _fit(evidence, harmful, before)
    fold = np.random.default_rng(seed).permutation(len(harmful)) % FOLDS
    figures = [
        _figures("fitted", _left_out(evidence, harmful, before, fold), harmful),
        _figures("as before", _sigmoid(_logit(rules.prior) + evidence @ before), harmful),
        *(
            _figures(f"{kind} alone", _left_out(evidence[:, at : at + 1], harmful, before[at : at + 1], fold), harmful)
            for at, kind in enumerate(kinds)
        ),
    ]
    return RiskFit(_with_weights(rules, kinds, prior, weights, figures, len(harmful), count), tuple(figures))


def _evidence(probability: Floats, base_rate: float) -> Floats:
    """Log-odds above the base rate's; 0 where there is no signal."""
    bounded = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    return np.where(np.isfinite(probability), np.log(bounded / (1 - bounded)) - _logit(base_rate), 0.0)


def _fit(evidence: Floats, harmful: Floats, before: Floats) -> tuple[float, Floats]:
    """Intercept (log-odds of the prior) and weights that maximise the likelihood, with a ridge toward `before`."""

    def loss(parameters: Floats) -> tuple[float, Floats]:
        total = parameters[0] + evidence @ parameters[1:]
        missed = _sigmoid(total) - harmful
        pull = parameters[1:] - before
        value = float(np.logaddexp(0.0, total).sum() - harmful @ total + RIDGE * (pull @ pull) / 2)
        return value, np.concatenate([[missed.sum()], evidence.T @ missed + RIDGE * pull])

    share = float(harmful.mean())
    start = np.concatenate([[_logit(share)], before])
    bounds = [(-13.0, 13.0), *([(0.0, 10.0)] * len(before))]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    return float(found.x[0]), np.asarray(found.x[1:], dtype=np.float64)


def _left_out(evidence: Floats, harmful: Floats, before: Floats, fold: NDArray[np.int64]) -> Floats:
    """The risk of each entity by weights that were fitted without its fold."""
    risks = np.empty(len(harmful))
    for number in range(FOLDS):
        held = fold == number
        prior, weights = _fit(evidence[~held], harmful[~held], before)
        risks[held] = _sigmoid(prior + evidence[held] @ weights)
    return risks


def _figures(name: str, risk: Floats, harmful: Floats) -> RiskFigures:
    attack = harmful > 0
    return RiskFigures(name, brier(risk, attack), log_loss(risk, attack), expected_calibration_error(risk, attack))


def _with_weights(
    rules: RiskRules,
    kinds: Sequence[Kind],
    prior: float,
    weights: Floats,
    figures: Sequence[RiskFigures],
    entities: int,
    harmful: int,
) -> RiskRules:
    fitted: dict[str, Any] = {
        "entities": entities,
        "harmful": harmful,
        "brier": round(figures[0].brier, 6),
        "log_loss": round(figures[0].log_loss, 6),
        "expected_calibration_error": round(figures[0].ece, 6),
    }
    changed = {
        kind: rules.of(kind).model_copy(update={"weight": round(float(weight), 4)})
        for kind, weight in zip(kinds, weights, strict=True)
    }
    return rules.model_copy(
        update={
            "version": rules.version + 1,
            "prior": round(float(_sigmoid(np.float64(prior))), 8),
            "kinds": {**rules.kinds, **changed},
            "fitted": fitted,
        }
    )


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def _sigmoid(x: Any) -> Any:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))
