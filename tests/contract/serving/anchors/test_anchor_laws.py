"""What every anchor promises: a folder, an object store in memory, S3 with object lock, a Kafka topic."""

import threading

import pytest

from serving.audit.signed_note import NoteError


def test_what_was_published_is_read_back_by_another_process_in_order(open_anchor_again, note):
    anchor = open_anchor_again()
    sent = [note(size=size, at_s=size * 40 * 60) for size in range(1, 6)]
    for one in sent:
        anchor.publish(one)
    anchor.close()
    assert list(open_anchor_again().read()) == sent


def test_publishing_again_after_an_answer_was_lost_changes_nothing(open_anchor_again, note):
    anchor = open_anchor_again()
    anchor.publish(note())
    anchor.publish(note())
    assert set(open_anchor_again().read()) == {note()}


def test_the_newest_of_each_log_and_no_more_than_asked(open_anchor_again, note):
    anchor = open_anchor_again()
    for at_s, log in enumerate(["71-a", "72-b", "71-a", "73-c", "72-b"]):
        anchor.publish(note(log, size=at_s + 1, at_s=at_s))
    newest = [note("71-a", size=3, at_s=2), note("73-c", size=4, at_s=3), note("72-b", size=5, at_s=4)]
    assert open_anchor_again().newest(5) == newest
    assert open_anchor_again().newest(2) == newest[-2:]


def test_two_replicas_may_publish_at_once(open_anchor_again, note):
    def work(log):
        anchor = open_anchor_again()
        for size in range(1, 6):
            anchor.publish(note(log, size=size, at_s=size))
        anchor.close()

    threads = [threading.Thread(target=work, args=(log,)) for log in ("one", "two")]
    [t.start() for t in threads]
    [t.join() for t in threads]
    found = list(open_anchor_again().read())
    for log in ("one", "two"):
        assert [n for n in found if f"/{log}/" in n] == [note(log, size=size, at_s=size) for size in range(1, 6)]


def test_what_is_no_checkpoint_is_not_kept(open_anchor_again):
    anchor = open_anchor_again()
    with pytest.raises(NoteError):
        anchor.publish("a letter\n\n")


def test_the_label_says_where_without_options(open_anchor_again):
    label = open_anchor_again().label
    assert "://" in label
    assert "?" not in label
