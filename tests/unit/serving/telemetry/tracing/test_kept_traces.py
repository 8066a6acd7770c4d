"""What is kept though the coin said no, and how much of it."""

from serving.telemetry.tracing.tail import KEEP_NONE, KeepPolicy


def test_a_reason_keeps_its_share_of_a_second_and_takes_none_of_another_s():
    tail = KeepPolicy(0.25, 2)
    assert [tail.may_keep("error", 10.0 + i / 10) for i in range(4)] == [True, True, False, False]
    assert tail.may_keep("slow", 10.9)
    assert tail.may_keep("error", 11.0), "a new second"


def test_without_a_share_nothing_is_kept():
    assert not KEEP_NONE.is_on
    assert not KEEP_NONE.may_keep("error", 0.0)
