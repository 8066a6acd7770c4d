"""Weights of a risk's parts: they are found again from data that was made with them, and figures come from entities that were left out."""

import numpy as np
import pytest

from lifecycle.errors import DataError
from lifecycle.evaluation.risk_weights import LabelledEntities, fit_weights
from serving.risk.rules_of_risk import KindRules, RiskRules

RULES = RiskRules(kinds={kind: KindRules(base_rate=0.05) for kind in ("realtime", "batch", "rules")})


def made(n=6000, weights=(1.0, 0.5), prior=0.05, seed=3, copied=False):
    """Entities whose harm follows the form with these weights. copied: the batch says what the realtime model says."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 2, (n, 2))
    if copied:
        evidence[:, 1] = evidence[:, 0]
    total = np.log(prior / (1 - prior)) + evidence @ np.array(weights)
    harmful = rng.random(n) < 1 / (1 + np.exp(-total))
    base = np.log(0.05 / 0.95)
    probability = 1 / (1 + np.exp(-(evidence + base)))
    return LabelledEntities({"realtime": probability[:, 0], "batch": probability[:, 1]}, harmful)


def figures(fit):
    return {one.name: one for one in fit.figures}


def test_the_weights_that_made_the_data_are_found():
    rules = fit_weights(made(), RULES).rules
    assert rules.of("realtime").weight == pytest.approx(1.0, abs=0.1)
    assert rules.of("batch").weight == pytest.approx(0.5, abs=0.1)
    assert rules.prior == pytest.approx(0.05, abs=0.01)
    assert rules.version == RULES.version + 1


def test_both_together_are_better_than_each_alone_and_calibrated():
    found = figures(fit_weights(made(), RULES))
    assert found["fitted"].log_loss < min(found["realtime alone"].log_loss, found["batch alone"].log_loss)
    assert found["fitted"].ece < 0.02


def test_what_says_the_same_twice_is_not_counted_twice():
    rules = fit_weights(made(weights=(1.0, 0.0), copied=True), RULES).rules
    assert rules.of("realtime").weight + rules.of("batch").weight == pytest.approx(1.0, abs=0.1)


@pytest.mark.heavy
def test_a_kind_that_says_nothing_gets_little_weight_and_none_gets_a_negative_one():
    rng = np.random.default_rng(5)
    data = made()
    contrary = LabelledEntities(
        {**data.probability, "rules": np.where(data.harmful, 0.001, rng.random(len(data.harmful)))}, data.harmful
    )
    assert fit_weights(contrary, RULES).rules.of("rules").weight == 0.0


def test_an_entity_without_a_signal_gets_the_priors_part():
    data = made()
    some = data.probability["batch"].copy()
    some[::2] = np.nan
    rules = fit_weights(LabelledEntities({"realtime": data.probability["realtime"], "batch": some}, data.harmful), RULES).rules
    assert rules.of("realtime").weight == pytest.approx(1.0, abs=0.15)


def test_kinds_that_nobody_labelled_keep_their_rules():
    assert fit_weights(made(), RULES).rules.of("analyst") == RULES.of("analyst")


@pytest.mark.heavy
def test_the_same_data_give_the_same_rules():
    assert fit_weights(made(), RULES).rules == fit_weights(made(), RULES).rules


@pytest.mark.parametrize(
    ("harmful", "probability", "words"),
    [
        pytest.param(
            [True] * 9 + [False] * 50, {"realtime": [0.5] * 59}, "9 of 59 entities are harmful", id="too few harmful entities"
        ),
        pytest.param([True] * 50 + [False] * 9, {"realtime": [0.5] * 59}, "at least 10 of each", id="too few others"),
        pytest.param([True] * 50 + [False] * 50, {"realtime": [np.nan] * 100}, "no entity has a signal", id="no signals"),
        pytest.param([True] * 50 + [False] * 50, {}, "no entity has a signal", id="no kinds"),
    ],
)
def test_what_cannot_be_weighed_is_refused(harmful, probability, words):
    data = LabelledEntities({kind: np.array(p) for kind, p in probability.items()}, np.array(harmful))
    with pytest.raises(DataError, match=words):
        fit_weights(data, RULES)
