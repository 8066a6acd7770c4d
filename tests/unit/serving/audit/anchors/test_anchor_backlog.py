"""What waits for an anchor, and when it is tried: the rules."""

import pytest

from serving.audit.anchors.backlog import FIRST_PAUSE_S, LONGEST_PAUSE_S, MOST_LOGS, AnchorBacklog
from serving.audit.anchors.publisher import rolled_back
from serving.audit.checkpoint import Checkpoint

EVERY_S = 60.0


@pytest.fixture
def backlog():
    return AnchorBacklog(EVERY_S)


def publish_all(backlog, now_s):
    for log, note in backlog.waiting():
        backlog.succeeded(log, note)
    backlog.done(now_s)


def test_nothing_waits_at_first(backlog):
    assert backlog.due_s() is None
    assert backlog.lag_s(5.0) == 0.0


def test_the_first_checkpoint_goes_at_once_and_the_next_at_its_interval(backlog):
    backlog.offer("one", "a", 5.0, is_urgent=False)
    assert backlog.due_s() <= 5.0
    publish_all(backlog, 5.0)
    backlog.offer("one", "b", 6.0, is_urgent=False)
    assert backlog.due_s() == 5.0 + EVERY_S


def test_the_final_checkpoint_of_a_segment_does_not_wait_for_the_interval(backlog):
    backlog.offer("one", "a", 5.0, is_urgent=False)
    publish_all(backlog, 5.0)
    backlog.offer("one", "end", 6.0, is_urgent=True)
    assert backlog.due_s() <= 6.0


def test_of_a_log_only_the_newest_waits_and_the_lag_is_that_of_the_oldest(backlog):
    backlog.offer("one", "a", 5.0, is_urgent=False)
    backlog.offer("one", "b", 9.0, is_urgent=False)
    assert backlog.waiting() == [("one", "b")]
    assert backlog.lag_s(10.0) == 5.0


def test_a_note_that_came_while_another_was_published_goes_on_waiting(backlog):
    backlog.offer("one", "a", 5.0, is_urgent=False)
    ((log, note),) = backlog.waiting()
    backlog.offer("one", "b", 6.0, is_urgent=False)
    backlog.succeeded(log, note)
    assert backlog.waiting() == [("one", "b")]


def test_an_anchor_that_is_down_is_asked_less_and_less_often_and_again_after_it_is_back(backlog):
    pauses, now_s = [], 0.0
    backlog.offer("one", "a", now_s, is_urgent=True)
    for _ in range(9):
        backlog.refused("down", now_s)
        pauses.append(backlog.due_s() - now_s)
        now_s = backlog.due_s()
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    backlog.offer("one", "b", now_s, is_urgent=True)
    assert backlog.due_s() == now_s, "an end of a segment does not break the pause"
    publish_all(backlog, now_s)
    assert (backlog.problem, backlog.failed, backlog.published) == ("", 9, 1)
    backlog.offer("one", "c", now_s, is_urgent=False)
    backlog.refused("down again", now_s)
    assert backlog.due_s() - now_s == FIRST_PAUSE_S


def test_memory_is_bounded_however_many_logs_wait(backlog):
    for number in range(MOST_LOGS + 5):
        backlog.offer(f"log-{number}", "a", float(number), is_urgent=False)
    assert len(backlog.waiting()) == MOST_LOGS
    assert backlog.given_up == 5
    assert backlog.waiting()[0][0] == "log-5"


def said(log="one", segment=1, size=5, time_us=50):
    return Checkpoint(log, segment, size, bytes(32), time_us, 0, None)


@pytest.mark.parametrize(
    ("found", "is_alarm"),
    [
        pytest.param([said()], False, id="what was published is there"),
        pytest.param([said("two", time_us=60)], False, id="another replica is ahead, ours is out of sight"),
        pytest.param([said("two", time_us=40)], True, id="everything since is gone"),
        pytest.param([], True, id="the anchor is empty"),
        pytest.param([said(size=4, time_us=49), said("two", time_us=60)], True, id="of our log an older one is the newest"),
        pytest.param([said(segment=2, size=1, time_us=60)], False, id="the log went on"),
    ],
)
def test_a_rolled_back_anchor_is_told(found, is_alarm):
    assert bool(rolled_back(found, said(), "file:///x")) == is_alarm


def test_before_anything_is_published_nothing_can_be_missing():
    assert rolled_back([], None, "file:///x") == ""
