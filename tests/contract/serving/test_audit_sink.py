"""What every AuditSink promises, the one on disk and the one in memory, to answers that do not wait and to those that do."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.audit.encoding import decode_array
from serving.audit.reader import read_records
from serving.audit.record import AuditRecord, NotRecorded
from serving.audit.writer import SegmentWriter
from serving.errors import Internal
from serving.messages import Tensor
from tests.fakes.serving.audit import MemoryAudit
from tests.fakes.serving.records import record


class Sink:
    """A sink and the way to read it back after it was closed."""

    def __init__(self, sink: SegmentWriter | MemoryAudit, read: Callable[[], list[AuditRecord]]) -> None:
        self.sink = sink
        self.read = read


@pytest.fixture(params=["disk", "memory"])
def make(request, tmp_path: Path) -> Callable[..., Sink]:
    def on_disk(queue: int = 1000) -> Sink:
        writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=queue)
        return Sink(writer, lambda: list(read_records(tmp_path)))

    def in_memory(queue: int = 1000) -> Sink:
        memory = MemoryAudit(queue)
        return Sink(memory, lambda: memory.records)

    return on_disk if request.param == "disk" else in_memory


def test_records_come_back_in_order_and_whole(make):
    held = make()
    sent = [record(receipt=f"r{i}", latency_us=i) for i in range(100)]
    for one in sent:
        held.sink.append(one)
    held.sink.close()
    assert held.read() == sent
    assert (held.sink.written, held.sink.dropped) == (100, 0)


def test_arrays_are_turned_into_json_for_the_caller(make):
    held = make()
    key = np.array([b"10.0.0.1", b"\xff\xfe"], np.object_)
    held.sink.append(
        record(
            rows=2,
            inputs={"host": Tensor("host", "BYTES", key), "x": Tensor("x", "FP32", np.array([[0.1], [np.nan]], np.float32))},
            features={"flows__count": np.array([0.1, 7], np.float32), "flows__name": np.array(["a", "b"], np.object_)},
            event_times_us={"flows": np.array([5, 0], np.int64)},
            scores=np.array([0.25, 0.5], np.float32),
            degraded=np.array([True, False]),
        )
    )
    held.sink.close()
    (back,) = held.read()
    assert back.inputs["host"] == {"datatype": "BYTES", "shape": [2], "data": ["10.0.0.1", {"base64": "//4="}]}
    assert decode_array(back.inputs["host"]).tolist() == key.tolist()
    np.testing.assert_array_equal(decode_array(back.inputs["x"]), np.array([[0.1], [np.nan]], np.float32))
    assert np.array(back.features["flows__count"], np.float32).tolist() == np.array([0.1, 7], np.float32).tolist()
    assert (back.features["flows__name"], back.event_times_us, back.scores, back.degraded) == (
        ["a", "b"],
        {"flows": [5, 0]},
        [0.25, 0.5],
        [True, False],
    )


def test_what_cannot_be_encoded_is_counted_and_the_rest_is_kept(make):
    held = make()
    held.sink.append(record(receipt="before"))
    held.sink.append(record(inputs={"x": object()}))
    held.sink.append(record(receipt="after"))
    held.sink.close()
    assert [r.receipt for r in held.read()] == ["before", "after"]
    assert (held.sink.written, held.sink.dropped) == (2, 1)


def test_beyond_the_queue_records_are_counted_not_waited_for(make):
    held = make(queue=5)
    for i in range(5000):
        held.sink.append(record(receipt=str(i)))
    held.sink.close()
    assert held.sink.dropped > 0
    assert held.sink.written + held.sink.dropped == 5000
    assert len(held.read()) == held.sink.written


def test_after_close_records_are_counted_and_closing_twice_is_fine(make):
    held = make()
    held.sink.append(record())
    held.sink.close()
    held.sink.append(record())
    held.sink.close()
    assert (held.sink.written, held.sink.dropped, len(held.read())) == (1, 1, 1)


def test_two_doors_may_append_at_once(make):
    held = make(queue=100_000)

    def work(door: str) -> None:
        for i in range(500):
            held.sink.append(record(receipt=f"{door}{i:04d}", door=door))

    threads = [threading.Thread(target=work, args=(door,)) for door in ("http", "grpc")]
    [t.start() for t in threads]
    [t.join() for t in threads]
    held.sink.close()
    back = held.read()
    for door in ("http", "grpc"):
        assert [r.receipt for r in back if r.door == door] == [f"{door}{i:04d}" for i in range(500)]


async def test_a_committed_record_is_there_when_the_answer_may_leave(make):
    held = make()
    for i in range(20):
        await held.sink.commit([record(receipt=f"r{i}")])
        assert held.read()[-1] == record(receipt=f"r{i}")
    held.sink.close()
    assert [r.receipt for r in held.read()] == [f"r{i}" for i in range(20)]
    assert (held.sink.written, held.sink.dropped, held.sink.refused) == (20, 0, 0)


async def test_answers_that_wait_together_are_all_recorded_once(make):
    held = make()
    for i in range(50):
        held.sink.append(record(receipt=f"async{i}"))
    await asyncio.gather(*(held.sink.commit([record(receipt=f"r{i}")] * 2) for i in range(50)))
    held.sink.close()
    back = [r.receipt for r in held.read()]
    assert [r for r in back if r[0] == "r"] == [f"r{i}" for i in range(50) for _ in range(2)]
    assert [r for r in back if r[0] == "a"] == [f"async{i}" for i in range(50)]
    assert held.sink.written == 150


async def test_records_of_one_answer_are_kept_together_or_not_at_all(make):
    held = make()
    await held.sink.commit([record(receipt="before")])
    with pytest.raises(Internal):
        await held.sink.commit([record(receipt="half"), record(inputs={"x": object()})])
    await held.sink.commit([record(receipt="after")])
    held.sink.close()
    assert [r.receipt for r in held.read()] == ["before", "after"]
    assert (held.sink.written, held.sink.dropped, held.sink.refused) == (2, 0, 2)


async def test_beyond_the_queue_answers_are_refused_and_no_record_of_theirs_is_kept(make):
    held = make(queue=5)
    waiting = [held.sink.commit([record(receipt=str(i))]) for i in range(5000)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    held.sink.close()
    given = [str(i) for i, problem in enumerate(found) if problem is None]
    assert {type(problem) for problem in found if problem is not None} == {NotRecorded}
    assert [r.receipt for r in held.read()] == given
    assert (held.sink.written, held.sink.refused, held.sink.dropped) == (len(given), 5000 - len(given), 0)


async def test_after_close_answers_are_refused(make):
    held = make()
    await held.sink.commit([record()])
    held.sink.close()
    with pytest.raises(NotRecorded):
        await held.sink.commit([record()])
    assert (held.sink.written, held.sink.refused, len(held.read())) == (1, 1, 1)
