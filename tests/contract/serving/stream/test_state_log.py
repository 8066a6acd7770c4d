"""What every changelog promises to the worker that takes a partition over."""

import pytest

from serving.stream.ports import OutRecord, StreamError
from tests.contract.serving.stream.broker_kinds import WITH_STATE_LOG

pytestmark = pytest.mark.parametrize("kind", WITH_STATE_LOG, indirect=True)


@pytest.fixture
def changelog(kind):
    return kind.topic(3, compacted=True)


@pytest.fixture
def worker(events, start):
    return start(events).until_owns(3)


def put(worker, changelog, number, *pairs):
    worker.outputs.send([OutRecord(changelog, value, key, (), number) for key, value in pairs])


def test_each_partition_is_read_by_itself_in_order_with_its_tombstones(worker, changelog, kind):
    put(worker, changelog, 1, (b"a", b"1"), (b"b", b"2"), (b"c", None))
    put(worker, changelog, 2, (b"z", b"26"))
    worker.outputs.commit({})
    put(worker, changelog, 1, (b"d", b"4"))
    worker.outputs.commit({})
    log = kind.state_log(changelog)
    assert log.topic == changelog
    assert list(log.read(1)) == [(b"a", b"1"), (b"b", b"2"), (b"c", None), (b"d", b"4")]
    assert list(log.read(2)) == [(b"z", b"26")]
    assert list(log.read(0)) == []


def test_what_was_given_up_is_not_read(worker, changelog, kind):
    put(worker, changelog, 0, (b"a", b"1"))
    worker.outputs.abort()
    put(worker, changelog, 0, (b"b", b"2"))
    worker.outputs.commit({})
    assert list(kind.state_log(changelog).read(0)) == [(b"b", b"2")]


def test_an_open_transaction_is_not_waited_for(worker, changelog, kind):
    put(worker, changelog, 0, (b"a", b"1"))
    worker.outputs.commit({})
    put(worker, changelog, 0, (b"b", b"2"))
    assert list(kind.state_log(changelog).read(0)) == [(b"a", b"1")]


def test_many_records_and_how_far_it_is(worker, changelog, kind):
    for part in range(20):
        put(worker, changelog, 0, *((b"%d" % (part * 500 + n), b"x" * 100) for n in range(500)))
        worker.outputs.commit({})
    seen = []
    found = list(kind.state_log(changelog).read(0, lambda read, end: seen.append((read, end))))
    assert len(found) == 10_000
    assert [read for read, _ in seen] == sorted(read for read, _ in seen)
    assert seen[-1][0] == seen[-1][1] >= 10_000


def test_a_partition_that_is_not_there_is_said(changelog, kind):
    with pytest.raises(StreamError, match=changelog):
        list(kind.state_log(changelog).read(7))


def test_it_may_be_left_half_read(worker, changelog, kind):
    put(worker, changelog, 0, *((b"%d" % n, b"x") for n in range(100)))
    worker.outputs.commit({})
    reading = kind.state_log(changelog).read(0)
    assert next(reading) == (b"0", b"x")
    reading.close()
    assert len(list(kind.state_log(changelog).read(0))) == 100
