"""Alarms are handed on in order, each at least once, and known by their id if twice."""

import pytest

from lifecycle.monitoring.alarm import Alarm, AlarmLog
from lifecycle.monitoring.watch.delivery import MOST_AT_ONCE, AlarmDelivery, DeliveryFailed


def alarm(name):
    return Alarm(
        alarm_id=name, model="flows", revision="r", kind="data_drift", subject=name, severity="minor", statistic="e-process",
        value=2.0, threshold=1.0, began_us=1, time_us=2, words="", advice="",
    )  # fmt: skip


class Receiver:
    """Takes alarms unless it is away."""

    def __init__(self):
        self.taken, self.is_away = [], False

    def __call__(self, given):
        if self.is_away:
            raise DeliveryFailed("HTTP 503")
        self.taken.append(given.alarm_id)


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def log(tmp_path):
    return AlarmLog(tmp_path)


def delivery(tmp_path, log, receiver):
    return AlarmDelivery(log, tmp_path, "webhook", receiver)


def test_each_alarm_is_handed_on_once_over_processes(tmp_path, log, receiver):
    for name in "abc":
        log.add(alarm(name))
        delivery(tmp_path, log, receiver).deliver(0.0)
    assert receiver.taken == ["a", "b", "c"]


def test_nothing_is_lost_while_the_receiver_is_away_and_attempts_become_rarer(tmp_path, log, receiver):
    one = delivery(tmp_path, log, receiver)
    log.add(alarm("a"))
    log.add(alarm("b"))
    receiver.is_away = True
    attempts = 0
    for second in range(1000):
        try:
            one.deliver(float(second))
        except DeliveryFailed:
            attempts += 1
    assert attempts == 11  # after 1, 2, 4, ... 256 seconds, then every 300
    assert one.waiting == 2
    receiver.is_away = False
    one.deliver(2000.0)
    assert (receiver.taken, one.waiting) == (["a", "b"], 0)


def test_a_slow_receiver_gets_some_at_a_time(tmp_path, log, receiver):
    one = delivery(tmp_path, log, receiver)
    for n in range(MOST_AT_ONCE + 3):
        log.add(alarm(f"a{n}"))
    one.deliver(0.0)
    assert (len(receiver.taken), one.waiting) == (MOST_AT_ONCE, 3)
    one.deliver(0.0)
    one.deliver(0.0)
    assert receiver.taken == [f"a{n}" for n in range(MOST_AT_ONCE + 3)]


def test_a_crash_after_the_receiver_took_it_hands_it_over_again_with_its_id(tmp_path, log, receiver):
    log.add(alarm("a"))

    def taking_then_dying(given):
        receiver(given)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delivery(tmp_path, log, taking_then_dying).deliver(0.0)
    delivery(tmp_path, log, receiver).deliver(0.0)
    assert receiver.taken == ["a", "a"]
