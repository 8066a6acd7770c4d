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

pytestmark = pytest.mark.heavy


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
    pytest.param({"more": np.ones(1500)}, "more", "only the window has this column", id="a column of one sample"),
    pytest.param({"id": np.array([f"x{i}" for i in range(1500)], dtype=object)}, "id", "only the window", id="an identifier"),
])  # fmt: skip
def test_what_cannot_be_judged_is_said(change, subject, says):
    rng = np.random.default_rng(5)
    report = judge_drift(sample(rng), sample(rng, **change))
    (why,) = [u.reason for u in report.unjudged if u.subject == subject]
    assert says in why


@pytest.mark.parametrize(("lost", "column"), [
    pytest.param(1500, "rate", id="a source of numbers that stopped"),
    pytest.param(1400, "rate", id="one that left too few values to compare"),
    pytest.param(1500, "port", id="a source of text that stopped"),
])  # fmt: skip
def test_a_column_that_lost_its_values_is_a_major_finding(lost, column):
    rng = np.random.default_rng(5)
    old, new = sample(rng), sample(rng)
    new.columns[column][:lost] = None if column == "port" else np.nan
    (check,) = [c for c in judge_drift(old, new).findings if c.subject == column]
    assert (check.severity, check.decided_by) == ("major", "missing")
    withheld = DriftSample("rows", new.columns, withheld=frozenset([column]))
    assert lost < 1500 or not judge_drift(old, withheld).findings, "the log holds it redacted"


def test_a_rare_value_that_a_constant_reference_lacks_is_as_large_as_its_share():
    rng = np.random.default_rng(11)
    flag = np.zeros(20_000)
    flag[:140] = 1.0
    (check,) = [
        c for c in judge_drift(sample(rng, flag=np.zeros(1500)), sample(rng, 20_000, flag=flag)).checks if c.subject == "flag"
    ]
    assert check.adjusted_p < 0.05
    assert check.severity == "minor"
    assert check.details == ("0 in 100.0% of the rows, now in 99.3%",)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extreme", [
    pytest.param(lambda rng, n: rng.standard_normal(n) * 1e308, id="numbers whose squares overflow"),
    pytest.param(lambda rng, n: rng.standard_normal(n) * 5e-321, id="denormal numbers"),
    pytest.param(lambda rng, n: np.where(rng.random(n) < 0.5, np.inf, -np.inf), id="infinities alone"),
])  # fmt: skip
def test_extreme_numbers_are_judged_without_a_warning_and_the_record_is_json(extreme):
    rng = np.random.default_rng(12)
    with np.errstate(over="ignore"):
        old, new = sample(rng, far=extreme(rng, 1500)), sample(rng, far=extreme(rng, 1500))
    for report in (judge_drift(old, new), judge_drift(sample(rng, far=rng.random(1500)), new)):
        json.dumps(drift_record(report), allow_nan=False)
        assert all(not np.isnan(size) for check in report.checks for size in check.effects.values())
    assert "far" in {c.subject for c in report.findings}


def test_a_code_that_comes_as_a_number_is_the_text_that_training_had():
    rng = np.random.default_rng(13)
    codes = rng.choice([1_234_567, 1_234_568, 64_512], 1500)
    old, new = sample(rng, asn=codes.astype(str).astype(object)), sample(rng, asn=codes.astype(np.float64))
    assert "asn" not in {c.subject for c in judge_drift(old, new).findings}


def test_that_answers_have_not_changed_is_said_only_where_they_were_compared():
    rng = np.random.default_rng(14)
    assert "was not judged" in " ".join(summary(judge_drift(sample(rng), sample(rng, shift=1.0))))
    scored = [sample(rng, score=rng.random(1500), shift=shift) for shift in (0.0, 1.0)]
    assert "the answers have not changed" in " ".join(summary(judge_drift(*scored)))


def test_segments_beyond_the_largest_are_named_as_left_out():
    rng = np.random.default_rng(15)
    site = np.array([f"s{i % 15}" for i in range(1500)], dtype=object)
    report = judge_drift(sample(rng, site=site), sample(rng, site=site), by="site")
    assert any("3 smaller ones" in u.reason for u in report.unjudged)


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
