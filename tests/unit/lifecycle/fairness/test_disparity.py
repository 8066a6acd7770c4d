"""Disparities between segments: a planted one is found with its interval, and where there is none nothing is found."""

import numpy as np
import pytest

from lifecycle.evaluation.fairness.disparity import Disparity, FairnessReport, MinimumSizes, SegmentedRows, judge_fairness
from lifecycle.evaluation.fairness.section import COLUMNS, fairness_lines, fairness_record, fairness_words

UNITS = np.array(["finance", "it", "sales", "legal", "hr", "labs", "plant", ""], dtype=object)
SHARES = (0.05, 0.15, 0.3, 0.1, 0.1, 0.1, 0.15, 0.05)


def drawn(seed: int, *, planted: float = 1.0, rows: int = 20_000, by_entity: bool = False) -> SegmentedRows:
    """Rows of seven units, 4 % false positives; `finance`, 5 % of the rows, has `planted` times as many. 10 % attacks, 20 % missed.

    by_entity: a fifth as many entities, of which some alert much and many never, the same rates on average."""
    rng = np.random.default_rng(seed)
    count = rows // 5 if by_entity else rows
    unit = rng.choice(UNITS, count, p=SHARES)
    rate = 0.04 * np.where(unit == "finance", planted, 1.0)
    if by_entity:
        own = rng.beta(1.0, (1 - rate) / rate)
        entity = np.repeat(np.arange(count), rng.poisson(4, count) + 1)
        unit, rate = unit[entity], own[entity]
    attack = rng.random(len(unit)) < 0.1
    alert = rng.random(len(unit)) < np.where(attack, 0.8, rate)
    who = np.array([f"h{e}" for e in entity], dtype=object) if by_entity else None
    return SegmentedRows(alert, ~attack, attack, who, {"unit": unit})


def one(report: FairnessReport, name: str, rate: str) -> Disparity:
    return next(d for d in report.disparities if d.name == name and d.rate == rate)


@pytest.mark.parametrize(
    "by_entity",
    [pytest.param(False, id="independent rows"), pytest.param(True, id="rows of entities", marks=pytest.mark.heavy)],
)
def test_twice_the_false_positives_in_one_unit_of_five_percent_are_found_with_their_interval(by_entity: bool) -> None:
    report = judge_fairness(drawn(7, planted=2.0, rows=40_000 if by_entity else 20_000, by_entity=by_entity))
    found = one(report, "unit=finance", "false_positive_rate")
    assert found.is_finding
    assert found.adjusted is not None
    assert found.adjusted <= 0.05
    assert found.difference.low is not None
    assert found.difference.high is not None
    assert 0 < found.difference.low < 0.04 < found.difference.high
    assert found.ratio.low is not None
    assert 1 < found.ratio.low < 2.5
    assert {d.name for d in report.findings} == {"unit=finance"}, "the other units are told apart from it"


@pytest.mark.heavy
def test_without_a_disparity_there_is_rarely_a_finding() -> None:
    alarms = sum(bool(judge_fairness(drawn(100 + i, rows=2000)).findings) for i in range(20))
    assert alarms <= 3, "of 20, at most 5 % expected"


@pytest.mark.soak
@pytest.mark.parametrize("by_entity", [False, True], ids=["independent rows", "rows of entities"])
def test_two_hundred_draws_without_a_disparity_alarm_in_at_most_five_percent(by_entity: bool) -> None:
    alarms = sum(bool(judge_fairness(drawn(1000 + i, by_entity=by_entity), seed=i).findings) for i in range(200))
    print(f"{alarms} of 200 draws without a disparity alarm ({'entities' if by_entity else 'rows'})")
    assert alarms <= 10


@pytest.mark.soak
@pytest.mark.parametrize("by_entity", [False, True], ids=["independent rows", "rows of entities"])
def test_two_hundred_draws_with_a_planted_disparity(by_entity: bool) -> None:
    found = held = 0
    for i in range(200):
        rows_of = drawn(2000 + i, planted=2.0, rows=40_000 if by_entity else 20_000, by_entity=by_entity)
        judged = one(judge_fairness(rows_of, seed=i), "unit=finance", "false_positive_rate")
        found += judged.is_finding
        held += judged.difference.low <= 0.04 <= judged.difference.high  # type: ignore[operator]
    print(f"planted ({'entities' if by_entity else 'rows'}): {found} of 200 found, {held} intervals hold the difference")
    assert held >= 186
    assert found >= 190


