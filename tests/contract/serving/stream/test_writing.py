"""What every output of a stream promises: results and positions together, or results at least once and never lost."""

import pytest

from serving.stream.ports import OutRecord, Partition, RecordTooLarge, StreamError
from tests.contract.serving.stream.broker_kinds import WRITING
from tests.contract.serving.stream.workers import ids_of

pytestmark = pytest.mark.parametrize("kind", WRITING, indirect=True)


@pytest.fixture
def results(kind):
    return kind.topic()


def test_one_result_each_once_they_are_committed(events, results, start, kind):
    worker = start(events, results).until_read(60)
    worker.commit()
    assert sorted(ids_of(kind.read(results))) == sorted(record.id for record in worker.read)


def test_results_are_seen_with_their_positions_and_not_before(events, results, start, kind, group):
    worker = start(events, results).until_read(60)
    if kind.is_transactional:
        assert kind.read(results, is_open=True) == []
    assert kind.positions(group, events) == {}
    worker.commit()
    assert len(kind.read(results)) == 60
    assert len(kind.positions(group, events)) == 3


def test_what_was_given_up_is_not_committed_and_the_next_batch_is(events, results, start, kind, group):
    worker = start(events, results).until_read(60)
    worker.outputs.abort()
    assert kind.positions(group, events) == {}
    if kind.is_transactional:
        assert kind.read(results) == []
    worker.outputs.send([OutRecord(results, b"later")])
    worker.commit()
    assert [record.value for record in kind.read(results)].count(b"later") == 1
    if kind.is_transactional:
        assert len(kind.read(results)) == 1


def test_positions_may_be_committed_without_results(events, start, kind, group):
    worker = start(events).until_read(60)
    worker.commit()
    assert kind.positions(group, events).keys() == {Partition(events, n) for n in range(3)}


def test_committing_nothing_changes_nothing(events, results, start, kind, group):
    worker = start(events).until_owns(3)
    worker.outputs.commit({})
    assert kind.positions(group, events) == {}
    assert kind.read(results) == []


def test_results_of_one_key_stay_together_and_in_order(events, results, start, kind):
    worker = start(events)
    worker.until_owns(3)
    sent = [OutRecord(results, b"%d" % number, b"key %d" % (number % 5)) for number in range(100)]
    for at in range(0, 100, 10):
        worker.outputs.send(sent[at : at + 10])
        worker.outputs.commit({})
    found = kind.read(results)
    for key in {record.key for record in sent}:
        of_key = [record for record in found if record.key == key]
        assert len({record.partition for record in of_key}) == 1
        assert [record.value for record in of_key] == [record.value for record in sent if record.key == key]


def test_a_partition_that_is_named_is_the_one(events, results, start, kind):
    worker = start(events).until_owns(3)
    worker.outputs.send([OutRecord(results, b"%d" % number, b"key", (), number) for number in range(3)])
    worker.outputs.commit({})
    assert [(record.partition.number, record.value) for record in kind.read(results)] == [(0, b"0"), (1, b"1"), (2, b"2")]


def test_a_record_that_is_too_large_is_refused_and_the_worker_goes_on(events, results, start, kind):
    worker = start(events).until_owns(3)
    with pytest.raises(RecordTooLarge, match=results):
        worker.outputs.send([OutRecord(results, b"x" * 12_000_000)])
    worker.outputs.abort()
    worker.outputs.send([OutRecord(results, b"small")])
    worker.outputs.commit({})
    assert [record.value for record in kind.read(results)] == [b"small"]


def test_a_restarted_worker_ends_the_transaction_that_its_predecessor_left_open(events, results, start, kind):
    killed = start(events, results, name="the-one").until_read(60)
    kind.kill(killed.source, killed.outputs)
    worker = start(events, results, name="the-one").until_read(60)
    worker.commit()
    found = ids_of(kind.read(results))
    assert set(found) == {record.id for record in killed.read}, "nothing is lost"
    if kind.is_transactional:
        assert len(found) == 60
        with pytest.raises(StreamError):
            killed.commit()
        killed.outputs.abort()
        assert len(kind.read(results)) == 60
