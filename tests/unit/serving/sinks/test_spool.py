"""The spool: nothing that was appended is lost, whatever the process or the disk does, and it stays within its bound."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from serving.sinks.errors import SpoolError, SpoolFull
from serving.sinks.spool.dead_letters import DeadLetters
from serving.sinks.spool.frames import FOLD, MAGIC, SEND, encode_frame, frames
from serving.sinks.spool.segments import path_of
from serving.sinks.spool.spool import Spool
from tests.fakes.serving.power_cut import UnreliablePower
from tests.laws import examples


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


def texts(spool, most=1000):
    return [one.payload.decode() for one in spool.read(most, 10**9)]


def put(spool, *payloads):
    return spool.append([(SEND, payload.encode()) for payload in payloads])


def again(spool, **options):
    """As after a crash: the files as they are, another process."""
    spool.close()
    return Spool(spool.folder, **options)


def test_what_was_appended_is_there_after_a_crash_in_order(folder):
    spool = Spool(folder)
    put(spool, "a", "b")
    put(spool, "c")
    spool = again(spool)
    assert (texts(spool), spool.waiting) == (["a", "b", "c"], 3)


def test_what_was_delivered_is_not_read_again(folder):
    spool = Spool(folder)
    put(spool, "a", "b", "c")
    spool.advance(spool.read(2, 10**9))
    assert (texts(again(spool)), spool.waiting) == (["c"], 1)


def test_folded_alerts_are_kept_but_not_read(folder):
    spool = Spool(folder)
    spool.append([(SEND, b"a"), (FOLD, b"b"), (SEND, b"c")])
    assert (texts(spool), spool.waiting) == (["a", "c"], 2)
    assert [frame.payload for _, frame in again(spool).replay()] == [b"a", b"b", b"c"]


@given(cut=st.integers(1, 60))
@examples(60)
def test_a_torn_tail_is_cut_off_and_what_was_synced_stays(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder)
    put(spool, "kept")
    size = path_of(folder, 1).stat().st_size
    put(spool, "torn" * 10)
    spool.close()
    whole = path_of(folder, 1).stat().st_size
    os.truncate(path_of(folder, 1), max(size, whole - cut))
    spool = Spool(folder)
    assert texts(spool) == ["kept"]
    put(spool, "next")
    assert texts(again(spool)) == ["kept", "next"]
    assert not list(folder.glob("*.damaged"))


@pytest.mark.parametrize(
    "tail", [b"\0" * 4096, encode_frame(SEND, 1, b"x" * 100)[:50]], ids=["zeros of a power cut", "half a record"]
)
def test_what_a_crash_leaves_behind_the_last_record_is_cut_off(folder, tail):
    spool = Spool(folder)
    put(spool, "a")
    spool.close()
    with path_of(folder, 1).open("ab") as file:
        file.write(tail)
    spool = Spool(folder)
    put(spool, "b")
    assert texts(again(spool)) == ["a", "b"]


def test_damaged_bytes_are_kept_aside_and_the_rest_goes_on(folder):
    spool = Spool(folder)
    put(spool, "a")
    put(spool, "bbbbbbbb")
    put(spool, "c")
    spool.close()
    data = path_of(folder, 1).read_bytes()
    path_of(folder, 1).write_bytes(data.replace(b"bbbbbbbb", b"bbbbXbbb"))
    spool = Spool(folder)
    assert texts(spool) == ["a"]
    assert b"bbbbXbbb" in next(folder.glob("*.damaged")).read_bytes()


def test_a_cursor_that_cannot_be_read_sends_again_rather_than_loses(folder):
    spool = Spool(folder)
    put(spool, "a", "b")
    spool.advance(spool.read(1, 10**9))
    spool.close()
    (folder / "cursor").write_text("{", encoding="utf-8")
    assert texts(Spool(folder)) == ["a", "b"]


def test_segments_that_are_delivered_are_removed_but_for_the_last(folder):
    spool = Spool(folder, most_bytes=32 * 1024)
    for number in range(60):
        put(spool, f"{number:01000d}")
        spool.advance(spool.read(10, 10**9))
    assert len(list(folder.glob("*.spool"))) <= 2
    assert spool.size_bytes <= 2 * 6 * 1024


def test_segments_that_an_open_fold_needs_stay(folder):
    spool = Spool(folder, most_bytes=64 * 1024)
    first = put(spool, "x" * 9000)
    spool.keep_from(first)
    for _ in range(3):
        put(spool, "x" * 9000)
        spool.advance(spool.read(10, 10**9))
    assert path_of(folder, first).exists()
    spool.keep_from(None)
    put(spool, "x")
    spool.advance(spool.read(10, 10**9))
    assert not path_of(folder, first).exists()


def test_a_full_spool_refuses_and_takes_again_when_there_is_room(folder):
    spool = Spool(folder, most_bytes=32 * 1024)
    for _ in range(7):
        put(spool, "x" * 4000)
    with pytest.raises(SpoolFull, match="wait in the topic"):
        put(spool, "x" * 8000)
    assert spool.waiting == 7
    spool.advance(spool.read(5, 10**9))
    put(spool, "y" * 8000)
    assert spool.size_bytes <= 32 * 1024


def test_a_full_spool_that_may_drop_drops_the_oldest_and_counts(folder):
    spool = Spool(folder, most_bytes=32 * 1024, when_full="drop_oldest")
    for number in range(50):
        put(spool, f"{number:04000d}")
    left = [int(text) for text in texts(spool)]
    assert left == list(range(50 - len(left), 50))
    assert (spool.dropped, spool.waiting) == (50 - len(left), len(left))
    assert spool.size_bytes <= 32 * 1024
    assert [int(text) for text in texts(again(spool, most_bytes=32 * 1024))] == left


def test_a_delivery_of_what_was_dropped_meanwhile_changes_no_count(folder):
    spool = Spool(folder, most_bytes=32 * 1024, when_full="drop_oldest")
    put(spool, "a")
    batch = spool.read(10, 10**9)
    for _ in range(50):
        put(spool, "x" * 4000)
    waiting = spool.waiting
    spool.advance(batch)
    assert spool.waiting == waiting == len(texts(spool))


def test_a_record_larger_than_a_read_is_read_whole(folder):
    spool = Spool(folder)
    put(spool, "x" * 3_000_000, "b")
    assert [len(text) for text in texts(spool)] == [3_000_000, 1]
    assert len(spool.read(10, 100)) == 1


def test_a_disk_that_refuses_leaves_the_spool_as_it_was(folder, monkeypatch):
    spool = Spool(folder)
    put(spool, "a")
    with monkeypatch.context() as patch:

        def full(descriptor):
            raise OSError(28, "No space left on device")

        patch.setattr("serving.sinks.spool.segments._sync_data", full)
        with pytest.raises(SpoolError, match="No space left"):
            put(spool, "b")
    assert texts(spool) == ["a"]
    put(spool, "c")
    assert texts(again(spool)) == ["a", "c"]


def test_after_a_power_cut_everything_is_there_that_was_appended(tmp_path, monkeypatch):
    """Nothing but what was synced is on the disk: files, and names in folders."""
    (tmp_path / "disk").mkdir()
    power = UnreliablePower(tmp_path / "disk")
    power.install(monkeypatch, "serving.sinks.spool.segments._sync_data")
    spool = Spool(tmp_path / "disk" / "sinks" / "siem", most_bytes=64 * 1024)
    put_so_far, delivered = [], 0
    for number in range(25):
        put(spool, f"{number:01000d}", f"{number:0900d}")
        put_so_far += [number, number]
        power.restore(power.state(), tmp_path / f"cut-{number}")
        after = Spool(tmp_path / f"cut-{number}" / "sinks" / "siem", most_bytes=64 * 1024)
        found = [int(text) for text in texts(after)]
        after.close()
        assert put_so_far[delivered:] == found[len(found) - len(put_so_far) + delivered :]
        if number % 3 == 0:
            batch = spool.read(3, 10**9)
            spool.advance(batch)
            delivered += len(batch)


def test_one_process_uses_a_spool(folder):
    first = Spool(folder)
    with pytest.raises(SpoolError, match="another process"):
        Spool(folder)
    first.close()
    Spool(folder).close()


def test_a_spool_that_could_not_be_opened_can_be_opened_later(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("serving.sinks.spool.spool.begin_segment", full)
        with pytest.raises(SpoolError, match="No space left"):
            Spool(folder)
    Spool(folder).close()


def test_dead_letters_say_why_and_stay_within_their_bound(tmp_path):
    dead = DeadLetters(tmp_path, "siem", most_bytes=20_000)
    for number in range(100):
        dead.put(b'{"n": %d}' % number, "HTTP 400: x" * 50, 1_700_000_000_000_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    there = sum(path.read_bytes().count(b"\n") for path in tmp_path.iterdir())
    assert (dead.kept, dead.removed) == (100, 100 - there)
    letters = [json.loads(line) for line in dead.path.read_text(encoding="utf-8").splitlines()]
    assert (letters[-1]["alert"], letters[-1]["time"]) == ('{"n": 99}', "2023-11-14T22:13:20.000000Z")


class SpoolMachine(RuleBasedStateMachine):
    """Against a list: appends, reads, deliveries, crashes with a torn tail."""

    def __init__(self):
        super().__init__()
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name) / "spool"
        self.spool = Spool(self.folder, most_bytes=8 * 4096)
        self.waiting: list[bytes] = []
        self.number = 0

    batches = Bundle("batches")

    @rule(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=4))
    def append(self, sizes):
        records = []
        for size in sizes:
            self.number += 1
            records.append((SEND, b"%d:" % self.number + b"x" * size))
        try:
            self.spool.append(records)
        except SpoolFull:
            return
        self.waiting += [payload for _, payload in records]

    @rule(most=st.integers(1, 5))
    def deliver(self, most):
        batch = self.spool.read(most, 10**9)
        assert [one.payload for one in batch] == self.waiting[: len(batch)]
        if batch:
            self.spool.advance(batch)
            del self.waiting[: len(batch)]

    @rule(torn=st.binary(max_size=30))
    def crash(self, torn):
        self.spool.close()
        last = max(self.folder.glob("*.spool"))
        with last.open("ab") as file:
            file.write(encode_frame(SEND, 1, b"never acknowledged" + torn)[: 10 + len(torn)])
        self.spool = Spool(self.folder, most_bytes=8 * 4096)

    @invariant()
    def holds_what_is_waiting(self):
        assert self.spool.waiting == len(self.waiting)
        assert [one.payload for one in self.spool.read(10**6, 10**9)] == self.waiting
        assert self.spool.size_bytes == sum(path.stat().st_size for path in self.folder.glob("*.spool"))
        assert self.spool.size_bytes <= 8 * 4096

    def teardown(self):
        self.spool.close()
        self._folder.cleanup()


TestSpoolMachine = pytest.mark.heavy(SpoolMachine.TestCase)
TestSpoolMachine.settings = examples(25, stateful_step_count=25)


def test_frames_are_read_back():
    data = MAGIC + encode_frame(SEND, 5, b"a") + encode_frame(FOLD, 6, b"")
    assert [(one.kind, one.time_ms, one.payload) for one in frames(data)] == [(SEND, 5, b"a"), (FOLD, 6, b"")]
    assert not list(frames(b"other" + data))
