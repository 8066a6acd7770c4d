"""Several workers of one group: each partition has one owner at a time, and who is no owner any more commits nothing."""

import pytest

from serving.stream.ports import Fenced
from tests.contract.serving.stream.conftest import event
from tests.contract.serving.stream.workers import ids_of
from tests.waiting import until


@pytest.fixture
def results(kind):
    return kind.topic()


def together(workers, holds):
    until(lambda: ([worker.poll() for worker in workers], holds())[1], lambda: [worker.owned for worker in workers])


def commit_all(*workers):
    for worker in workers:
        worker.commit()


def test_two_workers_share_the_partitions_and_each_record_has_one_result(kind, results, start):
    topic = kind.topic(4)
    one = start(topic, results).until_owns(4)
    kind.produce(topic, [event(topic, number, 4) for number in range(40)])
    one.until_read(40)
    one.commit()
    two = start(topic, results)
    together([one, two], lambda: len(one.owned) == len(two.owned) == 2)
    assert not one.owned & two.owned
    kind.produce(topic, [event(topic, number, 4) for number in range(40, 80)])
    together([one, two], lambda: len(one.read) + len(two.read) >= 80)
    commit_all(one, two)
    found = ids_of(kind.read(results))
    assert len(found) == len(set(found)) == 80
    assert {record.partition.number for record in two.read} == two.owned


def test_a_partition_that_stays_is_not_read_again_when_another_worker_comes(kind, results, start):
    topic = kind.topic(4)
    one = start(topic, results).until_owns(4)
    kind.produce(topic, [event(topic, number, 4) for number in range(40)])
    one.until_read(40)  # and nothing is committed: who gives a partition up commits it
    two = start(topic, results)
    together([one, two], lambda: len(one.owned) == len(two.owned) == 2)
    assert len([what for what, _ in one.told if what == "assigned"]) == 1, "what it keeps is not given to it anew"
    commit_all(one, two)
    assert len(one.read) == 40
    assert two.read == []
    assert len(kind.read(results)) == 40


def test_what_a_worker_leaves_another_one_takes_over(kind, results, start):
    topic = kind.topic(4)
    one, two = start(topic, results), start(topic, results)
    together([one, two], lambda: len(one.owned) == len(two.owned) == 2)
    kind.produce(topic, [event(topic, number, 4) for number in range(40)])
    together([one, two], lambda: len(one.read) + len(two.read) >= 40)
    one.close()
    two.until_owns(4)
    kind.produce(topic, [event(topic, number, 4) for number in range(40, 80)])
    together([two], lambda: len(one.read) + len(two.read) >= 80)
    two.commit()
    found = ids_of(kind.read(results))
    assert len(found) == len(set(found)) == 80


def test_a_worker_more_than_there_are_partitions_waits_for_one(kind, start):
    topic = kind.topic(1)
    one = start(topic).until_owns(1)
    two = start(topic)
    for _ in range(10):
        one.poll()
        two.poll()
    assert (len(one.owned), len(two.owned)) == (1, 0)
    one.close()
    two.until_owns(1)


def test_a_worker_that_was_taken_for_dead_commits_nothing(events, kind, results, start, group):
    slow = start(events, results).until_read(60)
    kind.silence(slow.source)
    other = start(events, results).until_read(60)
    other.commit()
    positions = kind.positions(group, events)
    with pytest.raises(Fenced):
        slow.commit()
    slow.outputs.abort()
    assert kind.positions(group, events) == positions
    found = ids_of(kind.read(results))
    assert set(found) == {record.id for record in other.read}
    if kind.is_transactional:
        assert len(found) == 60, "what the slow one wrote is void"


def test_a_worker_that_was_taken_for_dead_hears_so_and_takes_part_again(events, kind, results, start):
    slow = start(events, results).until_read(60)
    kind.silence(slow.source)
    other = start(events, results).until_read(60)
    other.commit()
    slow.outputs.abort()
    together([slow, other], lambda: slow.told[-1][0] == "assigned" and len(slow.owned) + len(other.owned) == 3)
    assert {number for what, numbers in slow.told if what == "lost" for number in numbers} == {0, 1, 2}
    assert slow.ahead == {}
    kind.produce(events, [event(events, number) for number in range(60, 120)])
    together([slow, other], lambda: len(slow.read) + len(other.read) >= 180)
    commit_all(slow, other)
    found = ids_of(kind.read(results))
    assert len(set(found)) == 120
    if kind.is_transactional:
        assert len(found) == 120
