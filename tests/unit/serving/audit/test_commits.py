"""Answers that wait for the disk: who is let go when, and what a failing disk leaves of them."""

import asyncio
import errno
import os
import threading

import pytest

from serving.audit import segments as segments_module
from serving.audit import writer as writer_module
from serving.audit.durability.writer_state import STUCK_S, WriterState
from serving.audit.reader import read_records
from serving.audit.record import NotRecorded
from serving.audit.segment_files import PATTERN
from serving.audit.writer import SegmentWriter
from serving.errors import Internal
from tests.fakes.serving.power_cut import UnreliablePower
from tests.fakes.serving.records import record
from tests.unit.serving.audit.chains import check_chain
from tests.waiting import until_so


class Disk:
    """The sync of records, which can be made to wait or to fail."""

    def __init__(self) -> None:
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.error: OSError | None = None
        self.asked = 0

    def sync(self, fd: int) -> None:
        self.asked += 1
        assert self.may_sync.wait(60)
        if self.error is not None:
            raise self.error
        os.fsync(fd)


@pytest.fixture
def disk(monkeypatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(segments_module, "_sync_data", disk.sync)
    monkeypatch.setattr(writer_module, "SYNC_EVERY_S", 1e9)  # only commits ask for a sync
    return disk


@pytest.fixture
def open_writer(tmp_path):
    writers = []

    def make(**settings):
        given = {"segment_bytes": 1 << 20, "segments": 0, "queue": 10_000, **settings}
        writers.append(SegmentWriter(tmp_path / "log", **given))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def receipts(tmp_path):
    return [r.receipt for r in read_records(tmp_path / "log")]


async def test_an_answer_waits_for_the_sync_and_all_that_wait_share_one(tmp_path, open_writer, disk):
    writer = open_writer()
    disk.may_sync.clear()
    first = writer.commit([record(receipt="first")])
    await until_so(lambda: disk.asked == 1)
    others = [writer.commit([record(receipt=f"r{i}")]) for i in range(30)]
    assert not first.done()
    disk.may_sync.set()
    await asyncio.gather(first, *others)
    assert disk.asked == 2
    assert receipts(tmp_path) == ["first", *(f"r{i}" for i in range(30))]
    assert (writer.written, writer.dropped, writer.refused) == (31, 0, 0)


async def test_who_gives_up_before_the_record_is_written_leaves_none(tmp_path, open_writer, disk):
    writer = open_writer()
    disk.may_sync.clear()
    first = writer.commit([record(receipt="first")])
    await until_so(lambda: disk.asked == 1)
    gone, there = writer.commit([record(receipt="gone")]), writer.commit([record(receipt="there")])
    gone.cancel()
    disk.may_sync.set()
    await asyncio.gather(first, there)
    assert receipts(tmp_path) == ["first", "there"]


async def test_who_gives_up_while_the_disk_is_asked_leaves_a_record(tmp_path, open_writer, disk):
    writer = open_writer()
    disk.may_sync.clear()
    first = writer.commit([record(receipt="first")])
    await until_so(lambda: disk.asked == 1)
    first.cancel()
    disk.may_sync.set()
    await writer.commit([record(receipt="next")])
    assert receipts(tmp_path) == ["first", "next"]


async def test_a_sync_that_fails_refuses_its_answers_and_leaves_none_of_their_records(tmp_path, open_writer, disk):
    writer = open_writer()
    await writer.commit([record(receipt="kept")])
    disk.error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(NotRecorded, match="Input/output error") as refused:
        await writer.commit([record(receipt="refused"), record(receipt="refused")])
    assert refused.value.retry_after_s == 1.0
    assert writer.is_failing
    assert "Input/output error" in writer.degraded()[0]
    assert receipts(tmp_path) == ["kept"], "a failed sync is not believed later: its lines are cut off"
    disk.error = None
    await writer.commit([record(receipt="next")])
    assert (writer.is_failing, writer.degraded()) == (False, ())
    writer.close()
    assert receipts(tmp_path) == ["kept", "next"]
    assert (writer.written, writer.dropped, writer.refused) == (2, 0, 2)
    ((first, second),) = check_chain(tmp_path / "log").values()
    assert (first.size, second.before) == (1, 1)


async def test_a_sync_that_fails_costs_the_other_records_since_the_last_one_and_they_are_counted(tmp_path, open_writer, disk):
    writer = open_writer()
    for i in range(5):
        writer.append(record(receipt=f"async{i}"))
    await until_so(lambda: writer.written == 5)
    disk.error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(NotRecorded):
        await writer.commit([record(receipt="refused")])
    disk.error = None
    assert (writer.written, writer.dropped, writer.refused) == (0, 5, 1)
    await writer.commit([record(receipt="next")])
    writer.close()
    assert receipts(tmp_path) == ["next"]
    check_chain(tmp_path / "log")


async def test_a_segment_that_cannot_be_ended_costs_its_records_and_refuses_the_answers_that_would_have_followed(
    tmp_path, open_writer, disk
):
    writer = open_writer(segment_bytes=1)
    for i in range(5):
        writer.append(record(receipt=f"async{i}"))
    await until_so(lambda: writer.written == 5)
    disk.error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(NotRecorded):
        await writer.commit([record(receipt="refused")] * 2)
    disk.error = None
    assert (writer.written, writer.dropped, writer.refused) == (0, 5, 2)


async def test_a_full_disk_refuses_whole_groups_and_is_got_over(tmp_path, open_writer, monkeypatch, caplog):
    room = [1000]

    def cramped(fd, data):
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        got = real(fd, data[: room[0]])
        room[0] -= got
        return got

    real = os.write
    monkeypatch.setattr(segments_module.os, "write", cramped)
    writer = open_writer()
    found = await asyncio.gather(*(writer.commit([record(receipt=f"r{i}")]) for i in range(20)), return_exceptions=True)
    assert {type(answer) for answer in found} == {NotRecorded}
    assert receipts(tmp_path) == []
    room[0] = 1 << 30
    await writer.commit([record(receipt="next")])
    writer.close()
    assert receipts(tmp_path) == ["next"]
    assert (writer.written, writer.dropped, writer.refused) == (1, 0, 20)
    assert [r.levelname for r in caplog.records if r.name == "serving.audit.writer"] == ["ERROR", "WARNING"]


async def test_a_segment_that_was_removed_takes_no_answer_with_it(tmp_path, open_writer):
    writer = open_writer()
    await writer.commit([record(receipt="before")])
    for path in (tmp_path / "log").glob(PATTERN):
        path.unlink()
    with pytest.raises(NotRecorded, match="removed"):
        await writer.commit([record(receipt="refused")])
    await writer.commit([record(receipt="next")])
    assert receipts(tmp_path) == ["next"]


async def test_a_folder_that_cannot_be_made_is_said_at_once_and_got_over(tmp_path, open_writer):
    (tmp_path / "log").write_text("in the way")
    writer = open_writer()
    assert writer.is_failing
    with pytest.raises(NotRecorded):
        await writer.commit([record()])
    (tmp_path / "log").unlink()
    await writer.commit([record(receipt="next")])
    assert not writer.is_failing
    assert receipts(tmp_path) == ["next"]


async def test_records_of_one_answer_stay_together_whatever_ends_a_segment(tmp_path, open_writer):
    writer = open_writer(segment_bytes=1)
    await asyncio.gather(*(writer.commit([record(receipt=f"r{i}"), record(receipt=f"r{i}")]) for i in range(20)))
    writer.close()
    by_segment = [path.read_text().count("\n") for path in sorted((tmp_path / "log").glob(PATTERN))]
    assert sum(by_segment) == 40
    assert all(lines % 2 == 0 for lines in by_segment)
    check_chain(tmp_path / "log")


async def test_what_has_no_form_is_a_defect_and_refuses_its_own_answer_only(tmp_path, open_writer):
    writer = open_writer()
    good, bad = writer.commit([record(receipt="good")]), writer.commit([record(), record(inputs={"x": object()})])
    await good
    with pytest.raises(Internal):
        await bad
    assert receipts(tmp_path) == ["good"]
    assert writer.refused == 2


def test_a_loop_that_has_ended_waits_for_nothing(tmp_path, open_writer, disk):
    writer = open_writer()
    disk.may_sync.clear()

    async def leave():
        writer.commit([record(receipt="left")])
        await until_so(lambda: disk.asked == 1)

    asyncio.run(leave())
    disk.may_sync.set()

    async def go_on():
        await writer.commit([record(receipt="next")])

    asyncio.run(go_on())
    assert receipts(tmp_path) == ["left", "next"]


async def test_a_power_cut_loses_no_answer_that_was_given(tmp_path, open_writer, monkeypatch):
    power = UnreliablePower(tmp_path)
    power.install(monkeypatch)
    writer = open_writer(segment_bytes=3000)  # several segments: their names must be on the disk too
    answered, cuts = [], []
    for turn in range(12):
        names = [f"{turn}-{i}" for i in range(turn % 4 + 1)]
        await asyncio.gather(*(writer.commit([record(receipt=name)]) for name in names))
        answered += names
        cuts.append((power.state(), list(answered)))
    for number, (state, given) in enumerate(cuts):
        after = tmp_path / f"after-{number}"
        power.restore(state, after)
        assert [r.receipt for r in read_records(after / "log")] == given
        following = SegmentWriter(after / "log", segment_bytes=3000, segments=0, queue=100)
        following.append(record(receipt="life after"))
        following.close()
        logs = check_chain(after / "log")
        assert len(logs) == 2
        assert [r.receipt for r in read_records(after / "log")].count("life after") == 1


async def test_a_power_cut_loses_of_async_what_came_since_the_last_sync(tmp_path, open_writer, monkeypatch):
    monkeypatch.setattr(writer_module, "SYNC_EVERY_S", 1e9)
    power = UnreliablePower(tmp_path)
    power.install(monkeypatch)
    writer = open_writer()
    for i in range(10):
        writer.append(record(receipt=f"synced{i}"))
    await until_so(lambda: writer.written == 10)
    before = power.syncs
    monkeypatch.setattr(writer_module, "SYNC_EVERY_S", 0.0)
    await until_so(lambda: power.syncs > before)
    monkeypatch.setattr(writer_module, "SYNC_EVERY_S", 1e9)
    writer.append(record(receipt="since"))
    await until_so(lambda: writer.written == 11)
    power.restore(power.state(), tmp_path / "after")
    kept = {r.receipt for r in read_records(tmp_path / "after" / "log")}
    assert kept >= {f"synced{i}" for i in range(10)}
    assert kept <= {f"synced{i}" for i in range(10)} | {"since"}


def test_a_disk_that_does_not_answer_counts_as_failing(tmp_path):
    now = [0.0]
    state = WriterState(tmp_path, lambda: now[0])
    with state.busy():
        now[0] = STUCK_S + 1
        assert "has waited 6 s for its disk" in state.problem
    assert state.problem is None


def test_a_queue_that_is_full_is_said_once_and_once_when_it_is_over(tmp_path, caplog):
    state = WriterState(tmp_path)
    for overrun in (0, 3, 9, 9, 9):
        state.note_overrun(overrun, 5)
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
    assert state.problem is None
