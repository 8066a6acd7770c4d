"""The log of governed acts: what was done is kept, chained, and never half."""

import itertools
import multiprocessing

import pytest

from lifecycle.governance.acts import Act, ActsLog
from serving.audit.checkpoint import Checkpoint
from serving.audit.segment_files import segments_in
from serving.audit.signed_note import NoteError, Signer, signers_of, text_of


def act(number=1):
    return Act(time_us=number, actor="ada", action="rollout.promote", subject="modelservice/flows", reason="evidence is in")


@pytest.fixture
def signer(tmp_path):
    return Signer.create(tmp_path / "governance.pem")


@pytest.fixture
def log(tmp_path, signer):
    clock = itertools.count(1_000_000)
    return ActsLog(tmp_path / "governance", signer=lambda: signer, now_us=lambda: next(clock))


def test_acts_come_back_in_order(log):
    for number in range(5):
        log.record(act(number))
    assert [one.time_us for one in log.read()] == [0, 1, 2, 3, 4]


def test_each_act_has_a_signed_checkpoint_over_all_before_it(log, signer):
    log.record(act(1))
    note = log.record(act(2))
    assert signers_of(note, [signer.verifier]) == [signer.verifier]
    assert Checkpoint.parse(text_of(note)).size == 2


def test_a_torn_act_is_cut_off_before_the_next(log):
    log.record(act(1))
    (files,) = segments_in(log.folder)
    with files.records.open("ab") as torn:
        torn.write(b'{"time_us":')
    log.record(act(2))
    assert [one.time_us for one in log.read()] == [1, 2]


def test_nothing_is_added_to_a_log_that_was_changed(log):
    log.record(act(1))
    (files,) = segments_in(log.folder)
    files.records.write_bytes(files.records.read_bytes().replace(b"ada", b"eve"))
    with pytest.raises(NoteError, match="vedette audit verify"):
        log.record(act(2))


@pytest.mark.parametrize("junk", [b"{}", b"\xff", b"[" * 100_000, b"no JSON"], ids=["no act", "no text", "deep", "no JSON"])
def test_a_line_that_is_no_act_is_named_with_its_place(log, junk):
    log.record(act(1))
    (files,) = segments_in(log.folder)
    with files.records.open("ab") as file:
        file.write(junk + b"\n")
    with pytest.raises(NoteError, match="line 2: is not a governed act"):
        list(log.read())


def _record(folder, name):
    log = ActsLog(folder, signer=lambda: None, now_us=itertools.count(1).__next__)
    for _ in range(20):
        log.record(Act(time_us=1, actor=name, action="rollout.pause", subject="s", reason="r"))


@pytest.mark.heavy
def test_processes_that_act_at_once_lose_nothing(tmp_path):
    workers = [multiprocessing.get_context("fork").Process(target=_record, args=(tmp_path, name)) for name in "abc"]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    actors = [one.actor for one in ActsLog(tmp_path, signer=lambda: None, now_us=lambda: 1).read()]
    assert {name: actors.count(name) for name in "abc"} == {"a": 20, "b": 20, "c": 20}
