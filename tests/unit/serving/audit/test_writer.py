"""Segments: when they end, which are kept, and what a failing disk or a crash costs."""

import errno
import os
import threading

import numpy as np
import pytest

from serving.audit import segments as segments_module
from serving.audit import writer as writer_module
from serving.audit.reader import AuditError, read_records
from serving.audit.segment_files import PATTERN, segments_in, segments_with_records
from serving.audit.segments import ChainedSegments
from serving.audit.writer import CHUNK, ROWS_A_RECORD, SegmentWriter
from serving.messages import Tensor
from tests.counting import calls_in
from tests.fakes.audit.tombstones import read_tombstones
from tests.fakes.serving.records import one_row, record
from tests.open_files import open_below
from tests.waiting import ends, until


def write(folder, count=1, *, segment_bytes=1 << 20, segments=0, prefix="r"):
    writer = SegmentWriter(folder, segment_bytes=segment_bytes, segments=segments, queue=100_000)
    for i in range(count):
        writer.append(record(receipt=f"{prefix}{i:05d}"))
    writer.close()
    return writer


def names(folder):
    return sorted(p.name for p in folder.glob(PATTERN))


def test_a_full_segment_makes_way_for_the_next(tmp_path):
    write(tmp_path, CHUNK * 5, segment_bytes=1)
    sizes = [len((tmp_path / name).read_bytes().splitlines()) for name in names(tmp_path)]
    assert len(sizes) >= 5  # more where the writer woke in the middle of the appends
    assert all(0 < size <= CHUNK for size in sizes)
    assert [r.receipt for r in read_records(tmp_path)] == [f"r{i:05d}" for i in range(CHUNK * 5)]


def test_retention_keeps_the_newest_segments_whoever_wrote_them(tmp_path):
    for life in "abc":
        write(tmp_path, CHUNK * 2, segment_bytes=1, segments=3, prefix=life)
    assert len(names(tmp_path)) == 3
    kept = {r.receipt[0] for r in read_records(tmp_path)}
    assert {"c"} <= kept <= {"b", "c"}, "three segments of the last life alone, where its writer woke more often"


def test_retention_never_removes_what_a_living_writer_holds(tmp_path):
    clock = iter(range(1, 100))
    living = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=1, queue=10, now_us=lambda: next(clock))
    living.append(record(receipt="oldest"))
    until(lambda: living.written == 1)
    write(tmp_path, CHUNK * 3, segment_bytes=1, segments=1)
    assert "oldest" in {r.receipt for r in read_records(tmp_path)}
    assert len(names(tmp_path)) == 2
    living.close()


def test_nothing_to_write_leaves_no_file(tmp_path):
    write(tmp_path, 0)
    assert names(tmp_path) == []


def test_a_torn_last_line_is_passed_over(tmp_path):
    write(tmp_path, 3)
    (segment,) = tmp_path.glob(PATTERN)
    segment.write_bytes(segment.read_bytes()[:-20])
    write(tmp_path, 1, prefix="next")
    assert [r.receipt for r in read_records(tmp_path)] == ["r00000", "r00001", "next00000"]


def test_any_other_broken_line_is_named(tmp_path):
    write(tmp_path, 3)
    (segment,) = tmp_path.glob(PATTERN)
    segment.write_bytes(segment.read_bytes().replace(b"r00001", b'r0"001'))
    with pytest.raises(AuditError, match=rf"{segment.name}, line 2"):
        list(read_records(tmp_path))


def test_a_full_disk_costs_whole_records_and_is_got_over(tmp_path, monkeypatch, caplog):
    room = [400]  # bytes the disk has left; writes that do not fit get through in part, then fail

    def cramped(fd, data):
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        got = real(fd, data[: room[0]])
        room[0] -= got
        return got

    real = os.write
    monkeypatch.setattr(segments_module.os, "write", cramped)
    writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=10_000)
    for i in range(CHUNK * 2):
        writer.append(record(receipt=f"lost{i}"))
    until(lambda: writer.dropped == CHUNK * 2)
    room[0] = 1 << 30
    for i in range(3):
        writer.append(record(receipt=f"kept{i}"))
    writer.close()
    assert [r.receipt for r in read_records(tmp_path)] == ["kept0", "kept1", "kept2"]
    assert (writer.written, writer.dropped) == (3, CHUNK * 2)
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"], "said once, and once more when it is over"


def test_a_folder_that_cannot_be_made_counts_losses(tmp_path):
    folder = tmp_path / "log"
    writer = SegmentWriter(folder, segment_bytes=1, segments=0, queue=10)
    folder.rmdir()
    folder.write_text("in the way")
    writer.append(record())
    writer.close()
    assert (writer.written, writer.dropped) == (0, 1)


def test_the_queue_is_bounded_in_rows_too(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "WRITE_EVERY_S", 60.0)
    writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=10)
    writer.append(record(rows=10 * ROWS_A_RECORD * 5))  # one huge record alone is taken
    writer.append(record(rows=1))
    writer.close()
    assert (writer.written, writer.dropped) == (1, 1)


def test_a_disk_that_hangs_holds_no_request_up(tmp_path, monkeypatch):
    """Requests append; the writer's own thread waits for the disk, and writes what came meanwhile once it can."""
    is_hanging, goes_on, real = threading.Event(), threading.Event(), os.write

    def hang(fd, data):
        is_hanging.set()
        goes_on.wait()
        return real(fd, data)

    monkeypatch.setattr(segments_module.os, "write", hang)
    writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=10_000)
    writer.append(record(receipt="first"))
    until(is_hanging.is_set)
    ends(lambda: [writer.append(record(receipt=f"meanwhile{i}")) for i in range(1000)])
    assert (writer.written, writer.dropped) == (0, 0)
    goes_on.set()
    writer.close()
    assert (writer.written, writer.dropped) == (1001, 0)