def rows(alert: list[bool], segment: list[str], entity: list[str] | None = None) -> SegmentedRows:
    flags = np.array(alert)
    who = None if entity is None else np.array(entity, dtype=object)
    return SegmentedRows(flags, np.ones_like(flags), np.zeros_like(flags), who, {"unit": np.array(segment, dtype=object)})


def test_what_is_too_small_is_shown_and_judged_by_nobody() -> None:
    report = judge_fairness(rows([True] * 99 + [False] * 500, ["a"] * 99 + ["b"] * 500))
    small = one(report, "unit=a", "alert_rate")
    assert (small.segment.events, small.segment.total) == (99, 99)
    assert small.p is None
    assert not small.is_finding
    assert "99 rows, at least 100 are needed" in small.too_small
    assert "the rest: 99 rows" in one(report, "unit=b", "alert_rate").too_small


def test_a_hundred_alerts_of_one_host_are_no_disparity() -> None:
    hosts = [f"h{i}" for i in range(9) for _ in range(50)] + [f"o{i}" for i in range(100) for _ in range(5)]
    report = judge_fairness(rows([True] * 50 + [False] * 900, ["a"] * 450 + ["b"] * 500, hosts))
    assert "9 entities, at least 10 are needed" in one(report, "unit=a", "alert_rate").too_small
    enough = judge_fairness(
        rows([True] * 50 + [False] * 900, ["a"] * 450 + ["b"] * 500, hosts), sizes=MinimumSizes(rows=100, entities=5)
    )
    assert not enough.findings, "one host of nine alerts, ever"
    plain = judge_fairness(rows([True] * 50 + [False] * 900, ["a"] * 450 + ["b"] * 500))
    assert plain.findings, "taken as independent rows it would be a finding"


def test_one_noisy_host_elsewhere_makes_no_finding_of_a_busy_segment() -> None:
    """Seen on a real capture: 486 false alarms of few hosts, and a segment of busy hosts without any."""
    counts = [("a", 24, 139, 0), ("b", 300, 60, 0), ("b", 1, 3000, 480)]
    names = [f"{unit}{size}-{i}" for unit, many, size, _ in counts for i in range(many) for _ in range(size)]
    alert = [row < hit for _, many, size, hit in counts for _ in range(many) for row in range(size)]
    report = judge_fairness(rows(alert, [name[0] for name in names], names))
    judged = one(report, "unit=a", "false_positive_rate")
    assert not report.findings
    assert "the events are of 1.0 entities in effect" in judged.too_small
    few = judge_fairness(rows(alert, [name[0] for name in names], names), sizes=MinimumSizes(eventful=1))
    assert not few.findings, "nor where the bounds hold 0"


def test_the_rest_is_every_other_row_mapped_or_not() -> None:
    report = judge_fairness(rows([True] * 10 + [False] * 290, ["a"] * 100 + [""] * 200))
    assert report.unmapped == 200
    assert [d.name for d in report.disparities] == ["unit=a"] * 3
    assert (report.disparities[0].rest.events, report.disparities[0].rest.total) == (0, 200)


def test_no_attacks_no_false_negative_rate() -> None:
    missing = one(judge_fairness(rows([False] * 400, ["a"] * 200 + ["b"] * 200)), "unit=a", "false_negative_rate")
    assert missing.segment.interval.value is None
    assert missing.too_small == "0 rows, at least 20 are needed"


@pytest.mark.heavy
def test_the_same_seed_gives_the_same_report() -> None:
    assert judge_fairness(drawn(3, rows=3000, by_entity=True)) == judge_fairness(drawn(3, rows=3000, by_entity=True))


@pytest.mark.heavy
def test_the_section_says_what_was_found_and_how() -> None:
    report = judge_fairness(drawn(7, planted=2.0))
    words = fairness_words(report)
    assert words[0].startswith("unit=finance: alerts, of ")
    assert "Fisher's exact test, corrected together (holm)" in words[-1]
    assert all(len(line) == len(COLUMNS) for line in fairness_lines(report))
    assert fairness_record(report)["findings"] == [f"{d.name} {d.rate}" for d in report.findings]
    assert ["unit=finance", "false positive rate"] in [line[:2] for line in fairness_lines(report)]
    calm = judge_fairness(rows([False] * 400, ["a"] * 200 + ["b"] * 200))
    assert fairness_words(calm)[0] == "No disparity beyond chance was found."
