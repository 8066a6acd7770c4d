"""When a load test has passed."""

import pytest

from loadtests.objectives import Objective, Totals, judge

OBJECTIVE = Objective(p99_ms=50, failure_ratio=0.01, min_requests=100)


@pytest.mark.parametrize(
    ("totals", "is_met", "said"),
    [
        pytest.param([Totals("http infer", 1000, 10, 50.0)], True, "1000 requests", id="at the limit is within it"),
        pytest.param([Totals("http infer", 1000, 11, 1.0)], False, "1.10 %; at most 1.00 %", id="too many failures"),
        pytest.param([Totals("http infer", 1000, 0, 50.1)], False, "p99 50.1 ms", id="too slow"),
        pytest.param([Totals("http infer", 99, 0, 1.0)], False, "too few", id="few requests prove nothing"),
        pytest.param([], False, "not one request", id="silence is no success"),
    ],
)
def test_judgement(totals, is_met, said):
    (finding,) = judge(OBJECTIVE, totals, ["http infer"])
    assert finding.is_met is is_met
    assert said in finding.text


def test_each_door_is_judged_by_itself():
    found = judge(
        OBJECTIVE, [Totals("http infer", 10_000, 0, 1.0), Totals("grpc infer", 100, 5, 1.0)], ["http infer", "grpc infer"]
    )
    assert [f.is_met for f in found] == [True, False]


@pytest.mark.parametrize("wrong", [(0, 0.1, 1), (1, 1.1, 1), (1, -0.1, 1), (1, 0.1, 0)])
def test_an_objective_that_could_not_be_met_or_missed_is_refused(wrong):
    with pytest.raises(ValueError, match="p99_ms"):
        Objective(*wrong)