@pytest.mark.heavy
def test_appending_is_three_calls_however_many_records_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "WRITE_EVERY_S", 60.0)
    writer, one = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=1_000_000), record()
    few = calls_in(lambda: writer.append(one))
    for _ in range(10_000):
        writer.append(one)
    assert calls_in(lambda: writer.append(one)) == few < 10
    writer.close()


def test_records_of_one_plain_row_and_others_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "WRITE_EVERY_S", 60.0)
    writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=10_000)
    names = [f"r{i:05d}" for i in range(3 * CHUNK)]
    for i, name in enumerate(names):
        writer.append(one_row(receipt=name) if i % 5 else record(receipt=name))
    writer.append(one_row(inputs={"x": Tensor("x", "BYTES", np.array([object()]))}))  # it has no form
    writer.close()
    assert [r.receipt for r in read_records(tmp_path)] == names
    assert (writer.written, writer.dropped) == (len(names), 1)


def test_what_is_personal_is_redacted_before_it_is_written_however_short_the_record(tmp_path):
    writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=10)
    writer.append(one_row(inputs={"user": Tensor("user", "BYTES", np.array([b"alice"], object))}, personal={"user": "drop"}))
    writer.close()
    assert b"alice" not in b"".join(path.read_bytes() for path in tmp_path.glob(PATTERN))
    assert writer.written == 1


def test_a_file_system_without_locks_costs_records_and_nothing_else(tmp_path, monkeypatch):
    """A segment that cannot be locked is tried again twenty times a second: each try must give its file back."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(segments_module.fcntl, "flock", no_locks)
    before = open_below(tmp_path)
    writer = write(tmp_path, CHUNK * 3)
    assert (writer.written, writer.dropped) == (0, CHUNK * 3)
    assert names(tmp_path) == []
    assert open_below(tmp_path) == before


def test_each_segment_that_retention_removes_has_its_tombstone(tmp_path):
    write(tmp_path, CHUNK * 5, segment_bytes=1, segments=2)
    stones = [stone for stone, _ in read_tombstones(tmp_path)]
    assert [(stone.segment, stone.size, stone.by) for stone in stones] == [(n, CHUNK, "retention") for n in (1, 2, 3)]
    assert len({stone.log for stone in stones}) == 1


def test_what_a_killed_writer_left_open_is_ended_before_retention_removes_it(tmp_path):
    chain = ChainedSegments(tmp_path, "dead", segment_bytes=1 << 20, signer=lambda: None, now_us=lambda: 1)
    writer = SegmentWriter(tmp_path, segment_bytes=1, segments=1, queue=100_000)
    chain.append([b"{}\n"])
    chain.checkpoint()
    chain.leave_open()  # as the end of its process does
    for i in range(CHUNK * 2):
        writer.append(record(receipt=str(i)))
    writer.close()
    (stone, _), *_ = read_tombstones(tmp_path)
    assert (stone.log, stone.segment, stone.size) == ("dead", 1, 1)
    assert [path for path in names(tmp_path) if "dead" in path] == []


def test_a_segment_that_was_tampered_with_is_not_removed_by_number(tmp_path, caplog):
    write(tmp_path, CHUNK, segment_bytes=1)
    (first,) = segments_in(tmp_path)
    first.records.write_bytes(first.records.read_bytes()[:-20] + b"\n")
    write(tmp_path, CHUNK * 3, segment_bytes=1, segments=1)
    assert first.records.exists()
    assert len(read_tombstones(tmp_path)) == 2
    assert "vedette audit verify" in caplog.text


def test_of_one_log_the_lower_numbers_go_first_whatever_their_names_say_of_the_time(tmp_path):
    """A log that went on under an older clock, or that somebody renamed: its first segment has the later time in its name."""
    write(tmp_path, CHUNK * 3, segment_bytes=1)
    first, *_ = segments_in(tmp_path)
    for path in (first.records, first.hashes, first.checkpoints):
        path.rename(path.with_name(path.name.replace(first.stem[:24], "segment-9000000000000000")))
    assert [files.number for files in segments_with_records(tmp_path)] == [1, 2, 3]


def test_how_far_the_log_is_behind(tmp_path, monkeypatch):
    """A record is behind from its answer until it is synced; while the disk refuses, its age grows."""
    now_us = [10_000_000]
    refused = threading.Event()
    sync = ChainedSegments.sync

    def syncing(self):
        if refused.is_set():
            raise OSError(errno.EIO, "x")
        return sync(self)

    monkeypatch.setattr(ChainedSegments, "sync", syncing)
    monkeypatch.setattr(writer_module, "SYNC_EVERY_S", 0.01)
    writer = SegmentWriter(tmp_path, segment_bytes=1 << 20, segments=0, queue=10, now_us=lambda: now_us[0])
    assert (writer.waiting, writer.lag_s(), writer.durable_s) == (0, 0.0, 0.0)
    refused.set()
    writer.append(record(time_us=7_000_000))
    until(lambda: writer.is_failing)
    assert (writer.lag_s(), writer.durable_s) == (3.0, 0.0)
    refused.clear()
    now_us[0] = 12_000_000
    writer.append(record(time_us=12_000_000))
    until(lambda: writer.lag_s() == 0.0 and writer.durable_s == 12.0)
    writer.close()
