"""Comparing two models: what differs is found, what does not stays undecided, and both have the same budget of alerts."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.evaluation.compare.budget import at_budgets
from lifecycle.evaluation.compare.compare import compare
from lifecycle.evaluation.pages.comparison_page import ComparedBundle, Comparison, comparison_page
from lifecycle.evaluation.report import drawn_curve
from lifecycle.evaluation.scored import Scored
from lifecycle.metrics.ranking import RankedRows
from tests import laws

POINT = {"siem_alerting": (0.5, 0.5)}
MINUTE_US = 60_000_000


def scored(noise, seed=0, hosts=None, n=400, data=0):
    """Scores of one model on the same made-up rows: the higher the noise, the worse."""
    truth, rng = np.random.default_rng(data), np.random.default_rng(seed)
    host = np.arange(n) % (hosts or n)
    attack = host < (hosts or n) * 0.3
    score = 1 / (1 + np.exp(-(2 * attack - 1 + truth.normal(size=n) + noise * rng.normal(size=n))))
    entity = None if hosts is None else np.array([f"h{h:03}" for h in host], dtype=object)
    at_us = None if hosts is None else np.arange(n) * MINUTE_US // hosts
    return Scored(
        score.astype(np.float32), attack, np.ones(n, dtype=bool), entity, at_us, {}, probability=score.astype(np.float64)
    )


def figures(units, where=""):
    return {f.figure: f for f in units[0].figures if f.where == where}


def test_a_better_model_is_found_and_by_which_test():
    found = figures(compare(scored(3.0, 1), scored(0.1, 2), POINT, window_s=60, draws=300))
    assert found["roc_auc"].better == "second"
    assert found["roc_auc"].test == "delong"
    assert found["brier"].better == "second", "a smaller loss is better"
    assert found["brier"].difference.value < 0
    turned = figures(compare(scored(0.1, 2), scored(3.0, 1), POINT, window_s=60, draws=300))
    assert {f.better for f in turned.values()} == {"first"}
    at = figures(compare(scored(3.0, 1), scored(0.1, 2), POINT, window_s=60, draws=300), "siem_alerting")
    assert (at["recall"].test, at["f1"].test) == ("mcnemar", "bootstrap")


def test_a_model_is_not_better_than_itself():
    one = scored(1.0)
    units = compare(one, one, POINT, window_s=60, budgets=(0.1,), draws=300)
    assert {f.better for f in units[0].figures} == {"undecided"}
    assert {f.p for f in units[0].figures} == {1.0}


def test_rows_of_few_hosts_leave_it_undecided_that_as_many_single_rows_decide():
    better = [compare(scored(3.0, 1, hosts=h), scored(0.1, 2, hosts=h), POINT, window_s=60, draws=300)[0] for h in (10, None)]
    by_host, by_row = ({f.figure: f.better for f in unit.figures if not f.where} for unit in better)
    assert by_row["average_precision"] == "second"
    assert by_host["average_precision"] == "undecided", "three attacked hosts"
    assert (better[0].is_by_entity, better[0].attacked_entities) == (True, 3)


def test_windows_of_hosts_are_compared_too():
    units = compare(scored(1.0, 1, hosts=20), scored(1.0, 2, hosts=20), POINT, window_s=60, draws=300)
    assert [(u.unit, u.benign) for u in units] == [("row", "all"), ("entity_window", "all")]
    assert units[1].rows < units[0].rows or units[1].rows == 400


def test_a_model_whose_every_score_is_nan_is_named_and_not_compared():
    one = scored(1.0, 1)
    nothing = replace(one, score=np.full(len(one.score), np.nan, np.float32))
    for which, pair in (("first", (nothing, one)), ("second", (one, nothing))):
        with pytest.raises(ValueError, match=f"every score of the {which} model is NaN"):
            compare(*pair, POINT, window_s=60, draws=20)


def test_one_entity_leaves_undefined_what_needs_two_classes_without_a_warning():
    """All its rows are one window, so that there the class of benign rows is missing."""
    alone = {"entity": np.full(400, "h", dtype=object), "at_us": np.zeros(400, np.int64)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = compare(*(replace(scored(1.0, seed), **alone) for seed in (1, 2)), POINT, window_s=60, draws=20)
    assert [(u.unit, u.rows) for u in units] == [("row", 400), ("entity_window", 1)]
    assert {f.better for u in units for f in u.figures} == {"undecided"}
    assert [f.first for f in units[1].figures if f.figure == "roc_auc"] == [None]


@pytest.mark.heavy
@laws.examples(50)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=3, max_size=30), st.floats(0.05, 1.0))
def test_recall_at_a_budget_is_its_mean_over_every_order_of_equal_scores(rows, share):
    score, attack = np.array([r[0] for r in rows], dtype=float), np.array([r[1] for r in rows])
    if not attack.any() or attack.all():
        return
    recall, precision = at_budgets(RankedRows(score, attack), np.ones((1, len(rows))), [share])[0, 0]
    rng, budget = np.random.default_rng(0), share * len(rows)
    taken = np.clip(budget - np.arange(len(rows)), 0, 1)  # the last row of a budget counts in part
    means = []
    for _ in range(2000):
        order = np.lexsort((rng.random(len(rows)), -score))
        means.append((taken * attack[order]).sum())
    assert recall == pytest.approx(np.mean(means) / attack.sum(), abs=0.08)
    assert precision == pytest.approx(recall * attack.sum() / budget)


@pytest.mark.heavy
def test_at_equal_budget_thresholds_play_no_part():
    one, other = scored(1.0, 1), scored(1.0, 2)
    strict = {"siem_alerting": (0.5, 0.99)}
    for where in ("as many as the first at siem_alerting", "10.0000 % of the rows"):
        same = [
            figures(compare(one, other, points, window_s=60, budgets=(0.1,), draws=300), where) for points in (POINT, strict)
        ]
        assert same[0]["recall"].second == same[1]["recall"].second
    assert figures(compare(one, other, strict, window_s=60, draws=300), "siem_alerting")["recall"].better == "first"


def test_other_rows_are_refused():
    with pytest.raises(ValueError, match="same rows"):
        compare(scored(1.0), scored(1.0, hosts=7), POINT, window_s=60, draws=300)


@pytest.mark.soak
def test_of_comparisons_of_equals_few_find_anything():
    """200 pairs of equally good models, by rows and by hosts: the corrected error is bounded over all figures together."""
    for hosts in (None, 40):
        wrong = 0
        for pair in range(200):
            one, other = (scored(1.0, 2 * pair + i, hosts=hosts, n=300, data=pair) for i in range(2))
            unit = compare(one, other, POINT, window_s=60, draws=400)[0]
            wrong += any(f.better != "undecided" for f in unit.figures)
        print(f"{'hosts' if hosts else 'rows'}: {wrong} of 200 comparisons of equals find a difference")
        assert wrong <= 20


def test_the_page_says_what_was_found_and_takes_what_is_not_known():
    one, other = scored(3.0, 1, hosts=50), scored(0.1, 2, hosts=50)
    bundles = [ComparedBundle("flows", v, "sha256:" + v * 64, drawn_curve(s)) for v, s in (("1", one), ("2", other))]
    units = compare(one, other, POINT, window_s=60, draws=300)
    page = comparison_page(Comparison(*bundles, "flows", "split, 400 rows", units, ("a remark",)))
    said = " ".join(page.sections[0].text)
    assert "Per row: the second is better in ROC-AUC" in said
    assert "Note: a remark" in said
    assert page.record["units"][0]["figures"][0]["better"] == "second"
    assert [s.title for s in page.sections][-1].startswith("Per entity-window: rows on which")
