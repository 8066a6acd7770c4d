"""Logs that speak of one another: what removing or rolling back one of them contradicts, and what speaking costs."""

import fcntl
import os

import pytest

from serving.audit import witnesses
from serving.audit.checkpoint import Checkpoint, Witness
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.segment_files import read_notes, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import text_of
from serving.audit.witnesses import MOST_WITNESSED, WITNESS_EVERY_US, newest_of_others


@pytest.fixture
def clock():
    return {"us": 1_700_000_000_000_000}


@pytest.fixture
def open_log(tmp_path, clock):
    def make(name, **options):
        return ChainedSegments(
            tmp_path, name, segment_bytes=1 << 20, signer=lambda: None, now_us=lambda: clock["us"], **options
        )

    return make


def said(note):
    return Checkpoint.parse(text_of(note))


def of(log, *words):
    return Witness(log, 1, len(words), root_of([leaf_hash(word.encode()) for word in words]))


def test_within_a_segment_the_others_are_witnessed_again_at_intervals_where_they_went_on(open_log, clock):
    one, quiet, us = open_log("one"), open_log("quiet"), open_log("us")
    for log in (one, quiet):
        log.append([b"a\n"])
        log.checkpoint()
    us.append([b"a\n"])
    assert said(us.checkpoint()).witnesses == (of("one", "a"), of("quiet", "a"))
    clock["us"] += 1
    one.append([b"b\n"])
    one.checkpoint()
    us.append([b"b\n"])
    assert said(us.checkpoint()).witnesses == (), "too early"
    clock["us"] += WITNESS_EVERY_US
    us.append([b"c\n"])
    assert said(us.checkpoint()).witnesses == (of("one", "a", "b"),), "of the quiet one it was said"
    assert said(us.end()).witnesses == (of("quiet", "a"), of("one", "a", "b")), "the last word is about all"


@pytest.mark.heavy
def test_of_hundreds_of_logs_the_last_to_change_are_read_and_no_others(tmp_path, open_log, monkeypatch):
    for number in range(MOST_WITNESSED + 20):
        log = open_log(f"log-{number:03d}")
        log.append([b"a\n"])
        log.end()
    ended = sorted(segments_in(tmp_path), key=lambda files: files.log)
    assert [files.log for files in ended] == [f"log-{number:03d}" for number in range(MOST_WITNESSED + 20)]
    for number, files in enumerate(ended):
        os.utime(files.checkpoints, ns=(number, number))
    read = []
    real = witnesses.newest_note
    monkeypatch.setattr(witnesses, "newest_note", lambda files: read.append(files.log) or real(files))
    found = newest_of_others(tmp_path, "log-100")
    assert {witness.log for witness in found} == set(read) == {f"log-{number:03d}" for number in range(20, MOST_WITNESSED + 20)}


def test_a_long_file_of_checkpoints_is_read_from_its_end(tmp_path, open_log):
    log = open_log("long")
    for _ in range(400):
        log.append([b"a\n"])
        log.checkpoint()
    assert newest_of_others(tmp_path, "us") == (of("long", *["a"] * 400),)


def test_logs_that_share_no_folder_witness_one_another_through_an_anchor(open_log):
    here, there = of("here", "a"), of("there", "x", "y")
    one = open_log("here")
    one.append([b"a\n"])
    one.end()
    us = open_log("us", elsewhere=lambda: (there, here, of("us", "a")))
    us.append([b"a\n"])
    checkpoint = said(us.checkpoint())
    assert checkpoint.witnesses == (here,)
    assert checkpoint.elsewhere == (there,), "neither this log nor one whose files are here"
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


def test_files_of_other_kinds_beside_the_checkpoints_are_passed_over(tmp_path, open_log):
    log = open_log("one")
    log.append([b"a\n"])
    log.end()
    (tmp_path / "chain" / "x.checkpoints").write_text("nonsense")
    (tmp_path / "chain" / "removed.jsonl").write_text("{}\n")
    assert newest_of_others(tmp_path, "us") == (of("one", "a"),)
    assert newest_of_others(tmp_path / "nowhere", "us") == ()


def test_of_two_replicas_that_start_at_once_one_ends_what_a_killed_one_left(tmp_path, open_log, monkeypatch):
    log = open_log("dead")
    log.append([b"a\n"])
    log.checkpoint()
    log.leave_open()
    (files,) = segments_in(tmp_path)
    lock, quicker = fcntl.flock, []

    def lock_late(fd, how):
        """The other replica comes between this one's look and its lock."""
        monkeypatch.setattr(fcntl, "flock", lock)
        quicker.extend(seal_abandoned(tmp_path, "first", None, 5))
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    assert seal_abandoned(tmp_path, "second", None, 6) == []
    assert len(quicker) == 1
    assert [said(note).is_final for note in read_notes(files.checkpoints)] == [False, False, True]
