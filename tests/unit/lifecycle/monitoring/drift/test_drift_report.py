"""The drift report: what is found, how often unchanged data has a finding, what is not judged, and its words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lifecycle.datasets.data import read_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.documents.document import write
from lifecycle.monitoring.drift.advice import summary
from lifecycle.monitoring.drift.drift_page import drift_page, drift_record
from lifecycle.monitoring.drift.judge import judge_drift
from lifecycle.monitoring.drift.sample import DriftSample
from lifecycle.monitoring.drift.samples import file_sample
from lifecycle.monitoring.drift.settings import DriftSettings


def sample(rng, n=1500, *, shift=0.0, score=None, attack=None, **more):
    columns = {
        "bytes": rng.lognormal(shift, 1, n), "zeros": np.where(rng.random(n) < 0.8, 0.0, rng.gamma(2, 3, n)),
        "port": rng.choice(["80", "443", "53"], n, p=[0.5, 0.3, 0.2]).astype(object), "rate": rng.random(n),
    }  # fmt: skip
    return DriftSample("rows", columns | more, score, None, attack)


def found(report):
    return {(c.kind, c.subject) for c in report.findings}


def test_a_column_that_moved_is_named_with_its_size():
    rng = np.random.default_rng(0)
    report = judge_drift(sample(rng), sample(rng, shift=1.0))
    assert ("data", "bytes") in found(report)
    assert {c.subject for c in report.findings if c.family == "column"} == {"bytes"}
    assert report.severity == "major"
    assert report.kinds == ("data",)
    assert any("see whether a source changed" in line for line in summary(report))


def test_a_change_that_is_certain_but_small_is_no_finding():
    rng = np.random.default_rng(1)
    report = judge_drift(sample(rng, 60_000), sample(rng, 60_000, shift=0.03))
    (column,) = [c for c in report.checks if c.subject == "bytes"]
    assert column.adjusted_p < 0.01
    assert column.severity == "trace"
    assert not report.findings


def test_the_kinds_of_drift_are_told_apart():
    rng = np.random.default_rng(2)
    old_score, new_score = rng.random(1500), rng.random(1500)
    old = sample(rng, score=old_score, attack=(rng.random(1500) < old_score).astype(float))
    concept = judge_drift(old, sample(rng, score=new_score, attack=(rng.random(1500) < new_score * 0.5).astype(float)))
    assert {kind for kind, _ in found(concept)} == {"concept"}
    prediction = judge_drift(old, sample(rng, score=new_score**3, attack=(rng.random(1500) < new_score**3).astype(float)))
    assert {kind for kind, _ in found(prediction)} == {"prediction"}
    assert "vedette retrain" in " ".join(summary(concept))
    assert "vedette label queue" in " ".join(summary(prediction))


def test_answers_are_compared_with_rows_that_the_model_was_not_fitted_on():
    rng = np.random.default_rng(3)
    fitted = sample(rng, score=rng.random(1500) ** 5)
    unseen = DriftSample("unseen", {}, rng.random(1000))
    current = sample(rng, score=rng.random(1500))
    assert ("prediction", "score") in found(judge_drift(fitted, current))
    assert ("prediction", "score") not in found(
        judge_drift(DriftSample("r", fitted.columns, fitted.scores, unseen=unseen), current)
    )


def test_a_segment_that_changed_is_named_and_the_others_are_not():
    rng = np.random.default_rng(4)
    site = np.repeat(["a", "b", "c"], 500).astype(object)
    old, new = sample(rng, site=site), sample(rng, site=site)
    new.columns["rate"][site == "b"] **= 4
    report = judge_drift(old, new, by="site")
    assert {c.segment for c in report.findings if c.segment} == {"site=b"}
    assert any(u.subject == "segments by nowhere" for u in judge_drift(old, new, by="nowhere").unjudged)


@pytest.mark.parametrize(("change", "subject", "says"), [
    pytest.param({"rate": np.full(1500, np.nan)}, "rate", "the window has no value", id="a column that went missing"),
    pytest.param({"more": np.ones(1500)}, "more", "only the window has this column", id="a column of one sample"),
    pytest.param({"id": np.array([f"x{i}" for i in range(1500)], dtype=object)}, "id", "only the window", id="an identifier"),
])  # fmt: skip
def test_what_cannot_be_judged_is_said(change, subject, says):
    rng = np.random.default_rng(5)
    report = judge_drift(sample(rng), sample(rng, **change))
    (why,) = [u.reason for u in report.unjudged if u.subject == subject]
    assert says in why


def test_few_rows_are_not_judged():
    rng = np.random.default_rng(6)
    report = judge_drift(sample(rng), sample(rng, 50, shift=3.0))
    assert not report.checks
    assert summary(report) == ("Nothing could be judged: see below.",)


def test_the_same_samples_and_seed_give_the_same_report():
    old, new = sample(np.random.default_rng(7)), sample(np.random.default_rng(8), shift=0.2)
    first, second = (json.dumps(drift_record(judge_drift(old, new, seed=3)), default=float) for _ in range(2))
    assert first == second


def test_the_record_is_json_and_the_page_has_the_distributions():
    rng = np.random.default_rng(9)
    constant = {"flat": np.zeros(1500)}
    report = judge_drift(sample(rng, **constant), sample(rng, shift=1.0, flat=(rng.random(1500) < 0.2).astype(float)))
    json.loads(json.dumps(drift_record(report), allow_nan=False, default=float))
    page = write(drift_page(report, "Drift of <flows>"), "html")
    assert page.count('class="chart"') >= 2
    assert "<flows>" not in page


def test_unchanged_rows_have_a_finding_in_few_reports():
    """Of 40 draws at most 5: with a rate of 5 % more happen once in 72 runs, and the draws are seeded."""
    false = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        false += bool(judge_drift(sample(rng, 600), sample(rng, 600), seed=seed).findings)
    assert false <= 5


@pytest.fixture(scope="module")
def nsl_kdd():
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if not folder:
        pytest.skip("needs real data: set VEDETTE_DATA_DIR to the folder with nsl-kdd/")
    detector = read_detector("nsl-kdd")
    read = [read_data(detector, Path(folder) / "nsl-kdd" / name) for name in ("KDDTrain+.csv.gz", "KDDTest+.csv.gz")]
    return [file_sample(data, data.frame, tuple(detector.request_fields), "rows") for data in read]


def test_nsl_kdd_test_rows_differ_from_training_rows_where_they_are_known_to(nsl_kdd):
    train, test = nsl_kdd
    some = np.sort(np.random.default_rng(0).permutation(len(train))[:20_000])
    checks = {c.subject: c for c in judge_drift(train.take(some), test).findings}
    assert {"service", "flag", "dst_host_rerror_rate"} <= checks.keys()
    assert checks["service"].effects["psi"] > 0.25
    assert checks["flag"].effects["psi"] > 0.25
    assert checks["dst_host_rerror_rate"].effects["ks"] == pytest.approx(0.23, abs=0.01)


@pytest.mark.soak
def test_random_halves_of_nsl_kdd_have_a_finding_in_at_most_one_report_of_twenty(nsl_kdd):
    train, _ = nsl_kdd
    false = []
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(len(train))
        halves = train.take(order[: len(train) // 2]), train.take(order[len(train) // 2 :])
        if judge_drift(*halves, DriftSettings(), seed=seed).findings:
            false.append(seed)
    print(f"\n{len(false)} of 200 random halves of KDDTrain+ have a finding")
    assert len(false) <= 10, false
