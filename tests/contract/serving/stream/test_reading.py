"""What every source of a stream promises: in memory, Apache Kafka, Kinesis."""

from collections import defaultdict

import pytest

from serving.stream.ports import OutRecord, Partition, Position
from tests.contract.serving.stream.conftest import event
from tests.waiting import until


def by_partition(records):
    found = defaultdict(list)
    for record in records:
        found[record.partition.number].append(record)
    return found


def values(records):
    return sorted(record.value for record in records)


def test_each_record_is_read_once_and_in_order_within_its_partition(events, start):
    worker = start(events).until_read(60)
    assert values(worker.read) == sorted(b"value %d" % n for n in range(60))
    for number, records in by_partition(worker.read).items():
        assert [record.value for record in records] == [b"value %d" % n for n in range(number, 60, 3)]
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))


def test_a_record_keeps_its_key_its_headers_and_its_time(kind, start):
    topic = kind.topic(1)
    kind.produce(topic, [OutRecord(topic, b"v", b"\x00key", (("n", b"1"), ("n", b"\xff"), ("other", b"")))])
    (record,) = start(topic).until_read(1).read
    assert (record.value, record.key) == (b"v", b"\x00key")
    assert record.headers == (("n", b"1"), ("n", b"\xff"), ("other", b""))
    assert record.time_us > 1_600_000_000_000_000


def test_a_record_without_key_headers_or_content(kind, start):
    topic = kind.topic(1)
    kind.produce(topic, [OutRecord(topic, b"", None)])
    (record,) = start(topic).until_read(1).read
    assert (record.value, record.key, record.headers) == (b"", None, ())


def test_no_more_records_than_asked_for(events, start):
    worker = start(events)
    until(lambda: (worker.poll(7), len(worker.read) >= 14)[1])
    assert len(worker.read) in range(14, 21)


def test_the_next_worker_goes_on_at_the_committed_positions_and_gets_the_note(events, kind, start, group):
    worker = start(events)
    worker.note = "up to here, π"
    worker.until_read(60)
    worker.commit()
    ends = {place: position.offset for place, position in kind.positions(group, events).items()}
    worker.close()
    kind.produce(events, [event(events, number) for number in range(60, 63)])
    following = start(events).until_read(3)
    assert values(following.read) == [b"value 60", b"value 61", b"value 62"]
    assert following.given == {Partition(events, n): Position(ends[Partition(events, n)], "up to here, π") for n in range(3)}


def test_what_was_read_and_not_committed_is_read_again_by_the_next(events, start, kind):
    worker = start(events).until_read(60)
    kind.kill(worker.source, worker.outputs)
    assert values(start(events).until_read(60).read) == values(worker.read)


def test_a_worker_may_begin_elsewhere_than_at_the_committed_position(events, start):
    worker = start(events).until_read(60)
    third = {number: records[2].offset for number, records in by_partition(worker.read).items()}
    worker.commit()
    worker.close()
    again = start(events, starts=third).until_read(54)
    assert {number: len(records) for number, records in by_partition(again.read).items()} == {0: 18, 1: 18, 2: 18}
    assert {number: records[0].offset for number, records in by_partition(again.read).items()} == third


def test_a_paused_partition_waits_and_nothing_of_it_is_missed(kind, start):
    topic = kind.topic()
    worker = start(topic).until_owns(3)
    worker.source.pause([Partition(topic, 1)])
    kind.produce(topic, [event(topic, number) for number in range(60)])
    worker.until_read(40)
    for _ in range(3):
        worker.poll()
    assert by_partition(worker.read).keys() == {0, 2}
    worker.source.resume([Partition(topic, 1)])
    worker.until_read(60)
    assert values(worker.read) == sorted(b"value %d" % n for n in range(60))
    assert [record.value for record in by_partition(worker.read)[1]] == [b"value %d" % n for n in range(1, 60, 3)]


def test_a_partition_is_paused_while_it_is_read(events, start):
    worker = start(events)
    until(lambda: worker.poll(6))
    seen = [Partition(events, number) for number in range(3)]
    worker.source.pause(seen)
    before = len(worker.read)
    for _ in range(3):
        worker.poll()
    assert len(worker.read) == before
    worker.source.resume(seen)
    worker.until_read(60)
    assert values(worker.read) == sorted(b"value %d" % n for n in range(60))


def test_pausing_what_one_does_not_own_changes_nothing(events, start):
    worker = start(events).until_owns(3)
    worker.source.pause([Partition(events, 99)])
    worker.until_read(60)


def test_how_far_behind_it_is(events, start, kind):
    worker = start(events)
    until(lambda: worker.poll(6))
    if kind.counts_behind:
        until(lambda: worker.source.behind().keys() == {Partition(events, number) for number in range(3)})
        assert sum(worker.source.behind().values()) >= 60 - len(worker.read)
    worker.until_read(60)
    until(lambda: (worker.poll(), set(worker.source.behind().values()) == {0})[1], lambda: worker.source.behind())


def test_closing_gives_the_partitions_back_and_what_is_committed_then_counts(events, kind, start, group):
    worker = start(events).until_read(60)
    assert kind.positions(group, events) == {}
    worker.close()
    assert worker.told[-1] == ("revoked", (0, 1, 2))
    assert kind.positions(group, events).keys() == {Partition(events, n) for n in range(3)}
    worker.source.close()
    assert len([what for what, _ in worker.told if what == "revoked"]) == 1, "closed once"


def test_a_failure_while_partitions_are_taken_is_raised_by_poll(events, start, monkeypatch):
    worker = start(events)

    def assigned(partitions):
        raise OSError("the state cannot be restored")

    monkeypatch.setattr(worker, "assigned", assigned)
    with pytest.raises(OSError, match="cannot be restored"):
        worker.until_read(60)
    assert worker.read == []
