"""What is kept though the coin said no, and how much of it."""

import pytest

from serving.telemetry.tracing.tail import KEEP_NONE, KeepPolicy


@pytest.mark.parametrize(
    ("latency_s", "is_degraded", "reason"),
    [
        pytest.param(0.1, False, None, id="quick and good is worth nothing"),
        pytest.param(0.25, False, None, id="the bound itself is not slow"),
        pytest.param(0.2501, False, "slow", id="slow"),
        pytest.param(0.1, True, "degraded", id="degraded"),
        pytest.param(9.0, True, "degraded", id="both: why it is degraded explains more"),
    ],
)
def test_an_answered_request_is_worth_a_trace_if(latency_s, is_degraded, reason):
    assert KeepPolicy(0.25, 5).reason(latency_s, is_degraded=is_degraded) == reason


def test_a_reason_keeps_its_share_of_a_second_and_takes_none_of_another_s():
    tail = KeepPolicy(0.25, 2)
    assert [tail.may_keep("error", 10.0 + i / 10) for i in range(4)] == [True, True, False, False]
    assert tail.may_keep("slow", 10.9)
    assert tail.may_keep("error", 11.0), "a new second"


def test_without_a_share_nothing_is_kept():
    assert not KEEP_NONE.is_on
    assert not KEEP_NONE.may_keep("error", 0.0)
