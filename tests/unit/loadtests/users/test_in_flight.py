"""Events that wait for their verdicts."""

from loadtests.in_flight import EventsInFlight


def test_an_event_waits_from_when_it_was_sent_to_its_first_verdict():
    waiting = EventsInFlight()
    waiting.sent("a", 10.0)
    assert waiting.answered("a", 10.25) == 250.0
    assert waiting.answered("a", 10.5) is None  # a verdict that is repeated
    assert waiting.answered("another client's", 10.5) is None


def test_the_most_that_waited_at_once_is_kept():
    waiting = EventsInFlight()
    for number in range(3):
        waiting.sent(str(number), 0.0)
    for number in range(3):
        waiting.answered(str(number), 1.0)
    waiting.sent("later", 2.0)
    assert (len(waiting), waiting.most) == (1, 3)


def test_an_overdue_event_is_given_up_once_and_its_verdict_comes_too_late():
    waiting = EventsInFlight()
    waiting.sent("old", 0.0)
    waiting.sent("new", 9.0)
    assert waiting.overdue(10.0, 10.0) == [10_000.0]
    assert waiting.overdue(10.0, 10.0) == []
    assert waiting.answered("old", 11.0) is None
    assert waiting.answered("new", 10.0) == 1000.0


def test_nothing_waits_for_longer_than_no_time():
    waiting = EventsInFlight()
    waiting.sent("a", 5.0)
    assert waiting.overdue(5.0, 0.0) == [0.0]
    assert len(waiting) == 0
