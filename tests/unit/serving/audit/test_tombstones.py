"""What retention removes leaves a signed tombstone first; what nobody may remove stays."""

import itertools

import pytest

from serving.audit import tombstones
from serving.audit.checkpoint import Checkpoint
from serving.audit.segment_files import newest_checkpoint, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import NoteError, Signer, signers_of
from serving.audit.tombstones import SegmentChanged, Tombstone, remove_segment
from tests.fakes.audit.tombstones import read_tombstones


@pytest.fixture
def signer(tmp_path):
    return Signer.create(tmp_path / "audit.pem")


@pytest.fixture
def open_log(tmp_path, signer):
    clock = itertools.count(1_000_000)

    def make(words, *, is_ended=True):
        log = ChainedSegments(tmp_path / "log", "one", segment_bytes=1, signer=lambda: signer, now_us=lambda: next(clock))
        for word in words:
            log.append([f"{word}\n".encode()])
        if is_ended:
            log.end()
        return log

    return make


def remove(files, signer, **changed):
    return remove_segment(files, signer, **{"now_us": 5, "reason": "past retention", "by": "retention", **changed})


def test_a_tombstone_says_what_was_removed_and_who_signed(tmp_path, open_log, signer):
    open_log("ab")
    first, second = segments_in(tmp_path / "log")
    final = newest_checkpoint(first)
    assert remove(first, signer)
    ((stone, note),) = read_tombstones(tmp_path / "log")
    assert stone == Tombstone("one", 1, 1, final.root, final.digest(), 5, "past retention", "retention")
    assert signers_of(note, [signer.verifier]) == [signer.verifier]
    assert (first.records.exists(), first.hashes.exists(), first.checkpoints.exists()) == (False, False, True)
    assert newest_checkpoint(second).previous == stone.checkpoint, "the log's segments still name one another"


def test_no_record_goes_before_its_tombstone_is_on_the_disk(tmp_path, open_log, signer, monkeypatch):
    open_log("a")
    (files,) = segments_in(tmp_path / "log")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tombstones, "append_note", full)
    with pytest.raises(OSError, match="No space"):
        remove(files, signer)
    assert files.records.exists()
    assert files.hashes.exists()


def test_a_crash_between_tombstone_and_removal_makes_no_second_tombstone(tmp_path, open_log, signer):
    open_log("a")
    (files,) = segments_in(tmp_path / "log")
    kept = files.records.read_bytes()
    remove(files, signer)
    files.records.write_bytes(kept)
    assert remove(files, signer)
    assert len(read_tombstones(tmp_path / "log")) == 1
    assert not remove(files, signer), "it is gone"


@pytest.mark.parametrize("changed", [b"b\n", b"", b"a\na\n"], ids=["changed", "cut off", "added to"])
def test_records_that_were_tampered_with_stay(tmp_path, open_log, signer, changed):
    open_log("a")
    (files,) = segments_in(tmp_path / "log")
    files.records.write_bytes(changed)
    with pytest.raises(SegmentChanged, match="vedette audit verify"):
        remove(files, signer)
    assert files.records.read_bytes() == changed
    assert read_tombstones(tmp_path / "log") == []


def test_what_a_living_writer_holds_and_what_has_not_ended_stays(tmp_path, open_log, signer):
    log = open_log("a", is_ended=False)
    (files,) = segments_in(tmp_path / "log")
    assert not remove(files, signer)
    log.leave_open()
    assert not remove(files, signer)
    assert files.records.exists()
    assert read_tombstones(tmp_path / "log") == []


@pytest.mark.parametrize("words", [{"reason": ""}, {"by": ""}, {"reason": "two\nlines"}, {"reason": "x\nby somebody else"}])
def test_a_reason_cannot_smuggle_in_another_line(tmp_path, open_log, signer, words):
    open_log("a")
    (files,) = segments_in(tmp_path / "log")
    with pytest.raises(NoteError):
        remove(files, signer, **words)
    assert files.records.exists()


def test_what_is_no_tombstone_is_refused():
    final = Checkpoint("one", 1, 1, bytes(32), 1, 0, None, is_final=True)
    text = Tombstone.over(final, time_us=5, reason="past retention", by="retention").text()
    for wrong in ("", text.replace("size 1", "size 01"), text.replace("vedette-audit-removed", "x"), text + "more x\n"):
        with pytest.raises(NoteError):
            Tombstone.parse(wrong)
