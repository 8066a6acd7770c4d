"""A chained log on disk: what its checkpoints say, across segments, logs and crashes."""

import itertools
import os

import pytest

from serving.audit.checkpoint import Checkpoint, Witness
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.note_files import append_note
from serving.audit.segment_files import read_entries, read_notes, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import NoteError, Signer, signers_of, text_of
from tests.unit.serving.audit.chains import check_chain


@pytest.fixture
def signer(tmp_path):
    return Signer.create(tmp_path / "keys" / "replica.pem")


@pytest.fixture
def open_log(tmp_path, signer):
    clock = itertools.count(1_000_000)

    def make(name="one", segment_bytes=1 << 20, key=signer):
        return ChainedSegments(
            tmp_path / "log", name, segment_bytes=segment_bytes, signer=lambda: key, now_us=lambda: next(clock)
        )

    return make


def checkpoints(files):
    return [Checkpoint.parse(text_of(note)) for note in read_notes(files.checkpoints)]


def lines(*words):
    return [f"{word}\n".encode() for word in words]


def test_a_checkpoint_says_what_the_segment_holds(tmp_path, open_log, signer):
    log = open_log()
    log.append(lines("a", "b"))
    note = log.checkpoint()
    log.append(lines("c"))
    log.end()
    (files,) = segments_in(tmp_path / "log")
    opening, first, last = checkpoints(files)
    assert signers_of(note, [signer.verifier]) == [signer.verifier]
    assert (opening.size, opening.root, opening.is_final) == (0, root_of([]), False), "before the first record"
    assert (first.size, first.root, first.is_final) == (2, root_of([leaf_hash(b"a"), leaf_hash(b"b")]), False)
    assert (last.size, last.is_final, last.before, last.previous) == (3, True, 0, None)
    assert files.hashes.read_bytes() == b"".join(map(leaf_hash, read_entries(files.records)))


def test_nothing_new_makes_no_checkpoint(open_log):
    log = open_log()
    assert log.checkpoint() is None
    log.append(lines("a"))
    assert log.checkpoint() is not None
    assert log.checkpoint() is None


def test_each_segment_names_the_one_before(tmp_path, open_log):
    log = open_log(segment_bytes=1)
    for word in "abc":
        log.append(lines(word))
    log.end()
    found = [checkpoints(files)[-1] for files in segments_in(tmp_path / "log")]
    assert [(c.segment, c.before, c.is_final) for c in found] == [(1, 0, True), (2, 1, True), (3, 2, True)]
    assert [c.previous for c in found] == [None, found[0].digest(), found[1].digest()]


def test_a_log_witnesses_the_others_of_its_folder(tmp_path, open_log):
    one, two = open_log("one"), open_log("two")
    one.append(lines("a"))
    one.end()
    two.append(lines("b"))
    note = two.checkpoint()
    assert Checkpoint.parse(text_of(note)).witnesses == (Witness("one", 1, 1, root_of([leaf_hash(b"a")])),)


def test_without_a_key_the_chain_goes_on_unsigned(open_log, signer):
    log = open_log(key=None)
    log.append(lines("a"))
    note = log.checkpoint()
    assert Checkpoint.parse(text_of(note)).size == 1
    assert signers_of(note, [signer.verifier]) == []


def test_what_a_killed_writer_left_open_is_sealed_whole_lines_only(tmp_path, open_log, signer):
    log = open_log("dead")
    log.append(lines("a", "b"))
    log.checkpoint()
    log.append(lines("c"))
    files = log._segment.files
    log._segment.close()  # as the end of the process does
    with files.records.open("ab") as torn:
        torn.write(b"half a li")
    (note,) = seal_abandoned(tmp_path / "log", "alive", signer, 5)
    sealed = Checkpoint.parse(text_of(note))
    assert (sealed.log, sealed.size, sealed.is_final, sealed.sealed_by) == ("dead", 3, True, "alive")
    assert sealed.root == root_of([leaf_hash(word) for word in (b"a", b"b", b"c")])
    assert seal_abandoned(tmp_path / "log", "alive", signer, 6) == []


def test_what_a_living_writer_holds_is_not_sealed(tmp_path, open_log, signer):
    log = open_log()
    log.append(lines("a"))
    assert seal_abandoned(tmp_path / "log", "other", signer, 5) == []
    log.end()


def test_a_segment_that_contradicts_its_checkpoint_is_not_sealed(tmp_path, open_log, signer):
    log = open_log("dead")
    log.append(lines("a", "b"))
    log.checkpoint()
    files = log._segment.files
    log._segment.close()
    files.records.write_bytes(b"a\nX\n")
    assert seal_abandoned(tmp_path / "log", "alive", signer, 5) == []


@pytest.mark.parametrize("text", ["", "x\n", "vedette-audit/one/1\n1\nAAAA\ntime_us 1\nbefore 0\nprevious -\n"])
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_clock_that_is_set_back_leaves_names_and_checkpoints_in_order(tmp_path, signer, caplog):
    times = iter([5_000_000_000_000, 5_000_000_000_001, *range(1_000_000, 1_000_010)])
    log = ChainedSegments(tmp_path / "log", "one", segment_bytes=1, signer=lambda: signer, now_us=lambda: next(times))
    for word in "abc":
        log.append(lines(word))
    log.end()
    check_chain(tmp_path / "log")
    stems = [files.stem for files in segments_in(tmp_path / "log")]
    assert stems == sorted(stems)
    assert [r.levelname for r in caplog.records] == ["WARNING"], "said once"


def test_a_log_that_is_resumed_or_sealed_under_an_older_clock_goes_on_from_its_latest_time(tmp_path, signer):
    def make(now_us):
        return ChainedSegments(tmp_path / "log", "one", segment_bytes=1 << 20, signer=lambda: signer, now_us=lambda: now_us)

    log = make(9_000_000)
    log.append(lines("a"))
    log.checkpoint()
    log.leave_open()
    resumed = make(5)
    resumed.resume()
    resumed.append(lines("b"))
    resumed.checkpoint()
    resumed.leave_open()
    seal_abandoned(tmp_path / "log", "other", signer, 6)
    ((last,),) = check_chain(tmp_path / "log").values()
    assert (last.size, last.time_us, last.sealed_by) == (2, 9_000_000, "other")


def test_a_note_that_finds_no_room_leaves_no_part_of_itself(tmp_path, monkeypatch):
    path = tmp_path / "notes"
    append_note(path, "one\n\n")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
    with pytest.raises(OSError, match="No space left"):
        append_note(path, "two\n\n")
    monkeypatch.undo()
    append_note(path, "three\n\n")
    assert read_notes(path) == ["one\n\n", "three\n\n"]


def test_a_note_that_a_crash_tore_is_cut_off_before_the_next(tmp_path):
    path = tmp_path / "notes"
    append_note(path, "one\n\n")
    path.write_bytes(path.read_bytes() + b'{"note": "tw')
    append_note(path, "three\n\n")
    assert read_notes(path) == ["one\n\n", "three\n\n"]


def test_hashes_that_find_no_room_are_written_with_the_next(tmp_path, open_log, monkeypatch):
    log = open_log()
    log.append(lines("a"))
    real, hashes = os.write, log._segment._hashes
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]) if fd == hashes else real(fd, data))
    log.append(lines("b"))
    log.checkpoint()
    monkeypatch.undo()
    log.append(lines("c"))
    log.end()
    (files,) = segments_in(tmp_path / "log")
    assert files.hashes.read_bytes() == b"".join(map(leaf_hash, read_entries(files.records)))
